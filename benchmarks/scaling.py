"""How the processor time of a training step grows with examples, depth and width, beside its multiply-adds.

    python benchmarks/scaling.py                 # measures (some minutes), writes benchmarks/results/scaling.json
    python benchmarks/scaling.py --page          # the table and the figure of docs/performance.md from it

A sweep changes one size and leaves the others. Windows of all rules and sizes follow one another in turns; the least counts. The
exponent p of time ~ size^p is the slope of a line through the three largest sizes, both axes logarithmic; the same of the
multiply-adds, which follow from the shapes by the rule's own formula. The noise of p is half the distance between the quartiles
of what single turns give. Time is that of the processor, one thread: other programs disturb it less than the clock on the wall.
A rule of several phases is timed in the last, whose step needs most.
"""

from __future__ import annotations

import argparse
import functools
import json
import math
import os
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is imported: one thread a step

import torch
from bench_kit import scaling_page

from bpfree import data as datasets
from bpfree.algorithms import cost_of
from bpfree.bench import environment, parse_arms
from bpfree.bench.cost_table import step_macs
from bpfree.data import Dataset
from bpfree.files import write_atomic
from bpfree.nets import build
from bpfree.train import initialise, stepper

RESULTS = Path(__file__).parent / "results" / "scaling.json"
ARMS = "backprop,mono-forward,mono-forward:schedule=staged,forward-forward,cascaded-forward"
INPUTS = 784
UPDATE = "Adam's update alone"
"""Of all parameters, beside the rules: its multiply-adds are the numbers that it updates."""
LARGE_END = 3
"""Sizes through which the exponent is fitted."""


@dataclass(frozen=True)
class Sweep:
    """One size that changes.

    Attributes:
        name: as it stands in the results: what changes, and in which unit.
        sizes: rising.
        case: of a size the net and the examples in a batch.
    """

    name: str
    sizes: tuple[int, ...]
    case: Callable[[int], tuple[str, int]]


SWEEPS = (
    Sweep("examples in a batch, mlp:2x500", (32, 64, 128, 256, 512, 1024, 2048), lambda n: ("mlp:2x500", n)),
    Sweep("blocks, width 256, batch 128", (2, 4, 8, 16, 32, 64), lambda depth: (f"mlp:{depth}x256", 128)),
    Sweep("width, two blocks, batch 256", (64, 128, 250, 500, 1000, 2000, 4000), lambda width: (f"mlp:2x{width}", 256)),
)


def say(line: str) -> None:
    """Progress, on standard error."""
    print(line, file=sys.stderr, flush=True)  # noqa: T201


def exponent(sizes: Sequence[float], values: Sequence[float]) -> float:
    """Slope of the logarithm of the values over that of the sizes, by least squares."""
    return statistics.linear_regression([math.log(s) for s in sizes], [math.log(v) for v in values]).slope


def fitted(sizes: Sequence[int], seconds: Sequence[Sequence[float]], macs: Sequence[int]) -> dict[str, float]:
    """Exponents at the large end.

    Args:
        seconds: of every size its windows, in the order of the turns.
        macs: multiply-adds of every size.

    Returns:
        ``time`` of the least windows, ``macs``, and ``noise``: half the distance between the quartiles of single turns.
    """
    end, its_seconds = sizes[-LARGE_END:], seconds[-LARGE_END:]
    of_turns = [exponent(end, turn) for turn in zip(*its_seconds, strict=True)]
    return {
        "time": exponent(end, [min(windows) for windows in its_seconds]),
        "macs": exponent(end, macs[-LARGE_END:]),
        "noise": _half_between_quartiles(of_turns),
    }


def _half_between_quartiles(values: Sequence[float]) -> float:
    if len(values) < 4:
        return (max(values) - min(values)) / 2
    low, _, high = statistics.quantiles(values, n=4)
    return (high - low) / 2


