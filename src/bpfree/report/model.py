"""The numbers of a table: one row for each arm, computed from the records and from nothing else."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from bpfree import stats
from bpfree.records import Record
from bpfree.report.family import Compared, Contest, compare_all, values_of
from bpfree.report.interim import Looks, looks_of
from bpfree.report.labels import arm_label
from bpfree.report.material import Material, Task
from bpfree.report.quantities import ACCURACY, DIFFERENCE, QUANTITIES, Quantity, points
from bpfree.report.replicates import PLURALS, mean_over, noun_of, numbers_of
from bpfree.report.targets import Target, Targets, reach, target_for
from bpfree.report.unequal_search import unequal_search
from bpfree.report.verdicts import ArmVerdict, arm_verdict, cost_word
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
        time_word, energy_word: such as ``"slower in this search"``; empty where they may not be judged.
        compared: with the baseline; None for the baseline itself.
        control: whether the arm is the baseline again, with other draws.
    """

    arm: str
    label: str
    index: int
    runs: tuple[Record, ...]
    statuses: dict[str, int]
    verdict: ArmVerdict
    means: Mapping[str, SeedMean | None]
    largest: Mapping[str, int | None]
    time_word: str = ""
    energy_word: str = ""
    compared: Compared | None = None
    control: bool = False

    def __getitem__(self, quantity: Quantity) -> SeedMean | None:
        """Mean over seeds of a quantity; None where it was not measured in every finished run."""
        return self.means[quantity.key]

    @property
    def seeds(self) -> list[int]:
        """Seeds of all runs, whatever their status."""
        return [run.seed for run in self.runs]

    @property
    def searches(self) -> dict[tuple[int | None, int], list[Record]]:
        """Runs by the study and the split seed of the search that tuned them, in the order of the runs."""
        by_search: dict[tuple[int | None, int], list[Record]] = {}
        for run in self.runs:
            by_search.setdefault((run.study, run.split_seed), []).append(run)
        return by_search

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
    """One task (data set and net) under one ruleset; the baseline is the first row, a control the last.

    Attributes:
        margin: of equivalence of accuracies, a fraction: that of the ruleset, but not finer than one test example.
        looks: how often the table may have been looked at, and the level of its tests.
        unequal_search: by arm, how its search differs from that of the others.
        noun: what pairs the runs of two arms, ``"seed"`` or ``"study"``.
    """

    dataset: str
    net: str
    baseline: str
    baseline_label: str
    margin: float
    rows: tuple[ArmRow, ...]
    looks: Looks
    unequal_search: Mapping[str, str]
    noun: str = "seed"
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

    @property
    def rivals(self) -> list[ArmRow]:
        """The arms that are compared with the baseline, less a control."""
        return [row for row in self.rows[1:] if not row.control]

    @property
    def numbers(self) -> list[int]:
        """All seeds (or studies), sorted."""
        return numbers_of(self.runs)


def build_tables(material: Material, target: Target = None) -> list[Table]:
    """One table for each data set and net, in the order in which they were measured.

    Args:
        material: what was read.
        target: validation accuracy up to which time and energy are counted, or one for each data set; see
            :func:`bpfree.report.targets.target_for`.

    Raises:
        UsageError: the target is no fraction above 0 and at most 1.
    """
    contests = [_contest(material, task) for task in material.tasks]
    compared = compare_all(contests, material)
    return [_table(material, contest, compared[contest.task], target) for contest in contests]


def _contest(material: Material, task: Task) -> Contest:
    arms = material.arms(task)
    baseline = _baseline(arms)
    labels = _labels(arms)
    sizes = [run.n_test for runs in arms.values() for run in runs if run.n_test is not None]
    margin = material.ruleset.equivalence_margin
    controls = [arm for arm, runs in arms.items() if runs[0].control]
    order = [baseline, *(arm for arm in arms if arm != baseline and arm not in controls)]
    order += [arm for arm in controls if arm != baseline]
    return Contest(
        task=task,
        arms={arm: arms[arm] for arm in order},
        baseline=baseline,
        margin=stats.resolved_margin(margin, min(sizes)) if sizes and margin > 0 else margin,
        unequal_search=unequal_search(arms, baseline, material, task, labels),
        looks=looks_of(arms),
    )


