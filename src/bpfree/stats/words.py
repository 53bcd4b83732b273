"""From evidence to a word: what may be said of two arms, and on which conditions.

===========================================  ==========================================================
better, worse                                a difference was shown (paired t test, corrected for the family)
equivalent                                   it was shown to be smaller than the margin (TOST, corrected)
inconclusive                                 neither was shown
ahead, behind, level (in this search)        the same three where no claim is allowed
slower, faster, as fast, not told apart      the same four for times
more, less, as much energy, not told apart   the same four for energies
unreliable                                   runs were lost, so those left are no fair sample
not judged                                   fewer than five pairs, or an unequal search
===========================================  ==========================================================

Where a difference is shown and also shown to be below the margin, the word is the one for "equivalent".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from bpfree.errors import UsageError
from bpfree.stats.intervals import Paired
from bpfree.stats.planning import seeds_needed
from bpfree.stats.significance import tost

__all__ = ["LEAST_PAIRS", "Evidence", "Quantity", "Verdict", "Word", "judge", "resolved_margin"]

Word = Literal[
    "better", "worse", "equivalent", "inconclusive",
    "ahead", "behind", "level",
    "faster", "slower", "as fast", "less energy", "more energy", "as much energy", "not told apart",
    "unreliable", "not judged",
]  # fmt: skip

Quantity = Literal["score", "time", "energy"]
Outcome = Literal["higher", "lower", "same", "open"]

LEAST_PAIRS = 5
"""Fewer pairs support no word: the t interval then rests on normality that cannot be checked."""

SEARCH_SCOPE = "in this search"
"""Goes with every word where no claim is allowed: another search may give another answer."""

_CLAIMS: dict[Outcome, Word] = {"higher": "better", "lower": "worse", "same": "equivalent", "open": "inconclusive"}
_LOOKS: dict[Outcome, Word] = {"higher": "ahead", "lower": "behind", "same": "level", "open": "inconclusive"}
_TIMES: dict[Outcome, Word] = {"higher": "slower", "lower": "faster", "same": "as fast", "open": "not told apart"}
_ENERGIES: dict[Outcome, Word] = {
    "higher": "more energy",
    "lower": "less energy",
    "same": "as much energy",
    "open": "not told apart",
}
_OPEN = ("inconclusive", "not told apart")


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What may be said of arm A against arm B.

    Attributes:
        word: one of the table in :mod:`bpfree.stats.words`.
        sentence: the word with its numbers.
        reason: why it is unreliable or not judged, or what qualifies a word; empty otherwise.
        scope: ``"in this search"`` where no claim is allowed and the word says something; empty otherwise.
        seeds_needed: given where neither was shown, ``None`` where it cannot be told or passes 10,000. It must be shown with
            :data:`~bpfree.stats.OPTIONAL_STOPPING`.
    """

    word: Word
    sentence: str
    reason: str = ""
    scope: str = ""
    seeds_needed: int | None = None

    @property
    def text(self) -> str:
        """The word as it must be printed, with its scope and reason: ``"ahead in this search"``, ``"not judged: ..."``."""
        return _text(self.word, self.reason, self.scope)


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """All that a word rests on.

    Attributes:
        paired: A against B.
        p_difference: p value for no difference, corrected over the family; ``None`` where it could not be had.
        p_equivalence: p value of TOST at ``margin``, corrected over the family; ``None`` where it could not be had.
        margin: of equivalence, above 0: in the unit of the values, or relative for a ratio. Must not be finer than one test
            example; see :func:`resolved_margin`.
        alpha: level of both tests; at one of several looks that of :func:`~bpfree.stats.level_at_look`.
        claims_allowed: true under a ruleset made for claims, or where all hyper-parameters are fixed and named as such.
        lost: runs of arm A that were lost or diverged, in words ("1 of 5 runs diverged"); empty if none.
        baseline_lost: the same of arm B.
        unequal_search: how the searches of the arms differ, in words; empty where they do not.
        quantity: which words: of a score, a time or an energy.
        higher_is_better: of a score.
        percent: whether differences are fractions, to be printed in percentage points.
        corrected: whether the p values are corrected over a family (for the sentence).
    """

    paired: Paired
    p_difference: float | None
    p_equivalence: float | None
    margin: float
    alpha: float = 0.05
    claims_allowed: bool = True
    lost: str = ""
    baseline_lost: str = ""
    unequal_search: str = ""
    quantity: Quantity = "score"
    higher_is_better: bool = True
    percent: bool = True
    corrected: bool = False


def resolved_margin(margin: float, n_test: int) -> float:
    """The margin of equivalence of accuracies, never finer than one test example: max(margin, 1/n_test).

    Args:
        margin: a fraction, above 0.
        n_test: test examples.

    Raises:
        UsageError: a margin that is not above 0, or no test example.
    """
    if not margin > 0:
        raise UsageError(f"a margin of equivalence must be above 0, got {margin}")
    if n_test < 1:
        raise UsageError(f"a margin needs at least one test example, got {n_test}")
    return max(margin, 1 / n_test)


