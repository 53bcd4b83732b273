"""What is said of an arm: the word of the statistics, in the words of a table, and what it rests on in a sentence."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from bpfree import stats
from bpfree.report.replicates import PLURALS

__all__ = ["CONTROL", "ArmVerdict", "arm_verdict", "cost_word", "in_pairs_of", "true_minus"]

CONTROL = "control"
"""In place of a word, of the baseline under another label."""

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


def arm_verdict(
    statuses: Mapping[str, int],
    compared: stats.Comparison | None,
    *,
    refusal: str = "",
    control: bool = False,
    noun: str = "seed",
) -> ArmVerdict:
    """The verdict on an arm.

    Args:
        statuses: number of runs by status.
        compared: comparison with the baseline, corrected for its family; None for the baseline itself.
        refusal: why no arm of the table is judged; empty where they are.
        control: whether the arm is the baseline again.
        noun: what the pairs are, ``"seed"`` or ``"study"``.
    """
    if compared is None:
        return ArmVerdict()
    if not statuses.get("ok"):
        lost = {status: count for status in ("diverged", "failed") if (count := statuses.get(status, 0))}
        losses = " and ".join(f"{count} of {sum(statuses.values())} runs {status}" for status, count in lost.items())
        return ArmVerdict("no run finished", f"no run finished{f' ({losses})' if losses else ''}.")
    verdict = compared.verdict
    if control:
        return ArmVerdict(CONTROL, f"the same rule with other draws differs by {_numbers(compared, noun)}.")
    if refusal:
        return ArmVerdict(f"not judged: {refusal}", f"not judged: {refusal}; {_numbers(compared, noun)}.")
    sentence = in_pairs_of(noun, true_minus(verdict.sentence)) + _least(compared)
    if verdict.word == "not judged":
        short = verdict.reason.partition(":")[0] if verdict.reason.startswith("unequal search") else _few(compared, noun)
        return ArmVerdict(f"not judged: {short}", sentence)
    return ArmVerdict(verdict.text, sentence)


def cost_word(compared: stats.Comparison | None, *, refusal: str = "", control: bool = False) -> str:
    """The word for a time or an energy: ``"slower in this search"``; empty where it may not be judged."""
    if compared is None or refusal or control or compared.verdict.word in ("not judged", "unreliable"):
        return ""
    return compared.verdict.text


def true_minus(text: str) -> str:
    """Hyphens before numbers as minus signs."""
    return _MINUS.sub("−", text)


def _numbers(compared: stats.Comparison, noun: str) -> str:
    interval, n = compared.paired.interval, compared.paired.n
    if interval.mean is None or interval.low is None or interval.high is None:
        return f"no interval, {n} paired {noun if n == 1 else PLURALS[noun]}"
    mean, low, high = (f"{100 * value:+.2f}" for value in (interval.mean, interval.low, interval.high))
    return true_minus(f"{mean} points [{low}, {high}], {n} paired {noun if n == 1 else PLURALS[noun]}")


def _few(compared: stats.Comparison, noun: str) -> str:
    n = compared.paired.n
    return f"{n} {noun if n == 1 else PLURALS[noun]}, at least {stats.LEAST_PAIRS} are needed"


def _least(compared: stats.Comparison) -> str:
    """The least difference that the pairs could have shown; nothing where they have no spread."""
    if compared.least_detectable is None or compared.paired.n < stats.LEAST_PAIRS:
        return ""
    return f" With a chance of 0.8 it could have shown a difference of {100 * compared.least_detectable:.2f} points."


def in_pairs_of(noun: str, sentence: str) -> str:
    """The sentences of the statistics speak of seeds."""
    if noun == "seed":
        return sentence
    return re.sub(r"\bseed(s?)\b", lambda match: PLURALS[noun] if match[1] else noun, sentence)
