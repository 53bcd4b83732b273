"""What a table says, as numbers: one row an arm, computed from the records and from nothing else."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from bpfree import stats
from bpfree.records import Record
from bpfree.report.material import Cell, Material
from bpfree.report.targets import Target, Targets, reach, target_for
from bpfree.units import MISSING

__all__ = ["Estimate", "Row", "Table", "build_tables", "signed"]


_MINUS = re.compile(r"(?<![\w.])-(?=\d)")


@dataclass(frozen=True)
class Estimate:
    """A mean over seeds with its 95 % interval; one seed has none."""

    mean: float
    low: float | None
    high: float | None
    n: int

    def text(self, show: Callable[[float], str]) -> str:
        """``"+0.30 [−0.10, +0.70]"``; with one seed ``"+0.30"``."""
        if self.low is None or self.high is None:
            return show(self.mean)
        return f"{show(self.mean)} [{show(self.low)}, {show(self.high)}]"


@dataclass(frozen=True)
class Row:
    """One arm. Means are over the runs that ended ``ok``; ``statuses`` says how many did not."""

    arm: str
    label: str
    index: int
    runs: tuple[Record, ...]
    statuses: dict[str, int]
    accuracy: Estimate | None
    difference: Estimate | None
    verdict: str
    sentence: str
    passes: Estimate | None
    time_s: Estimate | None
    time_ratio: Estimate | None
    energy_j: Estimate | None
    net_energy_j: Estimate | None
    energy_ratio: Estimate | None
    co2e_g: Estimate | None
    train_step_flops: int | None
    peak_memory_bytes: int | None
    inference: dict[str, Estimate]

    @property
    def seeds(self) -> list[int]:
        """Seeds that were run, whatever became of them."""
        return [run.seed for run in self.runs]

    @property
    def n_bad(self) -> int:
        """Runs that diverged or failed: they count against the arm."""
        return self.statuses.get("diverged", 0) + self.statuses.get("failed", 0)

    @property
    def tone(self) -> str:
        """The first word of the verdict, by which it is coloured."""
        return self.verdict.partition(" ")[0].strip(":,")

    @property
    def accuracy_text(self) -> str:
        """Per cent, ``"97.80 ± 0.41"``."""
        if self.accuracy is None:
            return MISSING
        mean = f"{100 * self.accuracy.mean:.2f}"
        if self.accuracy.high is None:
            return mean
        return f"{mean} ± {100 * (self.accuracy.high - self.accuracy.mean):.2f}"

    def difference_text(self, digits: int = 2) -> str:
        """Percentage points, ``"+0.30 [−0.10, +0.70]"``."""
        return MISSING if self.difference is None else self.difference.text(lambda v: signed(100 * v, digits))


@dataclass(frozen=True)
class Table:
    """One data set and net under one ruleset; the baseline is the first row."""

    dataset: str
    net: str
    baseline: str
    baseline_label: str
    margin: float
    rows: tuple[Row, ...]
    targets: Targets | None = None

    @property
    def energy_word(self) -> str:
        """How the energy column must be called: an estimate is never called a measurement."""
        energies = [run.energy for row in self.rows for run in row.runs if run.energy.joules is not None]
        return "energy" if all(energy.measured for energy in energies) else "estimated energy"

    @property
    def runs(self) -> list[Record]:
        """All records of the table."""
        return [run for row in self.rows for run in row.runs]


def signed(value: float, digits: int = 2) -> str:
    """A difference with its sign, a true minus, and no sign on a zero."""
    text = f"{value:+.{digits}f}"
    return text[1:] if float(text) == 0 else text.replace("-", "−")


def build_tables(material: Material, target: Target = None) -> list[Table]:
    """One table for each data set and net, in the order in which they were measured.

    Args:
        target: validation accuracy up to which time and energy are counted, or one for each data set; see
            :func:`bpfree.report.targets.target_for`.
    """
    return [_table(material, cell, target) for cell in material.cells]


def _table(material: Material, cell: Cell, target: Target) -> Table:
    arms = material.arms(cell)
    labels = _labels(arms)
    baseline = next((arm for arm, runs in arms.items() if runs[0].algorithm == "backprop"), next(iter(arms)))
    if "backprop" in arms:
        baseline = "backprop"
    order = [baseline, *(arm for arm in arms if arm != baseline)]
    margin = material.ruleset.equivalence_margin
    accuracies = {arm: _values(arms[arm], _test_accuracy) for arm in order}
    # Holm's correction runs over the arms of one table in one metric.
    compared = stats.compare_family(accuracies, baseline, margin=margin)
    rows = [_row(arm, labels[arm], index, arms[arm], arms[baseline], compared.get(arm)) for index, arm in enumerate(order)]
    aim = target_for(cell[0], arms[baseline], [run for runs in arms.values() for run in runs], target)
    targets = None if aim is None else reach({arm: arms[arm] for arm in order}, aim)
    return Table(*cell, baseline, labels[baseline], margin, tuple(rows), targets)


def _labels(arms: dict[str, list[Record]]) -> dict[str, str]:
    """``mono-forward (staged)`` where that names one arm alone, otherwise the arm as it was typed."""
    said = {arm: _label(runs[0]) for arm, runs in arms.items()}
    counts = Counter(said.values())
    return {arm: label if counts[label] == 1 else arm for arm, label in said.items()}


def _label(run: Record) -> str:
    """The schedule is always said, default or not: joint and staged are two algorithms in cost."""
    schedule = run.params.get("schedule")
    fixed = [part for part in run.variant.split(":") if part and part != f"schedule={schedule}"]
    marks = [str(schedule), *fixed] if schedule else fixed
    return f"{run.algorithm} ({', '.join(marks)})" if marks else run.algorithm


def _row(
    arm: str,
    label: str,
    index: int,
    runs: Sequence[Record],
    baseline: Sequence[Record],
    compared: stats.Comparison | None,
) -> Row:
    """Numbers of one arm; ``compared`` is missing for the baseline itself."""
    statuses = Counter(run.status for run in runs)
    verdict, sentence = _verdict(statuses, compared)
    against = baseline if compared is not None else None
    return Row(
        arm=arm,
        label=label,
        index=index,
        runs=tuple(runs),
        statuses=dict(statuses),
        accuracy=_estimate(runs, _test_accuracy),
        difference=_from_interval(compared.paired.interval) if compared else None,
        verdict=verdict,
        sentence=sentence,
        passes=_estimate(runs, lambda run: float(run.passes)),
        time_s=_estimate(runs, _time_s),
        time_ratio=_ratio(runs, against, _time_s),
        energy_j=_estimate(runs, _joules),
        net_energy_j=_estimate(runs, lambda run: run.energy.net_joules),
        energy_ratio=_ratio(runs, against, _joules),
        co2e_g=_estimate(runs, lambda run: run.co2e_g),
        train_step_flops=_largest(runs, lambda run: run.flops and run.flops.train_step),
        peak_memory_bytes=_largest(runs, lambda run: run.peak_memory_bytes),
        inference=_inference(runs),
    )


def _inference(runs: Sequence[Record]) -> dict[str, Estimate]:
    """By quantity and batch size, such as ``"latency_p50_s:128"``, what all finished runs measured."""
    sizes = dict.fromkeys(size for run in runs if run.inference for size in run.inference.by_batch)
    quantities = ("latency_p50_s", "latency_p95_s", "images_per_s", "joules_per_1000")
    found = {
        f"{quantity}:{size}": _estimate(runs, partial(_of_inference, size=size, quantity=quantity))
        for size in sizes
        for quantity in quantities
    }
    return {name: estimate for name, estimate in found.items() if estimate is not None}


def _of_inference(run: Record, size: str, quantity: str) -> float | None:
    at = run.inference and run.inference.by_batch.get(size)
    return getattr(at, quantity) if at else None


def _verdict(statuses: Counter[str], compared: stats.Comparison | None) -> tuple[str, str]:
    """The word of the statistics, unless runs were lost: an arm that loses runs is never called better.

    The runs that ended well are not a fair sample of an arm of which others diverged.
    """
    if compared is None:
        return "", ""
    lost = {status: count for status in ("diverged", "failed") if (count := statuses[status])}
    said = " and ".join(f"{count} of {statuses.total()} runs {status}" for status, count in lost.items())
    if not statuses["ok"]:
        return "no run finished", f"no run finished{f' ({said})' if said else ''}."
    word, sentence = compared.verdict.word, _MINUS.sub("−", compared.verdict.sentence)
    if not lost:
        return word, sentence
    if word == "worse":
        return f"worse, and {said}", f"{said}; of those that finished: {sentence}"
    return f"unreliable: {said}", f"unreliable, since {said}; of those that finished: {sentence}"


def _test_accuracy(run: Record) -> float | None:
    return run.test_accuracy


def _time_s(run: Record) -> float | None:
    return run.time_s


def _joules(run: Record) -> float | None:
    return run.energy.joules


Pick = Callable[[Record], float | None]


def _values(runs: Sequence[Record], pick: Pick) -> dict[tuple[int, int], float]:
    """By split and by study or seed, of the runs that ended ``ok``; none at all where one of them lacks the quantity.

    A mean over those that happen to have it would be of another set of runs than its neighbours in the row.
    """
    finished = [(run.replicate, pick(run)) for run in runs if run.status == "ok"]
    known = {seed: float(value) for seed, value in finished if value is not None and math.isfinite(value)}
    return known if len(known) == len(finished) else {}


def _estimate(runs: Sequence[Record], pick: Pick) -> Estimate | None:
    return _from_interval(stats.mean_interval(list(_values(runs, pick).values())))


def _from_interval(interval: stats.Interval) -> Estimate | None:
    if interval.mean is None:
        return None
    return Estimate(interval.mean, interval.low, interval.high, interval.n)


def _ratio(runs: Sequence[Record], baseline: Sequence[Record] | None, pick: Pick) -> Estimate | None:
    if baseline is None:
        return None
    mine, theirs = _values(runs, pick), _values(baseline, pick)
    if not all(value > 0 for value in [*mine.values(), *theirs.values()]):
        return None
    return _from_interval(stats.paired_ratio(mine, theirs).interval)


def _largest(runs: Sequence[Record], pick: Pick) -> int | None:
    """The same for every seed but for a ragged batch or the allocator: the largest is what must fit."""
    found = _values(runs, pick)
    return round(max(found.values())) if found else None