def judge(evidence: Evidence) -> Verdict:
    """The word that the evidence supports, with its sentence.

    In this order: an unequal search is not judged. Lost runs on either side make the comparison unreliable, unless they speak
    for the same word: an arm that loses runs and is worse all the same stays worse, and the reason says so (and likewise where
    the baseline lost runs and the arm is better). Fewer than five pairs are not judged. The rest follows from the tests.

    Raises:
        UsageError: a margin that is not above 0.
    """
    paired = evidence.paired
    outcome = _outcome(evidence)
    word = _word(evidence, outcome)
    scope = SEARCH_SCOPE if not evidence.claims_allowed and word not in _OPEN else ""
    if evidence.unequal_search:
        return _refused("not judged", f"unequal search: {evidence.unequal_search}", evidence)
    lost = evidence.lost, evidence.baseline_lost and f"of the baseline, {evidence.baseline_lost}"
    reason = " and ".join(part for part in lost if part)
    if reason and (paired.n < LEAST_PAIRS or not _despite_losses(evidence, outcome)):
        return _refused("unreliable", reason, evidence)
    if paired.n < LEAST_PAIRS or paired.interval.mean is None or paired.p_value is None:
        pairs = f"{paired.n} paired seed{'s' if paired.n != 1 else ''}, at least {LEAST_PAIRS} are needed"
        return _refused("not judged", pairs, evidence)
    needed, tail = None, ""
    if outcome == "open":
        needed = _needed(evidence)
        number = f"about {needed} seeds would settle it, if planned and tested once"
        tail = f"; {number if needed else 'no sensible number of seeds would settle it'}"
    sentence = f"{_text(word, reason, scope)}: {_numbers(evidence)}{tail}."
    return Verdict(word=word, sentence=sentence, reason=reason, scope=scope, seeds_needed=needed)


def _outcome(evidence: Evidence) -> Outcome:
    """What the two tests show; the interval must agree with the test of a difference."""
    interval, null = evidence.paired.interval, _null(evidence.paired)
    p_equivalence = _p_equivalence(evidence)
    if p_equivalence is not None and p_equivalence < evidence.alpha:
        return "same"
    p = _p_difference(evidence)
    if interval.mean is None or p is None or not (p < evidence.alpha and interval.excludes(null)):
        return "open"
    return "higher" if interval.mean > null else "lower"


def _word(evidence: Evidence, outcome: Outcome) -> Word:
    if evidence.quantity != "score":
        return (_TIMES if evidence.quantity == "time" else _ENERGIES)[outcome]
    if not evidence.higher_is_better:
        turned: dict[Outcome, Outcome] = {"higher": "lower", "lower": "higher"}
        outcome = turned.get(outcome, outcome)
    return (_CLAIMS if evidence.claims_allowed else _LOOKS)[outcome]


def _despite_losses(evidence: Evidence, outcome: Outcome) -> bool:
    """Whether a score's word holds a fortiori: the arm that lost runs is the one that is worse."""
    if evidence.quantity != "score" or outcome not in ("higher", "lower") or (evidence.lost and evidence.baseline_lost):
        return False
    return ((outcome == "higher") == evidence.higher_is_better) == bool(evidence.baseline_lost)


def _refused(word: Literal["unreliable", "not judged"], reason: str, evidence: Evidence) -> Verdict:
    paired = evidence.paired
    numbers = f"; of the runs at hand: {_amount(paired, evidence.percent)}, {_seeds(paired)}" if paired.n >= 2 else ""
    return Verdict(word=word, sentence=f"{word}: {reason}{numbers}{_left_out(paired)}.", reason=reason)


def _needed(evidence: Evidence) -> int | None:
    """At the levels that the correction leaves for this comparison: α times uncorrected over corrected p."""
    paired, equivalence = evidence.paired, tost(evidence.paired, evidence.margin)
    return seeds_needed(
        paired,
        evidence.margin,
        alpha_different=evidence.alpha * _strictness(paired.p_value, _p_difference(evidence)),
        alpha_equivalent=evidence.alpha * _strictness(equivalence.p_value, _p_equivalence(evidence)),
    )


def _strictness(p: float | None, corrected: float | None) -> float:
    return 1.0 if not p or not corrected else min(1.0, p / corrected)


def _p_difference(evidence: Evidence) -> float | None:
    """A correction may only raise a p value."""
    if evidence.p_difference is None or evidence.paired.p_value is None:
        return None
    return max(evidence.p_difference, evidence.paired.p_value)


def _p_equivalence(evidence: Evidence) -> float | None:
    """The same for the test of equivalence."""
    p = tost(evidence.paired, evidence.margin).p_value
    return None if p is None or evidence.p_equivalence is None else max(evidence.p_equivalence, p)


def _null(paired: Paired) -> float:
    return 1.0 if paired.scale == "ratio" else 0.0


def _text(word: str, reason: str, scope: str) -> str:
    if word in ("unreliable", "not judged"):
        return f"{word}: {reason}"
    return f"{word}{f' {scope}' if scope else ''}{f', and {reason}' if reason else ''}"


def _numbers(evidence: Evidence) -> str:
    p = _p_difference(evidence)
    corrected = " after Holm's correction" if evidence.corrected else ""
    p_text = "" if p is None else f", p {_p(p)}{corrected}"
    return f"{_amount(evidence.paired, evidence.percent)}{p_text}, {_seeds(evidence.paired)}{_left_out(evidence.paired)}"


def _amount(paired: Paired, percent: bool) -> str:
    i = paired.interval
    if i.mean is None or i.low is None or i.high is None:
        return "no interval"
    if paired.scale == "ratio":
        return f"{i.mean:.3g} times [{i.low:.3g}, {i.high:.3g}]"
    factor, unit, digits = (100, " points", ".2f") if percent else (1, "", ".3g")
    return f"{factor * i.mean:+{digits}}{unit} [{factor * i.low:+{digits}}, {factor * i.high:+{digits}}]"


def _p(p: float) -> str:
    return "< 0.001" if p < 0.001 else f"= {p:.2g}"


def _seeds(paired: Paired) -> str:
    return f"{paired.n} paired seed{'s' if paired.n != 1 else ''}"


def _left_out(paired: Paired) -> str:
    if not paired.unpaired:
        return ""
    seeds = ", ".join(map(str, paired.unpaired))
    return f" (seed{'s' if len(paired.unpaired) > 1 else ''} {seeds} left out, run by one arm only)"
