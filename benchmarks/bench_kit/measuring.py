"""Windows of all contenders in turns, so that what disturbs the machine disturbs all of them."""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from bpfree import data as datasets
from bpfree.data import Dataset
from bpfree.errors import UsageError
from bpfree.meter.meter import synchronise

from .contenders import Contender, of_arm, of_torch

__all__ = ["CASES", "KINDS", "Case", "measured_case", "measured_programs", "noise", "summary"]


@dataclass(frozen=True)
class Case:
    """One net on one shape of examples, with one batch size; ``steps`` in a window."""

    net: str
    inputs: str
    batch_size: int
    steps: int

    @property
    def name(self) -> str:
        """As it stands in the results."""
        return f"{self.net}, batch {self.batch_size}"


CASES = (
    Case("mlp:2x256", "64", 64, 100),
    Case("mlp:2x256", "64", 128, 100),
    Case("mlp:2x1000", "784", 128, 30),
    Case("mlp:4x2000", "784", 128, 6),
    Case("mlp:3x2000", "3072", 128, 6),
    Case("cnn3", "3x32x32", 128, 2),
    Case("mf-cnn4", "3x32x32", 128, 1),
    Case("resnet8", "3x32x32", 128, 2),
    Case("vit", "3x32x32", 128, 2),
)


KINDS = ("step", "pass", "evaluation")
"""What is timed."""

COUNTS = ("multiply_adds", "multiply_adds_of_evaluation")
"""What is counted."""


def noise(values: Sequence[float]) -> float:
    """Half the distance between the quartiles, as a share of the median; 0 of fewer than four values."""
    if len(values) < 4:
        return 0.0
    low, middle, high = statistics.quantiles(values, n=4)
    return (high - low) / 2 / middle


def summary(seconds: Sequence[float], of_torch: Sequence[float]) -> dict[str, float]:
    """Ratio of the least windows (what the work needs), median ratio of neighbouring windows, and its noise."""
    ratios = [mine / torchs for mine, torchs in zip(seconds, of_torch, strict=True)]
    return {
        "least_s": min(seconds),
        "median_s": statistics.median(seconds),
        "least_ratio": min(seconds) / min(of_torch),
        "median_ratio": statistics.median(ratios),
        "noise": noise(ratios),
    }


def measured_case(
    case: Case,
    arms: Sequence[str],
    tiers: Sequence[str],
    device: str,
    windows: int,
    say: Callable[[str], None],
    kinds: Sequence[str] = KINDS,
    more: Sequence[str] = (),
) -> dict[str, Any]:
    """What is timed of every contender that can train the net; the others with their reason.

    Args:
        kinds: of :data:`KINDS`.
        more: arms in the tier eager alone.
    """
    least = 6 * case.batch_size if "x" in case.inputs else max(2000, 6 * case.batch_size)  # a step on images takes up to a second
    loaded = in_whole_batches(case.inputs, case.batch_size, least).to(device)
    contenders, refused = [of_torch(case.net, loaded, case.batch_size)], {}
    for tier in tiers:
        for arm in (*arms, *(more if tier == "eager" else ())):
            try:
                contenders.append(of_arm(arm, tier, case.net, loaded, case.batch_size))
            except UsageError as error:
                refused[f"{arm}, {tier}"] = str(error)
            say(f"{case.name}: {arm}, {tier}: {refused.get(f'{arm}, {tier}', 'ready')}")
    steps_of_pass = loaded.n("train") // case.batch_size
    passes = max(1, round(case.steps / steps_of_pass))
    calls: dict[str, list[Callable[[], object]]] = {
        "step": [_steps(each, case) for each in contenders],
        "pass": [_passes(each, passes) for each in contenders],
        "evaluation": [each.evaluate for each in contenders],
    }
    rows: list[dict[str, Any]] = [
        {key: getattr(each, key) for key in ("tier", "peak_bytes", *COUNTS, "compile_s")} | {"arm": each.label}
        for each in contenders
    ]
    for kind in kinds:
        seconds = _in_turns(calls[kind], windows, loaded)
        of_one = {"step": case.steps, "pass": passes, "evaluation": 1}[kind]
        for row, mine in zip(rows, seconds, strict=True):
            row[kind] = summary([each / of_one for each in mine], [each / of_one for each in seconds[0]])
        say(f"{case.name}: {kind} measured")
    for row in rows:
        both = "pass" in row and "step" in row
        row["pass_by_steps"] = row["pass"]["least_s"] / (row["step"]["least_s"] * steps_of_pass) if both else None
        for count in COUNTS:
            row[f"{count}_ratio"] = row[count] and row[count] / rows[0][count]
        row["peak_ratio"] = row["peak_bytes"] and rows[0]["peak_bytes"] and row["peak_bytes"] / rows[0]["peak_bytes"]
    return {"case": case.name, "rows": rows, "refused": refused}


