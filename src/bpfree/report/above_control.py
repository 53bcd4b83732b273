"""How far every arm is above a control whose hidden blocks stay as they were drawn: what its own hidden blocks have learned."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from bpfree import stats
from bpfree.report.quantities import points
from bpfree.report.replicates import PLURALS
from bpfree.report.verdicts import in_pairs_of, true_minus

__all__ = ["AboveControl", "control_notes", "control_values", "nothing_learned", "nothing_learned_by"]

NOT_JUDGED = ("not judged", "unreliable")

CAPTION = (
    "An arm beats such a control where the paired 95 % interval of their difference lies above 0. Each stands by itself: "
    "a correction for many arms would call more of them no better."
)
"""What the sentences rest on."""


@dataclass(frozen=True)
class AboveControl:
    """One arm less one control, in test accuracy.

    Attributes:
        label, control: of the two arms.
        compared: paired, and corrected over all such comparisons of the report.
        refusal: why no arm of the table is judged; empty where they are.
        noun: what the pairs are, ``"seed"`` or ``"study"``.
    """

    label: str
    control: str
    compared: stats.Comparison
    refusal: str = ""
    noun: str = "seed"

    @property
    def beats(self) -> bool | None:
        """Whether the whole interval lies above 0; None where that may not be judged."""
        low = self.compared.paired.interval.low
        return None if self.refusal or low is None or self.compared.verdict.word in NOT_JUDGED else low > 0

    @property
    def amount(self) -> str:
        """``"+3.20 [+2.90, +3.50] points, 5 paired seeds"``."""
        interval, n = self.compared.paired.interval, self.compared.paired.n
        if interval.mean is None:
            return "no pair of finished runs"
        between = "" if interval.low is None or interval.high is None else f" [{points(interval.low)}, {points(interval.high)}]"
        return f"{points(interval.mean)}{between} points, {n} paired {self.noun if n == 1 else PLURALS[self.noun]}"

    @property
    def sentence(self) -> str:
        """By how much the arm beats the control, or that it does not, or why that is not judged."""
        if self.beats is None:
            reason = self.refusal or in_pairs_of(self.noun, true_minus(self.compared.verdict.reason))
            return f"{self.label} less {self.control}: {self.amount}; not judged: {reason}."
        if self.beats:
            return f"{self.label} beats {self.control} by {self.amount}."
        return f"{self.label} does not beat {self.control}: {self.amount}."


def control_notes(comparisons: Sequence[AboveControl]) -> list[str]:
    """A sentence for each arm, and what they rest on."""
    return [*(each.sentence for each in comparisons), CAPTION] if comparisons else []


def nothing_learned(comparisons: Sequence[AboveControl]) -> str:
    """For the headline: the arms that do not beat a control; empty where all do, or where that is not judged."""
    below = [each for each in comparisons if each.beats is False]
    if not below:
        return ""
    whose = "its" if len({each.label for each in below}) == 1 else "their"
    listed = "; ".join(f"{each.label} ({each.amount} against {each.control})" for each in below)
    return f"As far as these pairs show, learned nothing in {whose} hidden blocks: {listed}."


def nothing_learned_by(comparisons: Sequence[AboveControl]) -> str:
    """The same without numbers; empty where all beat a control, or where that is not judged."""
    labels = list(dict.fromkeys(each.label for each in comparisons if each.beats is False))
    if not labels:
        return ""
    whose = "its" if len(labels) == 1 else "their"
    return f"As far as these pairs show, {', '.join(labels)} learned nothing in {whose} hidden blocks."


def control_values(comparisons: Sequence[AboveControl]) -> list[dict[str, Any]]:
    """The same as JSON values, fractions."""
    return [
        {
            "arm": each.label,
            "control": each.control,
            "mean": each.compared.paired.interval.mean,
            "low": each.compared.paired.interval.low,
            "high": each.compared.paired.interval.high,
            "n": each.compared.paired.n,
            "p_difference_holm": each.compared.p_holm,
            "beats": each.beats,
            "sentence": each.sentence,
        }
        for each in comparisons
    ]
