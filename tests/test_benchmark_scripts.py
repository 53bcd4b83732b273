"""Scripts of benchmarks/ that hours are spent on: what they count, and that what they measured can be written."""

from __future__ import annotations

import importlib
import json
import re
import sys
from collections import Counter
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import ClassVar

import pytest
import torch

from bpfree import data


def script(name: str, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / "benchmarks"))
    return importlib.import_module(name)


def test_costs_of_inference_can_be_written(monkeypatch: pytest.MonkeyPatch) -> None:
    inference = script("inference", monkeypatch)
    monkeypatch.setattr(inference, "NETS", {})
    made = json.loads(json.dumps(inference.measure(torch.device("cpu"), 1)))
    assert made["environment"]["device"] == "cpu"


def test_costs_of_steps_can_be_written(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    step_cost = script("step_cost", monkeypatch)
    monkeypatch.setattr(step_cost, "PARTS", {"memory": SimpleNamespace(nets={})})
    monkeypatch.setattr(step_cost, "RESULTS", tmp_path)
    monkeypatch.setattr(sys, "argv", ["step_cost.py", "memory"])
    assert step_cost.main() == 0
    assert json.loads((tmp_path / "step-cost-memory.json").read_text())["environment"]["device"] == "cpu"


def test_upkeep_is_counted_by_its_share(monkeypatch: pytest.MonkeyPatch) -> None:
    """Backprop by hand; of FOTON the difference of two intervals is the orthogonalisation's share."""
    step_macs = script("analyses", monkeypatch).step_macs
    loaded = data.load("synthetic:n=40:inputs=6:classes=3").without_test()
    n, first, second, output = 8, 6 * 5, 5 * 4, 4 * 3
    assert step_macs("backprop", "mlp:5-4", loaded, n) == n * (3 * (first + second + output) - first)
    of_k = {k: step_macs(f"foton:orthogonalise_every={k}", "mlp:5-4", loaded, n) for k in (1, 2, 10)}
    assert of_k[1] > of_k[2] > of_k[10] > 0
    assert (of_k[1] - of_k[10]) / (of_k[1] - of_k[2]) == pytest.approx(0.9 / 0.5)


def test_the_main_job_is_taken_apart(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    main_job = script("main_job", monkeypatch)
    for name in ("train.training", "train.passes", "bench.measure", "bench.record"):
        module = importlib.import_module(f"bpfree.{name}")
        for key, value in vars(module).items():
            monkeypatch.setattr(module, key, value)  # what the script wraps is unwrapped afterwards
    monkeypatch.setattr(importlib.import_module("bpfree.train.training")._Run, "learn", _run_class().learn)
    monkeypatch.setattr("bpfree.report.build", importlib.import_module("bpfree.report").build)
    main_job.main(["--arms", "backprop", "--seeds", "1", "--trials", "1", "--max-passes", "1", "--net", "mlp:1x4"])
    parts = [line.split("|")[1].strip() for line in capsys.readouterr().out.splitlines() if line.startswith("| ")]
    assert {"backprop: steps", "backprop: validation", "report", "timing inference", "all else", "**all**"} <= set(parts)


def _run_class() -> type:
    return importlib.import_module("bpfree.train.training")._Run


def test_another_checkout_must_be_one(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        script("two_checkouts", monkeypatch).main([str(tmp_path), "cnn3"])
    assert "OTHER must be a checkout of bpfree, with src/bpfree in it, got" in capsys.readouterr().err


@pytest.mark.slow  # two processes import torch
def test_steps_of_two_checkouts_are_timed_in_turns(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """The same one twice: each line has its seconds and its ratio to torch's own step."""
    here = str(Path(__file__).parents[1])
    arguments = [here, "mlp:1x4", "--arms", "backprop", "--batch-size", "20", "--windows", "2"]
    assert script("two_checkouts", monkeypatch).main(arguments) == 0
    head, *lines = capsys.readouterr().out.splitlines()
    assert head.startswith("mlp:1x4, batch 20, 2 windows; load ")
    assert [line.split()[:2] for line in lines] == [
        [arm, place] for arm in ("torch", "backprop") for place in ("before", "after")
    ]
    assert all("1.00 of torch's" in line for line in lines[:2])
    assert all(re.search(r" of torch's, [0-9.]+ \([0-9.]+\) of before$", line) for line in lines[1::2])


class Checkout:
    """In place of a process: seconds of a step of each contender, by place."""

    seconds: ClassVar[dict[str, list[list[float]]]] = {}
    asked: ClassVar[list[str]] = []

    def __init__(self, place: Path, settings: list[str]) -> None:
        self.place, self.settings = place.name, settings

    def answer(self) -> str:
        return "ready"

    def step(self, k: int, turn: int) -> float:
        self.asked.append(self.place)
        return self.seconds[self.place][k][turn]

    def close(self) -> None:
        pass


def test_what_is_said_of_two_checkouts(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """The first window is a warm-up. An older one has no step of torch's."""
    (tmp_path / "old" / "src" / "bpfree").mkdir(parents=True)
    module = script("two_checkouts", monkeypatch)
    nan = float("nan")
    Checkout.seconds = {
        "old": [[nan] * 4, [0.9, 0.010, 0.020, 0.016]],
        "new": [[9.0, 0.008, 0.010, 0.012], [9.0, 0.012, 0.005, 0.008]],
    }
    Checkout.asked.clear()
    monkeypatch.setattr(module, "Checkout", Checkout)
    monkeypatch.setattr(module, "HERE", tmp_path / "new")
    arguments = [str(tmp_path / "old"), "mlp:1x4", "--arms", "backprop", "--windows", "3", "--inputs", "7", "--steps", "5"]
    assert module.main(arguments) == 0
    assert capsys.readouterr().out.splitlines()[1:] == [
        "torch                          after   least 8.000 ms, median 10.000 ms, 1.00 of torch's",
        "backprop                       before  least 10.000 ms, median 16.000 ms",
        "backprop                       after   least 5.000 ms, median 8.000 ms, 0.62 of torch's, 0.50 (0.50) of before",
    ]
    assert Checkout.asked[:8] == ["old", "new", "old", "new", "new", "old", "new", "old"]


def test_searches_in_several_processes_are_held_beside_one(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """One process takes 12 s at least, two 8 and 5 of their own; two commands at once 16 s."""
    module = script("search_jobs", monkeypatch)
    times = {1: iter([(12.0, 10.0), (14.0, 11.0)]), 2: iter([(9.0, 5.0), (8.0, 6.0)])}
    asked: list[tuple[int, bool, str]] = []

    def searched(jobs: int, *, late: bool, sampler: str) -> tuple[float, float, list[object]]:
        asked.append((jobs, late, sampler))
        return *next(times[jobs]), [("lr", 0.5)]

    monkeypatch.setattr(module, "searched", searched)
    monkeypatch.setattr(module, "searched_beside", lambda jobs, sampler: 16.0)
    module.main(["--times", "2", "--sampler", "random"])
    lines = capsys.readouterr().out.splitlines()
    assert asked == [(1, False, "random"), (2, False, "random")] * 2
    assert [line for line in lines if line.startswith(("| 1", "| 2", "ratio", "2 commands"))] == [
        "| 1 | 12.0 | 12.0, 14.0 | 10.0 |",
        "| 2 | 8.0 | 9.0, 8.0 | 5.0 |",
        "ratio: wall 1.50, processor time of the first process 2.00",
        "2 commands at once, each with its own search: 16.0 s, 1.50 times the work of one",
    ]


def test_a_search_that_finds_something_else_ends_the_comparison(monkeypatch: pytest.MonkeyPatch) -> None:
    module = script("search_jobs", monkeypatch)
    monkeypatch.setattr(module, "searched", lambda jobs, **_: (1.0, 1.0, [jobs]))
    with pytest.raises(SystemExit, match="other trials or values"):
        module.main(["--times", "1"])


@pytest.mark.slow  # three processes import torch
def test_streaming_is_compared(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    arguments = ["--gigabytes", "0.01", "--seconds", "0.2", "--rounds", "1", "--net", "mlp:1x8", "--folder", str(tmp_path)]
    monkeypatch.setattr("sys.argv", ["streaming.py", *arguments])
    assert script("streaming", monkeypatch).main() == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "203 examples, 0.01 GB; mlp:1x8, batch 64, 1 thread"
    assert [line.split("|")[1].strip() for line in lines[2:]] == ["examples in", "---", "memory", "npy", "shards"]
    assert list(tmp_path.iterdir()) == []


def test_a_profile_puts_each_operation_into_one_kind(monkeypatch: pytest.MonkeyPatch) -> None:
    module = script("step_profile", monkeypatch)
    kinds = {
        "aten::convolution_backward": "convolutions backward",
        "autograd::engine::evaluate_function: ConvolutionBackward0": "convolutions backward",
        "aten::mkldnn_convolution": "convolutions forward",
        "aten::addmm": "products",
        "aten::_native_batch_norm_legit": "normalisation",
        "aten::threshold_backward": "activation and pooling",
        "aten::avg_pool2d": "activation and pooling",
        "aten::_fused_adamw_": "optimiser",
        "aten::copy_": "copies, fills",
        "aten::slice": "all else",
    }
    assert {name: module.kind_of(name) for name in kinds} == kinds


def test_the_table_of_a_profile_has_the_least_step_of_each_arm(monkeypatch: pytest.MonkeyPatch) -> None:
    module = script("step_profile", monkeypatch)
    of_torch = [Counter({"products": 5.0, "all else": 1.0}), Counter({"products": 4.0, "all else": 1.5})]
    of_backprop = [Counter({"products": 3.0, "all else": 0.25, "optimiser": 0.04})]
    assert module.table({"torch": of_torch, "backprop": of_backprop}) == [
        "| ms | torch | backprop |",
        "|---|--:|--:|",
        "| products | 4.0 | 3.0 |",
        "| all else | 1.5 | 0.2 |",
        "| **all** | **5.5** | **3.3** |",
    ]


def test_a_step_is_profiled(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    module = script("step_profile", monkeypatch)
    assert module.main(["mlp:2x300", "--inputs", "300", "--arms", "backprop", "--batch-size", "64", "--steps", "1"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("mlp:2x300, batch 64, 1 steps in turns; load ")
    assert lines[2] == "| ms | torch | backprop |"
    of_products = next(line for line in lines if line.startswith("| products"))
    assert all(float(cell) > 0 for cell in of_products.split("|")[2:4])
