"""A published number beside a measured one: do they agree, differ, or is that undecided?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from bpfree.errors import UsageError
from bpfree.stats.intervals import LEVEL, Interval
from bpfree.stats.unpaired import Summary, welch_of_summaries

__all__ = ["LEAST_RUNS", "Replication", "compare_published"]

LEAST_RUNS = 3
"""Fewer runs on either side give a standard deviation that says nothing."""


@dataclass(frozen=True, kw_only=True)
class Replication:
    """Measured minus published.

    Attributes:
        word: the interval lies within ±margin (agrees); it excludes 0 and does not lie within it (differs); otherwise the
            answer is open (cannot tell).
        direction: of a difference, of the measured number.
        interval: Welch's, in the unit of the values; without ends where a spread is missing.
        margin: in the same unit.
        reason: why it is undecided; empty otherwise.
    """

    word: Literal["agrees", "differs", "cannot tell"]
    direction: Literal["higher", "lower", ""] = ""
    interval: Interval
    margin: float
    reason: str = ""

    @property
    def text(self) -> str:
        """The word as it must be printed: ``"differs (higher)"``."""
        if self.word == "differs":
            return f"differs ({self.direction})"
        return f"cannot tell: {self.reason}" if self.word == "cannot tell" else self.word


def compare_published(measured: Summary, published: Summary, margin: float, level: float = LEVEL) -> Replication:
    """The word for a measured number beside a published one, by Welch's interval of their difference.

    Args:
        measured: mean, standard deviation (n - 1) and number of the measured runs; see :func:`~bpfree.stats.summary`.
        published: the same as the paper states it; the standard deviation or the number may be unknown.
        margin: a difference that does not matter, above 0, in the unit of the means.
        level: confidence of the interval.

    Raises:
        UsageError: a margin that is not above 0, or a level that is not between 0 and 1.
    """
    if not margin > 0:
        raise UsageError(f"a margin of agreement must be above 0, got {margin}")
    interval = welch_of_summaries(measured, published, level).interval
    reason = _missing("measured", measured) or _missing("published", published)
    if reason:
        mean_only = Interval(mean=interval.mean, low=None, high=None, level=level, n=interval.n, reason=reason)
        shown = interval if interval.reason is None else mean_only
        return Replication(word="cannot tell", interval=shown, margin=margin, reason=reason)
    low, high, mean = interval.low, interval.high, interval.mean
    if low is None or high is None or mean is None or interval.reason is not None:
        reason = "neither side has any spread; were the runs copies of one?"
        return Replication(word="cannot tell", interval=interval, margin=margin, reason=reason)
    if -margin <= low and high <= margin:
        return Replication(word="agrees", interval=interval, margin=margin)
    if interval.excludes(0.0):
        return Replication(word="differs", direction="higher" if mean > 0 else "lower", interval=interval, margin=margin)
    return Replication(word="cannot tell", interval=interval, margin=margin, reason="the interval is too wide for the margin")


def _missing(side: str, sample: Summary) -> str:
    if sample.n is None:
        return f"the number of {side} runs is not known"
    if sample.n < LEAST_RUNS:
        return f"{sample.n} {side} run{'s' if sample.n != 1 else ''}, at least {LEAST_RUNS} are needed"
    return f"the spread of the {side} runs is not known" if sample.sd is None else ""
