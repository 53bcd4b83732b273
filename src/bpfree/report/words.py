"""The report in sentences: the answer, and what the numbers are conditional on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bpfree.report.material import Material
from bpfree.report.model import ArmRow, Table
from bpfree.report.quantities import ACCURACY, DIFFERENCE, ENERGY_RATIO, TIME_RATIO
from bpfree.units import MISSING, format_percent

__all__ = ["Answer", "answer", "conditions", "next_commands"]


@dataclass(frozen=True)
class Answer:
    """One sentence, and the rest in a second."""

    text: str
    more: str = ""


def answer(table: Table, material: Material) -> Answer:
    """The best arm against the baseline in one sentence, the other arms in the next."""
    baseline, *others = table.rows
    rules = _rules(material)
    where = f"on {table.dataset} with {table.net}"
    finished = [row for row in others if row[ACCURACY] is not None]
    if baseline[ACCURACY] is None:
        others_reached = "; ".join(f"{row.label} {_percent(row)}" for row in finished)
        return Answer(
            f"{rules} {where}, no run of {baseline.label} finished, so nothing can be compared with it.", others_reached
        )
    if not finished:
        lost = "" if not others else f"; of the other arm{'s' if len(others) > 1 else ''}, no run finished"
        return Answer(f"{rules} {where}, {baseline.label} reached {_percent(baseline)} test accuracy{lost}.")
    best = max(finished, key=_rank)
    digits = _digits(best)
    text = (
        f"{rules} {where}, {best.label} reached {_percent(best, digits)} test accuracy against "
        f"{baseline.label}’s {_percent(baseline, digits)} ({_difference(best, digits)}){_costs(best)}."
    )
    rest = [f"{row.label} {_percent(row, digits)}{_verdict(row)}" for row in others if row is not best]
    return Answer(text, f"The other arms: {'; '.join(rest)}." if rest else "")


def _rank(row: ArmRow) -> tuple[bool, float]:
    """An arm that lost runs comes after all that lost none."""
    accuracy = row[ACCURACY]
    return row.n_bad == 0, 0.0 if accuracy is None else accuracy.mean


def _rules(material: Material) -> str:
    if not material.ruleset.comparable:
        return "Under unequal rules, which support no comparison,"
    return "At rules with exceptions" if material.ruleset.exceptions else "At equal rules"


def _percent(row: ArmRow, digits: int = 1) -> str:
    accuracy = row[ACCURACY]
    return MISSING if accuracy is None else f"{format_percent(accuracy.mean, digits)} %"


def _digits(row: ArmRow) -> int:
    """Digits of a per cent: one, unless the interval of the difference is finer than that."""
    d = row[DIFFERENCE]
    return 2 if d and d.low is not None and d.high is not None and d.high - d.low < 0.002 else 1


def _difference(row: ArmRow, digits: int) -> str:
    if row[DIFFERENCE] is None:
        return row.verdict.text or "no difference can be given"
    return f"difference {row.difference_text(digits)} points: {row.verdict.text}"


def _verdict(row: ArmRow) -> str:
    if row[ACCURACY] is None:
        return ", no run finished"
    return f" ({row.verdict.text})" if row.verdict.text else ""


def _costs(row: ArmRow) -> str:
    ratios = ((row[TIME_RATIO], "time"), (row[ENERGY_RATIO], "energy"))
    parts = [_times(ratio.mean, what) for ratio, what in ratios if ratio is not None]
    return f", at {' and '.join(parts)}" if parts else ""


def _times(ratio: float, what: str) -> str:
    if abs(ratio - 1) < 0.05:
        return f"about the same {what}"
    return f"{ratio:.0f} times the {what}" if ratio >= 9.95 else f"{ratio:.2g} times the {what}"


def conditions(tables: Sequence[Table]) -> list[str]:
    """What the numbers are conditional on."""
    n_seeds = max(len(row.runs) for table in tables for row in table.rows)
    sentences = [
        "Intervals are 95 % t intervals over seeds, which set the initial weights and the order of batches; "
        "differences are paired by seed. They are conditional on one search and one split: another search "
        "or another split of the data could move an arm by more than its interval.",
        "Time and energy are those of one window from the first pass to the last, validation included; the "
        "search for hyper-parameters is listed apart. Ratios are to the baseline, paired by seed.",
    ]
    if n_seeds == 1:
        sentences.insert(
            0,
            "Each arm was run with one seed, so there are no intervals: one run says nothing about the next.",
        )
    if any(table.dataset == "digits" for table in tables):
        sentences.append(
            "digits is very small: 1,797 images of 8×8 pixels, about 360 of them for testing, so that one "
            "image is 0.28 points. It shows that everything works; to tell good rules apart, go on to the "
            "next size:"
        )
    return sentences


def next_commands(tables: Sequence[Table]) -> list[str]:
    """The command for the next size, where the data set was the smallest."""
    if any(table.dataset == "digits" for table in tables):
        return ["bpfree compare --dataset fashion-mnist --net mlp:2x1000 --data-dir DIR"]
    return []
