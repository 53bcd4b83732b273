"""The numbers of a table: one row for each arm, computed from the records and from nothing else."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from bpfree import stats
from bpfree.records import Record
from bpfree.report.material import Material, Task
from bpfree.report.quantities import ACCURACY, DIFFERENCE, QUANTITIES, Quantity, points
from bpfree.report.targets import Target, Targets, reach, target_for
from bpfree.report.verdicts import ArmVerdict, arm_verdict
from bpfree.units import MISSING

__all__ = ["ArmRow", "SeedMean", "Table", "build_tables"]


@dataclass(frozen=True)
class SeedMean:
    """A mean over seeds with its 95 % interval; one seed has no interval."""

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
class ArmRow:
    """One arm. Means are over the runs that ended ``ok``; ``statuses`` counts all runs.

    Attributes:
        index: 0 for the baseline.
        runs: by seed, whatever their status.
        means: of every mean, difference and ratio of :data:`~bpfree.report.quantities.QUANTITIES`, by key.
        largest: of the other quantities, by key.
    """

    arm: str
    label: str
    index: int
    runs: tuple[Record, ...]
    statuses: dict[str, int]
    verdict: ArmVerdict
    means: Mapping[str, SeedMean | None]
    largest: Mapping[str, int | None]

    def __getitem__(self, quantity: Quantity) -> SeedMean | None:
        """Mean over seeds of a quantity; None where it was not measured in every finished run."""
        return self.means[quantity.key]

    @property
    def seeds(self) -> list[int]:
        """Seeds of all runs, whatever their status."""
        return [run.seed for run in self.runs]

    @property
    def n_bad(self) -> int:
        """Runs that diverged or failed: they count against the arm."""
        return self.statuses.get("diverged", 0) + self.statuses.get("failed", 0)

    @property
    def accuracy_text(self) -> str:
        """Per cent, ``"97.80 ± 0.41"``."""
        accuracy = self[ACCURACY]
        if accuracy is None:
            return MISSING
        mean = ACCURACY.show(accuracy.mean)
        return mean if accuracy.high is None else f"{mean} ± {ACCURACY.show(accuracy.high - accuracy.mean)}"

    def difference_text(self, digits: int = 2) -> str:
        """Percentage points, ``"+0.30 [−0.10, +0.70]"``."""
        difference = self[DIFFERENCE]
        return MISSING if difference is None else difference.text(lambda value: points(value, digits))


@dataclass(frozen=True)
class Table:
    """One task (data set and net) under one ruleset; the baseline is the first row."""

    dataset: str
    net: str
    baseline: str
    baseline_label: str
    margin: float
    rows: tuple[ArmRow, ...]
    targets: Targets | None = None

    @property
    def task(self) -> Task:
        """Data set and net."""
        return (self.dataset, self.net)

    @property
    def task_text(self) -> str:
        """Data set and net in a heading."""
        return f"{self.dataset}, {self.net}"

    @property
    def energy_word(self) -> str:
        """Name of the energy column: an estimate is never called a measurement."""
        energies = [run.energy for row in self.rows for run in row.runs if run.energy.joules is not None]
        return "energy" if all(energy.measured for energy in energies) else "estimated energy"

    @property
    def runs(self) -> list[Record]:
        """All records of the table."""
        return [run for row in self.rows for run in row.runs]


def build_tables(material: Material, target: Target = None) -> list[Table]:
    """One table for each data set and net, in the order in which they were measured.

    Args:
        material: what was read.
        target: validation accuracy up to which time and energy are counted, or one for each data set; see
            :func:`bpfree.report.targets.target_for`.

    Raises:
        UsageError: the target is no fraction above 0 and at most 1.
    """
    return [_table(material, task, target) for task in material.tasks]


def _table(material: Material, task: Task, target: Target) -> Table:
    arms = material.arms(task)
    labels = _labels(arms)
    baseline = _baseline(arms)
    order = [baseline, *(arm for arm in arms if arm != baseline)]
    margin = material.ruleset.equivalence_margin
    accuracies = {arm: _values(arms[arm], ACCURACY) for arm in order}
    # Holm's correction runs over the arms of one table in one metric.
    compared = stats.compare_family(accuracies, baseline, margin=margin)
    rows = [_row(arm, labels[arm], index, arms[arm], arms[baseline], compared.get(arm)) for index, arm in enumerate(order)]
    aim = target_for(task[0], arms[baseline], [run for runs in arms.values() for run in runs], target)
    targets = None if aim is None else reach({arm: arms[arm] for arm in order}, aim)
    return Table(*task, baseline, labels[baseline], margin, tuple(rows), targets)


def _baseline(arms: Mapping[str, Sequence[Record]]) -> str:
    """Plain backprop, else the first variant of backprop, else the first arm."""
    if "backprop" in arms:
        return "backprop"
    return next((arm for arm, runs in arms.items() if runs[0].algorithm == "backprop"), next(iter(arms)))


def _labels(arms: Mapping[str, Sequence[Record]]) -> dict[str, str]:
    """``mono-forward (staged)`` where that names one arm alone, otherwise the arm as it was typed."""
    short = {arm: _label(runs[0]) for arm, runs in arms.items()}
    counts = Counter(short.values())
    return {arm: label if counts[label] == 1 else arm for arm, label in short.items()}


def _label(run: Record) -> str:
    """The schedule is always named, default or not: joint and staged are two algorithms in cost."""
    schedule = run.params.get("schedule")
    fixed = [part for part in run.variant.split(":") if part and part != f"schedule={schedule}"]
    options = [str(schedule), *fixed] if schedule else fixed
    return f"{run.algorithm} ({', '.join(options)})" if options else run.algorithm


def _row(
    arm: str,
    label: str,
    index: int,
    runs: Sequence[Record],
    baseline: Sequence[Record],
    compared: stats.Comparison | None,
) -> ArmRow:
    """Numbers of one arm; ``compared`` is missing for the baseline itself."""
    statuses = Counter(run.status for run in runs)

    def mean(quantity: Quantity) -> SeedMean | None:
        if quantity.statistic == "mean":
            return _seed_mean(stats.mean_interval(list(_values(runs, quantity).values())))
        if compared is None:
            return None
        return _seed_mean(compared.paired.interval) if quantity.statistic == "difference" else _ratio(runs, baseline, quantity)

    return ArmRow(
        arm=arm,
        label=label,
        index=index,
        runs=tuple(runs),
        statuses=dict(statuses),
        verdict=arm_verdict(statuses, compared),
        means={each.key: mean(each) for each in QUANTITIES if each.statistic != "largest"},
        largest={each.key: _largest(runs, each) for each in QUANTITIES if each.statistic == "largest"},
    )


def _values(runs: Sequence[Record], quantity: Quantity) -> dict[tuple[int, int], float]:
    """By split and by study or seed, of the runs that ended ``ok``; none at all where one of them lacks the quantity.

    A mean over those that happen to have it would be of another set of runs than its neighbours in the row.
    """
    finished = [(run.replicate, quantity.pick(run)) for run in runs if run.status == "ok"]
    known = {seed: value for seed, value in finished if value is not None and math.isfinite(value)}
    return known if len(known) == len(finished) else {}


def _seed_mean(interval: stats.Interval) -> SeedMean | None:
    if interval.mean is None:
        return None
    return SeedMean(interval.mean, interval.low, interval.high, interval.n)


def _ratio(runs: Sequence[Record], baseline: Sequence[Record], quantity: Quantity) -> SeedMean | None:
    mine, theirs = _values(runs, quantity), _values(baseline, quantity)
    if not all(value > 0 for value in [*mine.values(), *theirs.values()]):
        return None
    return _seed_mean(stats.paired_ratio(mine, theirs).interval)


def _largest(runs: Sequence[Record], quantity: Quantity) -> int | None:
    """The same for every seed but for a ragged batch or the allocator: the largest is what must fit."""
    values = _values(runs, quantity)
    return round(max(values.values())) if values else None