def in_whole_batches(inputs: str, batch_size: int, least: int) -> Dataset:
    """Synthetic examples, ``least`` or a few more, whose train split is a whole number of batches.

    A last batch of fewer examples is no whole step: a pass divided by all of its steps would look quicker than it is.
    """
    n = least
    while True:
        loaded = datasets.load(f"synthetic:n={n}:inputs={inputs}").without_test()
        missing = -loaded.n("train") % batch_size
        if missing == 0:
            return loaded
        n += missing


def _in_turns(calls: Sequence[Callable[[], object]], windows: int, loaded: Dataset) -> list[list[float]]:
    """Seconds of each window of each call; one untimed window of each comes first."""
    seconds: list[list[float]] = [[] for _ in calls]
    for turn in range(windows + 1):
        for call, mine in zip(calls, seconds, strict=True):
            synchronise(loaded.device)
            begin_s = time.perf_counter()
            call()
            synchronise(loaded.device)
            if turn:
                mine.append(time.perf_counter() - begin_s)
    return seconds


def _steps(contender: Contender, case: Case) -> Callable[[], object]:
    """Steps on batches that are ready: what a rule writes into its batch changes no time."""
    full = [batch for batch in contender.data.batches("train", case.batch_size) if len(batch.y) == case.batch_size]
    ready = [full[k % len(full)] for k in range(case.steps)]

    def window() -> None:
        for batch in ready:
            contender.step(batch)

    return window


def _passes(contender: Contender, n: int) -> Callable[[], object]:
    """As many as make some ``case.steps``: what other contenders leave in the caches weighs as much as in a window of steps."""

    def window() -> None:
        for pass_index in range(n):
            contender.one_pass(pass_index)

    return window


PROGRAMS = {
    "import torch": ["-c", "import torch"],
    "import bpfree": ["-c", "import bpfree"],
    "bpfree --help": ["-m", "bpfree", "--help"],
    "bpfree list rulesets": ["-m", "bpfree", "list", "rulesets"],
    "bpfree compare": ["-m", "bpfree", "compare", "--quiet"],
}
"""The first is what the others are held against; the last is the main job."""

MAIN_JOB_TIMES = 4
"""Twenty seconds each; of fewer the noise is not known."""


def measured_programs(times: int, say: Callable[[str], None], names: Sequence[str] = tuple(PROGRAMS)) -> list[dict[str, Any]]:
    """Wall seconds of whole programs, in turns, and their ratio to importing torch; the main job is run less often."""
    seconds: dict[str, list[float]] = {name: [] for name in names}
    for turn in range(times):
        for name in names:
            if name == "bpfree compare" and turn >= MAIN_JOB_TIMES:
                continue
            with tempfile.TemporaryDirectory() as folder:
                begin_s = time.perf_counter()
                subprocess.run([sys.executable, *PROGRAMS[name]], cwd=folder, check=True, capture_output=True)
                seconds[name].append(time.perf_counter() - begin_s)
            say(f"{name}: {seconds[name][-1]:.1f} s")
    first = min(seconds[names[0]])
    return [
        {
            "program": name,
            "least_s": min(mine),
            "median_s": statistics.median(mine),
            "ratio": min(mine) / first,
            "noise": noise(mine),
        }
        for name, mine in seconds.items()
    ]
