"""What each verdict rests on, beside it: other intervals of the same difference, and the least difference that could be shown."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bpfree import stats
from bpfree.report.model import ArmRow, Table
from bpfree.report.quantities import points
from bpfree.report.replicates import PLURALS
from bpfree.units import MISSING

__all__ = ["evidence_caption", "evidence_headings", "evidence_notes", "evidence_rows", "evidence_values"]


def evidence_headings(table: Table) -> tuple[str, ...]:
    """Headings of the table of evidence."""
    many = PLURALS[table.noun]
    return (
        "Arm", f"Paired by {table.noun}, points", "Not paired (Welch), points", "Correlation of pairs",
        f"Bootstrap over {many} and test examples, points", "p, Holm", "p of equivalence, Holm", "Least difference, points",
    )  # fmt: skip


def evidence_caption(table: Table) -> str:
    """What stands in the columns, and which one decides."""
    return (
        f"Difference in test accuracy to {table.baseline_label}, each with its 95 % interval. The first column and its p values "
        "decide; the others are second opinions. Where the correlation is near 0, pairing removes no noise. Least difference: "
        "the smallest true one that so many pairs with this spread show with a chance of 0.8. "
        f"The margin of equivalence is ±{100 * table.margin:.2f} points."
    )


def evidence_rows(table: Table) -> list[tuple[str, ...]]:
    """One line for each arm but the baseline, as text."""
    return [(row.label, *_texts(row)) for row in table.rows if row.compared is not None]


def _texts(row: ArmRow) -> tuple[str, ...]:
    assert row.compared is not None
    score = row.compared.accuracy
    welch = score.welch.interval if score.welch else None
    return (
        _interval(score.paired.interval),
        _interval(welch),
        MISSING if score.correlation is None else f"{score.correlation:+.2f}".replace("-", "−"),
        _interval(row.compared.bootstrap),
        _p(None if row.control else score.p_holm),
        _p(None if row.control else score.p_equivalence_holm),
        MISSING if score.least_detectable is None else f"{100 * score.least_detectable:.2f}",
    )


def _interval(interval: stats.Interval | None) -> str:
    if interval is None or interval.mean is None:
        return MISSING
    if interval.low is None or interval.high is None:
        return points(interval.mean)
    return f"{points(interval.mean)} [{points(interval.low)}, {points(interval.high)}]"


def _p(p: float | None) -> str:
    if p is None:
        return MISSING
    return "< 0.001" if p < 0.001 else f"{p:.2g}"


def evidence_values(row: ArmRow) -> dict[str, Any] | None:
    """The same as JSON values, fractions; None for the baseline itself."""
    if row.compared is None:
        return None
    score = row.compared.accuracy
    return {
        "pairs": score.paired.n,
        "welch": _values(score.welch.interval if score.welch else None),
        "correlation": score.correlation,
        "bootstrap": _values(row.compared.bootstrap),
        "p_difference_holm": score.p_holm,
        "p_equivalence_holm": score.p_equivalence_holm,
        "family_size": score.family_size,
        "p_signed_rank": score.wilcoxon.p_value,
        "least_difference_fraction": score.least_detectable,
        "seeds_needed": score.verdict.seeds_needed,
    }


def _values(interval: stats.Interval | None) -> dict[str, Any] | None:
    return None if interval is None else {"mean": interval.mean, "low": interval.low, "high": interval.high, "n": interval.n}


def evidence_notes(table: Table) -> list[str]:
    """The verdicts as sentences with what they rest on; the warning where one says how many seeds would settle it."""
    notes = [
        f"{row.label if row.control else f'{row.label} against {table.baseline_label}'}: {row.verdict.sentence}"
        for row in table.rows
        if row.verdict.sentence
    ]
    if needs_warning([table]):
        notes.append(stats.OPTIONAL_STOPPING)
    return notes


def needs_warning(tables: Sequence[Table]) -> bool:
    """Whether a sentence says how many seeds would settle it."""
    return any("would settle it, if" in row.verdict.sentence for table in tables for row in table.rows)
