"""The report in sentences: the answer, and what the numbers are conditional on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bpfree import stats
from bpfree.report.above_control import nothing_learned, nothing_learned_by
from bpfree.report.energies import carbon_words
from bpfree.report.flags import Flag
from bpfree.report.material import Material
from bpfree.report.model import ArmRow, SeedMean, Table
from bpfree.report.quantities import ACCURACY, DIFFERENCE, ENERGY_RATIO, TIME_RATIO
from bpfree.report.replicates import PLURALS, number_words, splits_of
from bpfree.units import MISSING, format_percent

__all__ = ["LOOK", "Answer", "answer", "conditions", "next_commands", "standing"]

LOOK = "A look, not a claim"
"""Begins what stands at the top of a report whose ruleset supports no claim."""

DOUBTFUL_COSTS = frozenset(
    {"different-machines", "different-execution", "different-code", "simultaneous-directories", "busy-machine", "not-interleaved"}
)
"""Flags under which a ratio of times or energies gets no word."""

MOST_KINDS = 4
"""Kinds of flags that the headline names; further ones are counted."""


@dataclass(frozen=True)
class Answer:
    """The verdict in a line, the sentence that it is from, and the rest.

    Attributes:
        short: arm, baseline, difference and verdict.
        text: the same with the conditions and the costs.
        more: the other arms and the control.
    """

    text: str
    more: str = ""
    short: str = ""


def standing(material: Material) -> str:
    """What kind of evidence the report is, for its top; empty where its ruleset supports claims, or a stamp says more."""
    rules = material.ruleset
    if rules.claims or not rules.comparable:
        return ""
    if rules.search.studies > 1:
        why = f"it has {rules.search.studies} studies, at least {stats.LEAST_PAIRS} are needed"
    else:
        why = "one search serves all seeds, so that its luck is in no interval"
    return (
        f"{LOOK}: under ruleset {rules.name} {why}. Every word below is about this search alone; for claims: "
        "bpfree compare --ruleset claim."
    )


def answer(table: Table, material: Material, raised: Sequence[Flag] = ()) -> Answer:
    """The arm with the best test mean against the baseline and who learned nothing; the other arms and the control after that.

    Args:
        table: what is answered for.
        material: for the rules.
        raised: the flags of the report; those of other tables are passed over.
    """
    flagged = [flag for flag in raised if flag.task in ("", table.task_text)]
    baseline, others = table.rows[0], table.rivals
    where = f"{_rules(material, flagged)} on {table.dataset} with {table.net}"
    finished = [row for row in others if row[ACCURACY] is not None]
    if baseline[ACCURACY] is None:
        others_reached = "; ".join(f"{row.label} {_percent(row)}" for row in finished)
        short = f"{table.task_text}: no run of {baseline.label} finished, so nothing can be compared."
        return Answer(f"{where}, no run of {baseline.label} finished, so nothing can be compared with it.", others_reached, short)
    if not finished:
        lost = "" if not others else f"; of the other arm{'s' if len(others) > 1 else ''}, no run finished"
        reached = f"{baseline.label} reached {_percent(baseline)} test accuracy{lost}"
        return Answer(f"{where}, {reached}.", _controls(table), f"{table.task_text}: {reached}.")
    best = max(finished, key=_rank)
    digits = _digits(best)
    costs = _costs(best, not any(flag.key in DOUBTFUL_COSTS for flag in flagged))
    text = (
        f"{where}, {best.label}{_chosen(len(finished))} reached {_percent(best, digits)} test accuracy against "
        f"{baseline.label}’s {_percent(baseline, digits)} ({_difference(best, digits)}){costs}."
    )
    text = " ".join(filter(None, (text, nothing_learned(table.above_controls))))
    rest = [f"{row.label} {_percent(row, digits)}{_verdict(row)}" for row in others if row is not best]
    more = f"The other arms: {'; '.join(rest)}." if rest else ""
    return Answer(text, " ".join(filter(None, (more, _controls(table)))), _short(best, baseline, table))


def _short(best: ArmRow, baseline: ArmRow, table: Table) -> str:
    """``"digits, mlp:2x256: pepita against backprop +0.30 [−0.10, +0.70] points: inconclusive."``"""
    word = best.verdict.text or "no difference can be given"
    verdict = f"{table.task_text}: {best.label} against {baseline.label} {best.difference_text()} points: {word}."
    return " ".join(filter(None, (verdict, nothing_learned_by(table.above_controls))))


def _rank(row: ArmRow) -> tuple[bool, float]:
    """An arm that lost runs comes after all that lost none."""
    accuracy = row[ACCURACY]
    return row.n_bad == 0, 0.0 if accuracy is None else accuracy.mean


def _rules(material: Material, flagged: Sequence[Flag]) -> str:
    """``"At equal rules"`` only where nothing is flagged."""
    if not material.ruleset.comparable:
        return "Under unequal rules, which support no comparison,"
    if material.ruleset.exceptions:
        return "At rules with exceptions"
    if not flagged:
        return "At equal rules"
    kinds = list(dict.fromkeys(flag.key.replace("-", " ") for flag in flagged))
    named = ", ".join(kinds[:MOST_KINDS])
    left = len(kinds) - MOST_KINDS
    return f"Under ruleset {material.ruleset.name}, with flags ({named}{f' and {left} more' if left > 0 else ''}),"


def _chosen(n_arms: int) -> str:
    """The best of several is better than its true mean by luck alone."""
    return "" if n_arms == 1 else f", chosen from {n_arms} arms by its test mean,"


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
    text = f"difference {row.difference_text(digits)} points"
    if ":" in row.verdict.text:
        return f"{text}; {row.verdict.text}"
    return f"{text}: {row.verdict.text}{_least(row)}"


def _least(row: ArmRow) -> str:
    """The least difference that so many pairs could show."""
    least = row.compared.accuracy.least_detectable if row.compared else None
    if least is None:
        return ""
    return f", where {100 * least:.1f} points could be shown"


def _verdict(row: ArmRow) -> str:
    if row[ACCURACY] is None:
        return ", no run finished"
    return f" ({row.verdict.text})" if row.verdict.text else ""


def _controls(table: Table) -> str:
    """How far the baseline lies from itself."""
    controls = [row for row in table.rows if row.control and row[DIFFERENCE] is not None]
    return " ".join(
        f"Control: {table.baseline_label} against itself, with other draws, differs by {row.difference_text(2)} points."
        for row in controls
    )


def _costs(row: ArmRow, judged: bool) -> str:
    ratios = ((row[TIME_RATIO], "time", row.time_word), (row[ENERGY_RATIO], "energy", row.energy_word))
    parts = [_times(ratio, what, word if judged else "") for ratio, what, word in ratios if ratio is not None]
    return f", at {' and '.join(parts)}" if parts else ""


def _times(ratio: SeedMean, what: str, word: str) -> str:
    """``"2.83 [1.50, 5.35] times the time (slower)"``; without an interval there is no word either."""
    interval = "" if ratio.low is None or ratio.high is None else f" [{ratio.low:.2f}, {ratio.high:.2f}]"
    return f"{ratio.mean:.2f}{interval} times the {what}{f' ({word})' if word else ''}"


def conditions(tables: Sequence[Table]) -> list[str]:
    """What the numbers are conditional on: seeds, search, split, the family of the tests, their power."""
    n_pairs = max(len(table.numbers) for table in tables)
    sentences = list(dict.fromkeys(_draws(table) for table in tables))
    sentences.append(
        "Time and energy are those of one window from the first pass to the last, validation included; the "
        f"search for hyper-parameters is listed apart. Ratios are to the baseline, paired by {tables[0].noun}.",
    )
    if n_pairs == 1:
        sentences.insert(
            0,
            f"Each arm was run with one {tables[0].noun}, so there are no intervals: one run says nothing about the next.",
        )
    family = {table.task: len(table.rivals) for table in tables if table.rivals}
    if family:
        sentences.append(
            f"Verdicts on accuracy are at 5 % after {stats.family_words(family)}, tests of equivalence likewise; ratios of time "
            f"and of energy are families of their own. A word needs at least {stats.LEAST_PAIRS} pairs."
        )
    factors = dict.fromkeys(carbon_words(run.carbon) for table in tables for run in table.runs if run.co2e_g is not None)
    if factors:
        sentences.append(f"CO₂e is the gross energy × {'; '.join(factors)}.")
    if any(table.dataset == "digits" for table in tables):
        sentences.append(
            "digits is very small: 1,797 images of 8×8 pixels, about 360 of them for testing, so that one "
            "image is 0.28 points. It shows that everything works; to distinguish good rules, go on to the "
            "next size:"
        )
    return sentences


def _draws(table: Table) -> str:
    """The seeds, and what an interval over them carries."""
    splits, many = splits_of(table.runs), PLURALS[table.noun]
    listed = number_words(table.numbers, table.noun)
    listed = listed[0].upper() + listed[1:]
    if table.noun == "study":
        carried = "a study has points, seeds and a measured run of its own, so the luck of the search is in the intervals"
    else:
        one_search = any(run.tuning_energy is not None for run in table.runs)
        on = "one search: another" if one_search else "hyper-parameters that were given: others"
        carried = (
            f"they set the initial weights and the order of batches. The intervals are conditional on {on} could move an arm by "
            "more than its interval"
        )
    if len(splits) > 1:
        return (
            f"{listed}, crossed with {number_words(splits, 'seed').replace('seeds', 'split seeds')}: {carried}. Intervals are "
            f"over {many} and splits, both random; differences are paired."
        )
    return (
        f"{listed}, split seed {splits[0]}: {carried}. Intervals are 95 % t intervals over {many}, differences are paired by "
        f"{table.noun}. They are conditional on one split of the data: another could move an arm by more than its interval."
    )


def next_commands(tables: Sequence[Table]) -> list[str]:
    """The command for the next size, where the data set was the smallest."""
    if any(table.dataset == "digits" for table in tables):
        return ["bpfree compare --dataset fashion-mnist --net mlp:2x1000 --data-dir DIR"]
    return []
