"""Published beside measured: what a paper says about a row, what was measured, and whether the one lies within the other."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bpfree.records import read_records
from bpfree.report.material import read_material
from bpfree.report.model import Estimate, Row, build_tables, signed
from bpfree.units import MISSING

__all__ = ["Beside", "PublishedRow", "SuiteFacts", "answer_of", "measured_beside", "row_values"]


TELLING = ("schedule", "blocks", "optimiser", "target", "readout")
"""Options whose values stand in a short name; the rest is in the arm as it was typed."""


@dataclass(frozen=True, kw_only=True)
class PublishedRow:
    """One row of a suite as plain values; accuracies and differences are fractions, ratios are to backprop.

    Attributes:
        section: title of the paper's table.
        ruleset: key of the suite's ruleset, the name of its run directory.
        dataset: as the paper has it; ``measured_dataset`` is its name in the records (empty if it was not loaded).
        spread: (low, high) of single published runs, None where unknown; ``spread_words`` says how it was made, or why not.
        reason: why the row was not run; empty where it was.
    """

    section: str
    ruleset: str
    dataset: str
    measured_dataset: str
    net: str
    arm: str
    accuracy: float | None = None
    spread: tuple[float, float] | None = None
    spread_words: str = ""
    difference: float | None = None
    difference_interval: tuple[float, float] | None = None
    time_ratio: float | None = None
    energy_ratio: float | None = None
    second_hand: bool = False
    source: str
    note: str = ""
    reason: str = ""


@dataclass(frozen=True, kw_only=True)
class SuiteFacts:
    """What is one for the whole suite; ``section_notes`` by title, ``n_suite_rows`` chosen or not."""

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
    """A published row and the measured one, None where there is none; ``tone`` colours the verdict."""

    published: PublishedRow
    measured: Row | None
    verdict: str
    tone: str

    @property
    def label(self) -> str:
        """The rule and those of its options that tell variants apart: ``cascaded-forward (dfa)``."""
        name, *options = self.published.arm.split(":")
        pairs = [option.partition("=") for option in options]
        telling = [value for key, _, value in pairs if key in TELLING]
        return f"{name} ({', '.join(telling)})" if telling else name

    @property
    def accuracy(self) -> Estimate | None:
        """Measured test accuracy."""
        return self.measured.accuracy if self.measured else None

    @property
    def gap(self) -> Estimate | None:
        """Measured less published, a fraction: of accuracies, or of differences to backprop where only those are published."""
        mine, theirs = _compared(self.published, self.measured)
        if mine is None or theirs is None:
            return None
        low, high = (None if end is None else end - theirs for end in (mine.low, mine.high))
        return Estimate(mine.mean - theirs, low, high, mine.n)


def measured_beside(facts: SuiteFacts, rows: Sequence[PublishedRow], directories: Mapping[str, Path]) -> list[Beside]:
    """Every row of the suite with what the run directories hold for it.

    Args:
        directories: of each ruleset's key; one that has no records yet is left out.

    Raises:
        RunDirectoryError, RulesetError: a directory that cannot be reported on.
    """
    found: dict[tuple[str, str, str, str], Row] = {}
    for key, path in directories.items():
        if read_records(path / "records.jsonl"):
            for table in build_tables(read_material([path])):
                found |= {(key, table.dataset, table.net, row.arm): row for row in table.rows}
    beside = []
    for row in rows:
        measured = found.get((row.ruleset, row.measured_dataset, row.net, row.arm))
        beside.append(Beside(row, measured, *_verdict(facts, row, measured)))
    return beside


def _compared(row: PublishedRow, measured: Row | None) -> tuple[Estimate | None, float | None]:
    """What is held against what: accuracies where one is published, else differences to backprop."""
    if measured is None:
        return None, None
    if row.accuracy is not None:
        return measured.accuracy, row.accuracy
    return measured.difference, row.difference


def _verdict(facts: SuiteFacts, row: PublishedRow, measured: Row | None) -> tuple[str, str]:
    """In words, and the tone; a rehearsal on a part of the data is judged by nothing."""
    if measured is None:
        return (f"not run: {row.reason}" if row.reason else "not run yet", "unreliable")
    mine, theirs = _compared(row, measured)
    if mine is None or theirs is None:
        return ("no run finished" if measured.accuracy is None else "no difference was measured", "unreliable")
    if facts.scale != 1.0:
        return "not judged: SCALED", "unreliable"
    spread, name = (row.spread, "spread") if row.accuracy is not None else (row.difference_interval, "interval")
    if spread is not None:
        inside = spread[0] <= mine.mean <= spread[1]
        return (f"inside the published {name}", "better") if inside else (f"outside the published {name}", "worse")
    if mine.low is None or mine.high is None:
        return "no spread published, one seed: not judged", "unreliable"
    inside = mine.low <= theirs <= mine.high
    said = "no spread published; the published number lies {} the measured interval"
    return (said.format("inside"), "better") if inside else (said.format("outside"), "worse")


def answer_of(facts: SuiteFacts, rows: Sequence[Beside]) -> str:
    """The whole suite in one or two sentences."""
    n_run = sum(row.measured is not None for row in rows)
    chosen = "" if facts.n_suite_rows in (None, len(rows)) else f" (of {facts.n_suite_rows}, the others were not asked for)"
    text = f"{n_run} of {len(rows)} published rows of {facts.name}{chosen} were run"
    if facts.scale != 1.0:
        return (
            f"{text}, SCALED to {100 * facts.scale:g} % of examples, trials and passes: a rehearsal, which shows that the rows "
            "run, and neither confirms nor contradicts a published number."
        )
    counts = Counter(row.verdict for row in rows if row.measured is not None)
    said = "; ".join(f"{count} {verdict}" for verdict, count in counts.most_common())
    return f"{text}{f': {said}' if said else ''}."


def percent(fraction: float | None, digits: int = 2) -> str:
    """Per cent; a dash where it is unknown."""
    return MISSING if fraction is None else f"{100 * fraction:.{digits}f}"


def points(estimate: Estimate | None) -> str:
    """Percentage points with interval, a dash where there are none."""
    return MISSING if estimate is None else estimate.text(lambda value: signed(100 * value))


def row_values(row: Beside) -> dict[str, Any]:
    """One row as JSON values, fractions and SI units."""
    published, measured = row.published, row.measured
    gap = row.gap
    return {
        "section": published.section, "ruleset": published.ruleset, "dataset": published.dataset, "net": published.net,
        "arm": published.arm, "published_accuracy": published.accuracy, "published_spread": published.spread,
        "published_spread_is": published.spread_words, "published_difference": published.difference,
        "published_time_ratio": published.time_ratio, "published_energy_ratio": published.energy_ratio,
        "second_hand": published.second_hand, "source": published.source,
        "measured_dataset": published.measured_dataset or None,
        "measured_accuracy": _mean(row.accuracy), "measured_low95": row.accuracy and row.accuracy.low,
        "measured_high95": row.accuracy and row.accuracy.high, "n_seeds": len(measured.runs) if measured else 0,
        "gap": _mean(gap), "gap_low95": gap and gap.low, "gap_high95": gap and gap.high,
        "measured_difference": _mean(measured.difference if measured else None),
        "measured_time_ratio": _mean(measured.time_ratio if measured else None),
        "measured_energy_ratio": _mean(measured.energy_ratio if measured else None),
        "verdict": row.verdict, "not_run": published.reason or None,
    }  # fmt: skip


def _mean(estimate: Estimate | None) -> float | None:
    return estimate.mean if estimate else None
