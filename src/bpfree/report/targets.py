"""Passes, time and energy until the validation accuracy first reached a target, from the histories."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from bpfree import stats
from bpfree.errors import UsageError
from bpfree.records import HistoryEntry, Record
from bpfree.rulesets.schema import whole_name
from bpfree.units import MISSING, format_count, format_energy, format_percent, format_time

__all__ = ["COSTS_TO_TARGET", "DEFAULT_SHARE", "CostToTarget", "Reached", "Target", "Targets", "reach", "target_for"]

Target = float | Mapping[str, float] | None
"""The target that the caller names: one accuracy, or one for each data set; None for that of the runs."""

ASKED = "as asked for"
"""Where a target comes from that was given for the report."""

DEFAULT_SHARE = 0.99
"""Share of the baseline's mean best validation accuracy that is the default target."""


@dataclass(frozen=True)
class Reached:
    """One arm. Medians over its seeds; a run that never reached the target, or was lost, counts as infinite.

    ``joules`` and ``flops`` (of training alone) are None where a run has none.
    """

    arm: str
    n_reached: int
    n_runs: int
    passes: float
    time_s: float
    joules: float | None
    flops: float | None

    @property
    def texts(self) -> tuple[str, ...]:
        """Number of runs that reached it, then each of :data:`COSTS_TO_TARGET` as text."""
        return (f"{self.n_reached} of {self.n_runs}", *(cost.text(self) for cost in COSTS_TO_TARGET))


@dataclass(frozen=True)
class CostToTarget:
    """One cost up to the target: its heading, its keys in JSON and CSV (empty: not in the CSV), its value and its text."""

    heading: str
    key: str
    csv_key: str
    pick: Callable[[Reached], float | None]
    show: Callable[[float], str]

    def text(self, reached: Reached) -> str:
        """The value, ``"never"`` where it is infinite, a dash where it was not measured."""
        value = self.pick(reached)
        if value is None:
            return MISSING
        return self.show(value) if math.isfinite(value) else "never"


COSTS_TO_TARGET = (
    CostToTarget("Passes", "median_passes_count", "", lambda reached: reached.passes, lambda value: f"{value:g}"),
    CostToTarget("Time", "median_time_s", "median_time_to_target_s", lambda reached: reached.time_s, format_time),
    CostToTarget("Energy", "median_energy_j", "median_energy_to_target_j", lambda reached: reached.joules, format_energy),
    CostToTarget("FLOPs", "median_flops", "median_to_target_flops", lambda reached: reached.flops, format_count),
)
"""Each cost up to the target once, in the order of the columns."""


@dataclass(frozen=True)
class Targets:
    """The target of one table (``accuracy`` is a fraction), its origin in words, and what each arm spent."""

    accuracy: float
    source: str
    arms: tuple[Reached, ...]

    @property
    def asked(self) -> bool:
        """Whether the target was given for this report."""
        return self.source == ASKED

    @property
    def caption(self) -> str:
        """Caption of the table."""
        return (
            f"Cost until validation first reached {format_percent(self.accuracy)} % ({self.source}); time and energy with "
            "validation, FLOPs of training alone, medians over seeds. A run that never reached it, or was lost, counts as never."
        )


def target_for(dataset: str, baseline: Sequence[Record], runs: Sequence[Record], asked: Target) -> tuple[float, str] | None:
    """The target of a table and its origin: what was asked for, that of the runs, or a share of the baseline's best.

    Raises:
        UsageError: the target asked for is no fraction above 0 and at most 1.
    """
    named = asked.get(whole_name(dataset)) if isinstance(asked, Mapping) else asked
    if named is not None:
        if not 0 < named <= 1:
            raise UsageError(f"the target must be an accuracy above 0 and at most 1, such as 0.95, got {named}")
        return named, ASKED
    planned = [float(value) for run in runs if isinstance(value := run.plan.get("target"), int | float)]
    if planned:
        return planned[-1], "the target of the runs"
    best = [max(accuracies) for run in baseline if run.status == "ok" and (accuracies := _accuracies(run))]
    if not best:
        return None
    share = f"{DEFAULT_SHARE:.0%} of {baseline[0].arm}’s mean best validation accuracy"
    return DEFAULT_SHARE * statistics.fmean(best), share.replace("%", " %")


def reach(arms: Mapping[str, Sequence[Record]], target: tuple[float, str]) -> Targets:
    """What every arm spent until the target: (accuracy, its origin in words)."""
    accuracy, source = target
    return Targets(accuracy, source, tuple(_reach(arm, runs, accuracy) for arm, runs in arms.items()))


def _reach(arm: str, runs: Sequence[Record], accuracy: float) -> Reached:
    ended = [run for run in runs if run.status != "interrupted"]
    times, joules, passes, flops = [], [], [], []
    for run in ended:
        entries = [stats.Entry(e.val_accuracy, e.time_s, e.joules) for e in run.history] if run.status == "ok" else []
        times.append(stats.time_to_target(entries, accuracy))
        joules.append(stats.energy_to_target(entries, accuracy))
        reached = _first(run, accuracy) if entries else None
        passes.append(math.inf if reached is None else float(reached.passes))
        flops.append(math.inf if reached is None else reached.flops)
    known = [value for value in joules if value is not None]
    counted = [value for value in flops if value is not None]
    return Reached(
        arm=arm,
        n_reached=sum(math.isfinite(value) for value in times),
        n_runs=len(ended),
        passes=_median(passes),
        time_s=_median(times),
        joules=_median(known) if known and len(known) == len(joules) and _any_joules(ended) else None,
        flops=_median(counted) if len(counted) == len(flops) and _any_flops(ended) else None,
    )


def _median(values: Sequence[float]) -> float:
    return statistics.median(values) if values else math.inf


def _any_joules(runs: Sequence[Record]) -> bool:
    return any(entry.joules is not None for run in runs for entry in run.history)


def _any_flops(runs: Sequence[Record]) -> bool:
    return any(entry.flops is not None for run in runs for entry in run.history)


def _first(run: Record, accuracy: float) -> HistoryEntry | None:
    """The pass at whose end the target was first reached."""
    return next((e for e in run.history if e.val_accuracy is not None and e.val_accuracy >= accuracy), None)


def _accuracies(run: Record) -> list[float]:
    return [e.val_accuracy for e in run.history if e.val_accuracy is not None and math.isfinite(e.val_accuracy)]