def _table(material: Material, contest: Contest, compared: Mapping[str, Compared], target: Target) -> Table:
    task, arms, baseline = contest.task, contest.arms, contest.baseline
    labels, refusal = _labels(arms), _refusal(material, contest)
    rows = [_row(labels[arm], index, arm, contest, compared.get(arm), refusal) for index, arm in enumerate(arms)]
    runs = [run for of_arm in arms.values() for run in of_arm]
    aim = target_for(task[0], arms[baseline], runs, target)
    return Table(
        *task,
        baseline,
        labels[baseline],
        contest.margin,
        tuple(rows),
        looks=contest.looks,
        unequal_search=contest.unequal_search,
        noun=noun_of(runs),
        targets=None if aim is None else reach(arms, aim),
    )


def _refusal(material: Material, contest: Contest) -> str:
    """Why no arm of a table is judged; empty where they are."""
    if not material.ruleset.comparable:
        return "unequal rules"
    return f"{PLURALS[contest.looks.noun]} were added after a look" if contest.looks.level <= 0 else ""


def _baseline(arms: Mapping[str, Sequence[Record]]) -> str:
    """Plain backprop, else the first variant of backprop that was searched as the ruleset says, else another, else any arm."""
    if "backprop" in arms:
        return "backprop"
    variants = [arm for arm, runs in arms.items() if runs[0].algorithm == "backprop" and not runs[0].control]
    searched = [arm for arm in variants if not any(run.unequal_search for run in arms[arm])]
    return next(iter([*searched, *variants, *arms]))


def _labels(arms: Mapping[str, Sequence[Record]]) -> dict[str, str]:
    """``mono-forward (staged)`` where that names one arm alone, otherwise the arm as it was typed."""
    short = {arm: _label(runs[0]) for arm, runs in arms.items()}
    counts = Counter(short.values())
    return {arm: label if counts[label] == 1 else arm for arm, label in short.items()}


def _label(run: Record) -> str:
    return f"{run.algorithm} against itself" if run.control else arm_label(run.algorithm, run.variant)


def _row(label: str, index: int, arm: str, contest: Contest, compared: Compared | None, refusal: str) -> ArmRow:
    """Numbers of one arm; ``compared`` is missing for the baseline itself."""
    runs, baseline, crossed = contest.arms[arm], contest.arms[contest.baseline], contest.crossed
    statuses = Counter(run.status for run in runs)
    control = compared is not None and runs[0].control

    def mean(quantity: Quantity) -> SeedMean | None:
        if quantity.statistic == "mean":
            return _seed_mean(mean_over(values_of(runs, quantity, crossed), crossed))
        if compared is None:
            return None
        if quantity.statistic == "difference":
            return _seed_mean(compared.accuracy.paired.interval)
        return _ratio(runs, baseline, quantity, crossed)

    return ArmRow(
        arm=arm,
        label=label,
        index=index,
        runs=tuple(runs),
        statuses=dict(statuses),
        verdict=arm_verdict(statuses, compared and compared.accuracy, refusal=refusal, control=control, noun=contest.looks.noun),
        means={each.key: mean(each) for each in QUANTITIES if each.statistic != "largest"},
        largest={each.key: _largest(runs, each) for each in QUANTITIES if each.statistic == "largest"},
        time_word=cost_word(compared and compared.time, refusal=refusal, control=control),
        energy_word=cost_word(compared and compared.energy, refusal=refusal, control=control),
        compared=compared,
        control=control,
    )


def _seed_mean(interval: stats.Interval) -> SeedMean | None:
    if interval.mean is None:
        return None
    return SeedMean(interval.mean, interval.low, interval.high, interval.n)


def _ratio(runs: Sequence[Record], baseline: Sequence[Record], quantity: Quantity, crossed: bool) -> SeedMean | None:
    mine, theirs = values_of(runs, quantity, crossed), values_of(baseline, quantity, crossed)
    if not all(value > 0 for value in [*mine.values(), *theirs.values()]):
        return None
    if crossed:
        return _seed_mean(stats.crossed_comparison(mine, theirs, 1.0, "ratio")[0].interval)  # whatever the margin
    return _seed_mean(stats.paired_ratio(mine, theirs).interval)


def _largest(runs: Sequence[Record], quantity: Quantity) -> int | None:
    """The same for every seed but for a ragged batch or the allocator: the largest is what must fit."""
    values = values_of(runs, quantity, crossed=True)
    return round(max(values.values())) if values else None