def measured_sweep(sweep: Sweep, arms: Sequence[str], windows: int, window_s: float) -> list[dict[str, Any]]:
    """Every arm: seconds of a step and multiply-adds at each size, and the exponents."""
    cells = {text: [_Cell(text, *sweep.case(size)) for size in sweep.sizes] for text in arms}
    for turn in range(windows + 1):  # the first warms up, and says how many steps a window has
        for k in range(len(sweep.sizes)):
            for of_arm in cells.values():
                of_arm[k].take_window(window_s, counts=turn > 0)
    rows = []
    for of_arm in cells.values():
        seconds, macs = [cell.seconds for cell in of_arm], [cell.macs for cell in of_arm]
        row = {"arm": of_arm[0].label, "sizes": list(sweep.sizes), "least_s": [min(each) for each in seconds], "macs": macs}
        rows.append(row | {"exponents": fitted(sweep.sizes, seconds, macs)})
        say(f"{sweep.name}: {rows[-1]['arm']}: {rows[-1]['exponents']}")
    return rows


@functools.cache
def _examples(n: int) -> Dataset:
    return datasets.load(f"synthetic:n={n}:inputs={INPUTS}").without_test()


class _Cell:
    """One rule at one size."""

    def __init__(self, text: str, net_name: str, n: int) -> None:
        alone = text == UPDATE
        arm = parse_arms("backprop" if alone else text)[0]
        loaded = _examples(max(500, 2 * n))
        rule, net = arm.build({}), build(net_name, loaded.in_shape, loaded.n_classes)
        state = initialise(rule, net, 0, loaded.device)
        phase = rule.phases(net)[-1]
        batch = next(iter(loaded.batches("train", n)))
        assert len(batch.y) == n
        self.label = UPDATE if alone else arm.label
        self.seconds: list[float] = []
        self._steps = 1
        if alone:
            parameters = [parameter.detach() for parameter in net.parameters()]
            gradients = [torch.full_like(parameter, 1e-3) for parameter in parameters]
            (optimiser,) = state.optimisers()
            self.macs = sum(parameter.numel() for parameter in parameters)
            self._step: Callable[[], object] = lambda: optimiser.step(parameters, gradients)
            return
        macs = step_macs(rule, cost_of(rule, net, n, phase))
        assert macs is not None, f"{text} has no formula of its multiply-adds"
        self.macs = macs
        take_step = stepper("eager", rule, net, state)
        self._step = lambda: take_step(batch, phase)

    def take_window(self, window_s: float, *, counts: bool) -> None:
        """Time some steps."""
        begin_s = time.process_time()
        for _ in range(self._steps):
            self._step()
        each_s = (time.process_time() - begin_s) / self._steps
        if counts:
            self.seconds.append(each_s)
        else:
            self._steps = max(1, round(window_s / each_s))


def measured(arms: Sequence[str], windows: int, window_s: float, sweeps: Sequence[Sweep] = SWEEPS) -> dict[str, Any]:
    """All sweeps, with the machine, its load and the versions."""
    load_before, begin_s = os.getloadavg()[0], time.monotonic()
    of_sweeps = [{"sweep": sweep.name, "rows": measured_sweep(sweep, [*arms, UPDATE], windows, window_s)} for sweep in sweeps]
    return {
        "command": "python benchmarks/scaling.py",
        "measured_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "environment": environment.facts(torch.device("cpu")).as_json(),
        "windows": windows,
        "load": [load_before, os.getloadavg()[0]],
        "took_s": time.monotonic() - begin_s,
        "sweeps": of_sweeps,
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--arms", default=ARMS)
    parser.add_argument("--windows", type=int, default=15)
    parser.add_argument("--window-s", type=float, default=0.02, help="least seconds of a window; one step if that is longer")
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--page", action="store_true", help="measure nothing: make the page's part of --out")
    options = parser.parse_args(arguments)
    if options.windows < 1:
        parser.error(f"--windows must be at least 1, got {options.windows}")
    if options.page:
        scaling_page.write(json.loads(options.out.read_text(encoding="utf-8")))
        return 0
    write_atomic(options.out, json.dumps(measured(options.arms.split(","), options.windows, options.window_s), indent=1) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
