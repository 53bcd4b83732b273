"""Means, medians and ratios in which nothing that was not measured counts as a number."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

__all__ = ["mean", "median", "ratio"]


def mean(values: Sequence[float | None]) -> float | None:
    """None where there is none, or one of them is not known: a mean over some would be of other runs."""
    known = [value for value in values if value is not None]
    return statistics.fmean(known) if known and len(known) == len(values) else None


def median(values: Sequence[float | None]) -> float | None:
    """Of those that are known; None where none is."""
    known = [value for value in values if value is not None]
    return statistics.median(known) if known else None


def ratio(mine: float | None, base: float | None) -> float | None:
    """None too where the base is not above 0: net joules are a difference, and may be noise."""
    return None if mine is None or base is None or base <= 0 else mine / base
