"""The GPU kit (``benchmarks/answer.py``) in this process, at a tiny size, its meter reading a simulated board."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nvml_simulation
from nvml_simulation import UUID_A

from bpfree.meter import Detection, nvml

IDLE_W, LOAD_W = 60.0, 240.0
PERIOD_S = 0.002
TASK = ("--device", "cpu", "--dataset", "synthetic:n=300:inputs=12:classes=3", "--net", "mlp:2x16", "--in-process")
ARMS = "backprop,mono-forward,mono-forward:schedule=staged,forward-forward,frozen,blockwise:reach=2"
"""All that the kit measures by itself."""
COSTS = ("--batch-sizes", "32", "--window-s", "0.1", "--rounds", "1", "--arms", ARMS)


def board(driver: nvml_simulation.Driver) -> tuple[Detection, Callable[[], object]]:
    """A board that draws 60 W, and 240 W from its first load on; its counter moves every 2 ms."""
    gpu = driver.board(UUID_A)
    driver.go_live(gpu, watts=IDLE_W, period_s=PERIOD_S)
    sources, missing, probe = nvml.detect_nvml(UUID_A)
    for source in sources:
        source.period_s = PERIOD_S

    def load() -> None:
        if gpu.power_mw == round(IDLE_W * 1e3):
            gpu.energy_mj = round(sources[0].joules() * 1e3)
            driver.go_live(gpu, watts=LOAD_W, period_s=PERIOD_S)
        time.sleep(0.005)

    return Detection(tuple(sources), tuple(missing), probe), load


def run(out: Path, ruleset: str, *words: str, minutes: str = "0.5") -> int:
    """The exit code of the command."""
    from benchmarks.answer_kit import command  # not where the fixtures are collected: it loads the benchmark

    return command.main([*TASK, "--max-minutes", minutes, "--out", str(out), "--ruleset", ruleset, "--seeds", "2", *words])


def answer(out: Path) -> dict[str, Any]:
    """What it wrote."""
    return json.loads((out / "answer.json").read_text())
