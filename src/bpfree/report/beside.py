"""Published numbers beside measured ones: the gap between them, and whether they agree, differ, or leave it open."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bpfree import stats
from bpfree.published import SPREAD_SDS, Number
from bpfree.records import read_records
from bpfree.report.family import lost_words, values_of
from bpfree.report.labels import arm_label
from bpfree.report.material import read_material
from bpfree.report.model import ArmRow, SeedMean, Table, build_tables
from bpfree.report.quantities import ACCURACY, DIFFERENCE, ENERGY, ENERGY_RATIO, TIME, TIME_RATIO, Quantity
from bpfree.stats.intervals import t_quantile
from bpfree.units import MISSING

__all__ = ["Beside", "SuiteFacts", "SuiteRow", "answer_of", "measured_beside", "points", "row_values"]


@dataclass(frozen=True, kw_only=True)
class SuiteRow:
    """One row of a suite: a published number, and what is run to compare with it.

    Attributes:
        section: title of the paper's table.
        ruleset: key of the suite's ruleset, the name of its run directory.
        dataset: as the paper has it; ``measured_dataset`` is its name in the records (empty if it was not loaded).
        arm: as it is run; ``number`` names the rule as the paper's table does.
        reason: why the row was not run; empty where it was.
    """

    section: str
    ruleset: str
    dataset: str
    measured_dataset: str
    net: str
    arm: str
    number: Number
    note: str = ""
    reason: str = ""


@dataclass(frozen=True, kw_only=True)
class SuiteFacts:
    """Facts about the whole suite; ``section_notes`` by title, ``n_suite_rows`` counts all rows, chosen or not."""

    name: str
    title: str
    paper: str
    description: str = ""
    stamps: tuple[str, ...] = ()
    scale: float = 1.0
    n_suite_rows: int | None = None
    section_notes: Mapping[str, str] = field(default_factory=dict)
    command: str = ""


@dataclass(frozen=True)
class Beside:
    """A row of the suite and the measured row, None where there is none.

    Attributes:
        verdict: in words, with its reason; ``word`` is short, for counting.
        replication: measured less published with Welch's interval, None where nothing was compared.
    """

    row: SuiteRow
    measured: ArmRow | None
    verdict: str
    word: str
    replication: stats.Replication | None = None

    @property
    def label(self) -> str:
        """Name of the rule with what the arm fixes: ``cascaded-forward (dfa)``."""
        name, _, variant = self.row.arm.partition(":")
        return arm_label(name, variant)

    @property
    def accuracy(self) -> SeedMean | None:
        """Measured test accuracy."""
        return self.mean(ACCURACY)

    def mean(self, quantity: Quantity) -> SeedMean | None:
        """Measured mean of any quantity; None where there is none."""
        return self.measured[quantity] if self.measured else None

    @property
    def gap(self) -> SeedMean | None:
        """Measured less published, a fraction: of accuracies, or of differences to backprop where only those are published.

        Its interval is Welch's, of both spreads; without one of them it has none.
        """
        if self.replication is None or self.replication.interval.mean is None:
            return None
        interval = self.replication.interval
        return SeedMean(self.replication.interval.mean, interval.low, interval.high, interval.n)


def measured_beside(facts: SuiteFacts, rows: Sequence[SuiteRow], directories: Mapping[str, Path]) -> list[Beside]:
    """Every row of the suite with the measured row of its ruleset, data set, net and arm.

    Args:
        facts: about the suite.
        rows: of the suite.
        directories: run directory by the key of its ruleset; one that has no records yet is left out.

    Raises:
        RunDirectoryError, RulesetError: a directory that cannot be reported on.
    """
    measured: dict[tuple[str, str, str, str], tuple[Table, ArmRow]] = {}
    for key, path in directories.items():
        if read_records(path / "records.jsonl"):
            for table in build_tables(read_material([path], accept_other_code=True)):
                measured |= {(key, *table.task, row.arm): (table, row) for row in table.rows}
    return [_beside(facts, row, measured.get((row.ruleset, row.measured_dataset, row.net, row.arm))) for row in rows]


def _beside(facts: SuiteFacts, row: SuiteRow, of_row: tuple[Table, ArmRow] | None) -> Beside:
    """One row with its words; a rehearsal on a part of the data is not judged, and neither is an arm that lost runs."""
    if of_row is None:
        return Beside(row, None, f"not run: {row.reason}" if row.reason else "not run yet", "not run")
    table, measured = of_row
    both = _compared(row.number, table, measured)
    if both is None:
        unpublished = row.number.accuracy is None and row.number.difference is None
        nothing = "nothing to compare with" if unpublished else "no difference was measured"
        if measured[ACCURACY] is None:
            nothing = "no run finished"
        return Beside(row, measured, nothing, nothing)
    replication = stats.compare_published(*both, table.margin)
    if facts.scale != 1.0:
        return Beside(row, measured, "not judged: SCALED", "not judged", replication)
    lost = lost_words(measured.runs)
    if lost:
        return Beside(row, measured, f"cannot tell: {lost}", "cannot tell", replication)
    return Beside(
        row, measured, replication.text, "cannot tell" if replication.word == "cannot tell" else replication.text, replication
    )


def _compared(number: Number, table: Table, measured: ArmRow) -> tuple[stats.Summary, stats.Summary] | None:
    """The measured and the published sample that are compared: of accuracies where one is published, else of differences."""
    if number.accuracy is not None:
        values = list(values_of(measured.runs, ACCURACY, crossed=True).values())
        sd = None if number.spread is None else (number.spread[1] - number.spread[0]) / 2 / SPREAD_SDS
        published = stats.Summary(mean=number.accuracy, sd=sd, n=_count(number))
    else:
        values = list(measured.compared.accuracy.paired.working) if measured.compared else []
        if number.difference is None:
            return None
        published = stats.Summary(mean=number.difference, sd=_sd_of_interval(number), n=_count(number))
    return (stats.summary(values), published) if values else None


def _count(number: Number) -> int | None:
    """Published runs, at least: ``"20+"`` counts as 20."""
    digits = number.n_runs.rstrip("+")
    return int(digits) if digits.isdecimal() and int(digits) > 0 else None


def _sd_of_interval(number: Number) -> float | None:
    """Standard deviation of single differences behind a published 95 % t interval of their mean, half = t s / √n."""
    n = _count(number)
    if number.difference_interval is None or n is None or n < 2:
        return None
    low, high = number.difference_interval
    return (high - low) / 2 * math.sqrt(n) / t_quantile((1 + stats.LEVEL) / 2, n - 1)


def answer_of(facts: SuiteFacts, rows: Sequence[Beside]) -> str:
    """Summary of the whole suite in one or two sentences."""
    n_run = sum(row.measured is not None for row in rows)
    chosen = "" if facts.n_suite_rows in (None, len(rows)) else f" (of {facts.n_suite_rows}, the others were not asked for)"
    text = f"{n_run} of {len(rows)} published rows of {facts.name}{chosen} were run"
    if facts.scale != 1.0:
        return (
            f"{text}, SCALED to {100 * facts.scale:g} % of examples, trials and passes: a rehearsal, which shows that the rows "
            "run, and neither confirms nor contradicts a published number."
        )
    counts = Counter(row.word for row in rows if row.measured is not None)
    verdicts = "; ".join(f"{count} {verdict}" for verdict, count in counts.most_common())
    return f"{text}{f': {verdicts}' if verdicts else ''}."


def points(mean: SeedMean | None) -> str:
    """Percentage points with interval, a dash where there are none."""
    return MISSING if mean is None else mean.text(DIFFERENCE.show)


def row_values(beside: Beside) -> dict[str, Any]:
    """One row as JSON values, fractions and SI units."""
    row, number, gap, accuracy = beside.row, beside.row.number, beside.gap, beside.accuracy
    return {
        "section": row.section, "ruleset": row.ruleset, "dataset": row.dataset, "net": row.net,
        "arm": row.arm, "published_accuracy": number.accuracy, "published_spread": number.spread,
        "published_spread_is": number.spread_words, "published_difference": number.difference,
        "published_time_ratio": number.time_ratio, "published_energy_ratio": number.energy_ratio,
        "published_time_s": number.time_s, "published_energy_j": number.energy_j,
        "second_hand": number.second_hand, "source": number.source,
        "measured_dataset": row.measured_dataset or None,
        "measured_accuracy": _mean(accuracy), "measured_low95": accuracy and accuracy.low,
        "measured_high95": accuracy and accuracy.high, "n_seeds": len(beside.measured.runs) if beside.measured else 0,
        "gap": _mean(gap), "gap_low95": gap and gap.low, "gap_high95": gap and gap.high,
        "measured_difference": _mean(beside.mean(DIFFERENCE)),
        "measured_time_ratio": _mean(beside.mean(TIME_RATIO)),
        "measured_energy_ratio": _mean(beside.mean(ENERGY_RATIO)),
        "measured_time_s": _mean(beside.mean(TIME)), "measured_energy_j": _mean(beside.mean(ENERGY)),
        "verdict": beside.verdict, "margin": beside.replication and beside.replication.margin, "not_run": row.reason or None,
    }  # fmt: skip


def _mean(mean: SeedMean | None) -> float | None:
    return mean.mean if mean else None
