"""What is claimed of an arm: the word of the statistics, unless runs were lost."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from bpfree import stats

__all__ = ["ArmVerdict", "arm_verdict"]

_MINUS = re.compile(r"(?<![\w.])-(?=\d)")


@dataclass(frozen=True)
class ArmVerdict:
    """Claim about one arm against the baseline.

    Attributes:
        text: short, as in a table; empty for the baseline itself.
        sentence: with the numbers that it rests on.
    """

    text: str = ""
    sentence: str = ""

    @property
    def tone(self) -> str:
        """First word of the text, the class by which the page colours it."""
        return self.text.partition(" ")[0].strip(":,")


def arm_verdict(statuses: Mapping[str, int], compared: stats.Comparison | None) -> ArmVerdict:
    """The verdict on an arm; an arm that lost runs is never called better, since the others are no fair sample of it.

    Args:
        statuses: number of runs by status.
        compared: comparison with the baseline, corrected for the other arms of the table; None for the baseline itself.
    """
    if compared is None:
        return ArmVerdict()
    lost = {status: count for status in ("diverged", "failed") if (count := statuses.get(status, 0))}
    losses = " and ".join(f"{count} of {sum(statuses.values())} runs {status}" for status, count in lost.items())
    if not statuses.get("ok"):
        return ArmVerdict("no run finished", f"no run finished{f' ({losses})' if losses else ''}.")
    word, sentence = compared.verdict.word, _MINUS.sub("−", compared.verdict.sentence)
    if not lost:
        return ArmVerdict(word, sentence)
    if word == "worse":
        return ArmVerdict(f"worse, and {losses}", f"{losses}; of those that finished: {sentence}")
    return ArmVerdict(f"unreliable: {losses}", f"unreliable, since {losses}; of those that finished: {sentence}")
