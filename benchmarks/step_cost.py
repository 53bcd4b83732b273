"""What a training step costs: seconds (interleaved), multiply-adds, live bytes; every arm beside the first.

    python benchmarks/step_cost.py memory            # Mono-Forward beside backprop and checkpointed backprop: mf-cnn4, vit
    python benchmarks/step_cost.py foton             # FOTON and its low-memory form beside backprop: mlp:3x2000, 3072 inputs
    python benchmarks/step_cost.py foton --steps 20 --windows 3 --device cuda

Seconds do not depend on what the examples show, so the data are random. Results go to
``benchmarks/results/step-cost-PART.json`` (every window, and the machine) and ``.md``.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from bpfree import data
from bpfree.bench import environment, parse_arms
from bpfree.bench.cost import step_cost
from bpfree.bench.step_time import step_times
from bpfree.files import write_atomic
from bpfree.nets import build
from bpfree.train import initialise
from bpfree.units import format_bytes, format_count, format_time

RESULTS = Path(__file__).parent / "results"


@dataclasses.dataclass(frozen=True)
class Part:
    """One table: arms on nets, the first arm the reference."""

    arms: str
    nets: dict[str, str]  # net -> shape of an example
    steps: int


PARTS = {
    "memory": Part(
        "backprop,backprop:update=in-sweep,backprop:checkpoint_every=1,backprop:checkpoint_every=2,"
        "backprop:checkpoint_every=1:update=in-sweep,mono-forward,mono-forward:schedule=staged",
        {"mf-cnn4": "1x28x28", "vit": "1x28x28"},
        steps=10,
    ),
    "foton": Part(
        "backprop,foton:orthogonalise_every=100,foton:orthogonalise_every=100:memory=low", {"mlp:3x2000": "3072"}, steps=100
    ),
}


def measure(part: Part, net: str, inputs: str, options: argparse.Namespace) -> list[dict[str, Any]]:
    """One entry an arm."""
    loaded = data.load(f"synthetic:n=4000:inputs={inputs}").without_test().to(options.device)
    arms = parse_arms(part.arms)
    steps = options.steps or part.steps
    times = step_times(arms, net, loaded, batch_size=options.batch_size, steps=steps, windows=options.windows)
    found = []
    for arm, time in zip(arms, times, strict=True):
        rule, chain = arm.build({}), build(net, loaded.in_shape, loaded.n_classes)
        cost = step_cost(rule, chain, initialise(rule, chain, 0, loaded.device), loaded, options.batch_size)
        ratios = [mine / reference for mine, reference in zip(time.windows_s, times[0].windows_s, strict=True)]
        found.append(
            {
                "net": net,
                "arm": arm.label,
                "steps": steps,
                "batch_size": options.batch_size,
                "windows_s": time.windows_s,
                "least_s": time.least_s,
                "median_s": time.median_s,
                "least_ratio": time.least_s / times[0].least_s,
                "median_of_paired_ratios": sorted(ratios)[len(ratios) // 2],
                "macs": None if cost.flops.train_step is None else cost.flops.train_step // 2,
                "reasons": cost.reasons,
                "live_bytes": cost.memory.activations,
                "peak_bytes": cost.peak_bytes,
            }
        )
    return found


def table(name: str, entries: list[dict[str, Any]]) -> str:
    """Markdown."""
    lines = [
        f"Made by `python benchmarks/step_cost.py {name}`. Windows of the arms alternate; the ratio of least windows compares "
        "what the work needs, the median of ratios of neighbouring windows stands beside it. Live bytes: peak of a step beyond "
        "weights, heads and optimiser; with those: all. In staged Mono-Forward the seconds are those of a step of its first "
        "phase, multiply-adds the mean over phases.",
        "",
        "| net | arm | least seconds a step | ratio | median ratio | MACs a step | ratio | live bytes | ratio | all bytes |",
        "|---|---|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for entry in entries:
        first = next(other for other in entries if other["net"] == entry["net"])
        macs = None if entry["macs"] is None or first["macs"] is None else entry["macs"] / first["macs"]
        cells = [
            entry["net"], entry["arm"], format_time(entry["least_s"]), f"{entry['least_ratio']:.2f}",
            f"{entry['median_of_paired_ratios']:.2f}", format_count(entry["macs"]), "–" if macs is None else f"{macs:.2f}",
            format_bytes(entry["live_bytes"]), f"{entry['live_bytes'] / first['live_bytes']:.2f}",
            format_bytes(entry["peak_bytes"]),
        ]  # fmt: skip
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=PARTS)
    parser.add_argument("--steps", type=int, default=None, help="in a window")
    parser.add_argument("--windows", type=int, default=7)
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    part = PARTS[options.part]
    entries = [entry for net, inputs in part.nets.items() for entry in measure(part, net, inputs, options)]
    facts = environment.facts(torch.device(options.device)).as_json()
    measured_at = datetime.now(UTC).isoformat(timespec="seconds")
    RESULTS.mkdir(exist_ok=True)
    content = json.dumps({"measured_at": measured_at, "environment": facts, "entries": entries}, indent=1)
    write_atomic(RESULTS / f"step-cost-{options.part}.json", content + "\n")
    write_atomic(RESULTS / f"step-cost-{options.part}.md", table(options.part, entries))
    print(table(options.part, entries))  # noqa: T201
    return 0


if __name__ == "__main__":
    sys.exit(main())
