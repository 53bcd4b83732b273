"""Two independent samples: Welch's interval and test, from values or from summaries; the correlation of paired values."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bpfree.errors import UsageError
from bpfree.stats.intervals import LEVEL, Interval, Values, check_level, finite, is_constant, pairs, t_probability, t_quantile

__all__ = ["Summary", "Welch", "paired_correlation", "summary", "welch", "welch_of_summaries"]


@dataclass(frozen=True, kw_only=True)
class Welch:
    """Difference of two means without pairing: the interval, the p value for no difference, and the degrees of freedom."""

    interval: Interval
    p_value: float | None
    df: float | None = None


@dataclass(frozen=True, kw_only=True)
class Summary:
    """A sample as papers report it: mean, standard deviation (n - 1; ``None`` if not given) and size (``None`` if not given)."""

    mean: float
    sd: float | None
    n: int | None

    def __post_init__(self) -> None:
        if not math.isfinite(self.mean):
            raise UsageError(f"a mean must be finite, got {self.mean}")
        if self.sd is not None and not (math.isfinite(self.sd) and self.sd >= 0):
            raise UsageError(f"a standard deviation must be finite and at least 0, got {self.sd}")
        if self.n is not None and self.n < 1:
            raise UsageError(f"a sample needs at least one value, got n = {self.n}")


def summary(values: Sequence[float] | np.ndarray) -> Summary:
    """Mean, standard deviation (n - 1; 0 where all values are equal, ``None`` for a single value) and size of a sample.

    Raises:
        UsageError: no value, or values that are not finite.
    """
    x = finite(values)
    if not x.size:
        raise UsageError("a summary needs at least one value, got none")
    if x.size == 1:
        return Summary(mean=float(x[0]), sd=None, n=1)
    return Summary(mean=float(x.mean()), sd=0.0 if is_constant(x) else float(x.std(ddof=1)), n=x.size)


def welch(a: Sequence[float] | np.ndarray, b: Sequence[float] | np.ndarray, level: float = LEVEL) -> Welch:
    """Mean of A minus mean of B with unequal variances, for values that share no seeds, or beside the paired interval.

    Args:
        a, b: values, finite, in one unit.
        level: confidence of the interval.

    Returns:
        The interval (``n`` is the smaller of the two sizes). It has no ends where an arm has fewer than two values; it has no
        width, and there is no p value, where the values of each arm are all equal.

    Raises:
        UsageError: values that are not finite, or a level that is not between 0 and 1.
    """
    x, y = finite(a), finite(b)
    if not (x.size and y.size):
        check_level(level)
        interval = Interval(mean=None, low=None, high=None, level=level, n=0, reason="one of the arms has no value")
        return Welch(interval=interval, p_value=None)
    return welch_of_summaries(summary(x), summary(y), level)


def welch_of_summaries(a: Summary, b: Summary, level: float = LEVEL) -> Welch:
    """:func:`welch` from means, standard deviations and sizes (Welch 1947, "The generalization of Student's problem").

    Standard error √(s_a²/n_a + s_b²/n_b) with ν = (s_a²/n_a + s_b²/n_b)² / ((s_a²/n_a)²/(n_a - 1) + (s_b²/n_b)²/(n_b - 1)).

    Args:
        a, b: the samples; without a spread or a size, or with fewer than two values, there is no interval.
        level: confidence of the interval.
    """
    check_level(level)
    mean = a.mean - b.mean
    n = min(a.n or 0, b.n or 0)
    if a.sd is None or b.sd is None or a.n is None or b.n is None or n < 2:
        reason = "one of the arms has fewer than two values or no stated spread, so its spread is unknown"
        return Welch(interval=Interval(mean=mean, low=None, high=None, level=level, n=n, reason=reason), p_value=None)
    if a.sd == 0 and b.sd == 0:
        reason = "the values of each arm are all equal, so the interval has no width and there is no test"
        return Welch(interval=Interval(mean=mean, low=mean, high=mean, level=level, n=n, reason=reason), p_value=None)
    of_mean = np.array([a.sd**2 / a.n, b.sd**2 / b.n])
    df = float(of_mean.sum() ** 2 / (of_mean**2 / [a.n - 1, b.n - 1]).sum())
    error = math.sqrt(of_mean.sum())
    half = t_quantile((1 + level) / 2, df) * error
    interval = Interval(mean=mean, low=mean - half, high=mean + half, level=level, n=n)
    return Welch(interval=interval, p_value=2 * t_probability(-abs(mean) / error, df), df=df)


def paired_correlation(a: Values, b: Values) -> float | None:
    """Pearson's correlation of two arms over their common seeds: whether pairing by seed removes any noise.

    Near zero, the paired interval costs half of the degrees of freedom of Welch's interval and gains nothing.

    Args:
        a, b: as in :func:`~bpfree.stats.paired_difference`.

    Returns:
        A number from -1 to 1; ``None`` below three pairs (two always give ±1) or where the values of an arm are all equal.
    """
    x, y, _ = pairs(a, b)
    if x.size < 3 or is_constant(x) or is_constant(y):
        return None
    return float(np.clip(np.corrcoef(x, y)[0, 1], -1.0, 1.0))
