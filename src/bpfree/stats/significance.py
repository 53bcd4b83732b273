"""Tests that stand beside the paired t interval, the correction for many of them, and equivalence."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from scipy import stats

from bpfree.errors import UsageError
from bpfree.stats.intervals import LEVEL, Interval, Paired, is_constant, t_probability, t_quantile

__all__ = ["Equivalence", "PValue", "Welch", "holm", "tost", "welch", "wilcoxon"]

Key = TypeVar("Key", bound=Hashable)


@dataclass(frozen=True, kw_only=True)
class PValue:
    """A test's p value (two-sided), or ``None`` with the reason."""

    p_value: float | None
    n: int
    reason: str | None = None


@dataclass(frozen=True, kw_only=True)
class Welch:
    """Difference of two means without pairing: interval, and p value for no difference."""

    interval: Interval
    p_value: float | None


@dataclass(frozen=True, kw_only=True)
class Equivalence:
    """Two one-sided tests: is the difference smaller than the margin, in either direction?

    ``p_value`` is the larger of the two; ``margin`` is on the scale of the comparison (a fraction of
    accuracy, or a relative difference of energy).
    """

    equivalent: bool
    p_value: float | None
    margin: float
    reason: str | None = None


def welch(a: Sequence[float], b: Sequence[float], level: float = LEVEL) -> Welch:
    """Mean of A minus mean of B with unequal variances (Welch 1947), for values that share no seeds.

    ν = (s_a²/n_a + s_b²/n_b)² / ((s_a²/n_a)²/(n_a - 1) + (s_b²/n_b)²/(n_b - 1)).

    Args:
        a, b: values, finite.
        level: confidence of the interval.
    """
    x, y = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    n = int(min(x.size, y.size))
    if n < 2:
        mean = float(x.mean() - y.mean()) if n else None
        reason = "one of the arms has fewer than two values, so its spread is unknown"
        return Welch(interval=Interval(mean=mean, low=None, high=None, level=level, n=n, reason=reason), p_value=None)
    mean = float(x.mean() - y.mean())
    if is_constant(x) and is_constant(y):
        reason = "the values of each arm are all equal, so the interval has no width and there is no test"
        return Welch(interval=Interval(mean=mean, low=mean, high=mean, level=level, n=n, reason=reason), p_value=None)
    of_mean = np.array([0.0 if is_constant(v) else float(v.var(ddof=1)) / v.size for v in (x, y)])
    df = float(of_mean.sum() ** 2 / (of_mean**2 / [x.size - 1, y.size - 1]).sum())
    error = math.sqrt(of_mean.sum())
    half = t_quantile((1 + level) / 2, df) * error
    interval = Interval(mean=mean, low=mean - half, high=mean + half, level=level, n=n)
    return Welch(interval=interval, p_value=2 * t_probability(-abs(mean) / error, df))


def wilcoxon(paired: Paired) -> PValue:
    """Signed-rank test of the paired differences (Wilcoxon 1945; zeros by Pratt 1959; exact for few pairs).

    Below six pairs it cannot fall under 0.05, whatever the data.
    """
    d = np.asarray(paired.working)
    if d.size < 2:
        return PValue(p_value=None, n=d.size, reason="at least two pairs are needed")
    if not d.any():
        return PValue(p_value=1.0, n=d.size, reason="every pair is equal")
    reason = f"{d.size} pairs cannot give less than {2.0 ** (1 - d.size):g}" if d.size < 6 else None
    return PValue(p_value=_signed_rank_p(d), n=d.size, reason=reason)


def _signed_rank_p(d: np.ndarray) -> float:
    method: Any = "exact" if d.size <= 50 else "approx"
    if len(np.unique(np.abs(d))) < d.size or not d.all():  # scipy's table knows no ties and zeros
        method = stats.PermutationMethod(n_resamples=2**d.size) if d.size <= 12 else "approx"
    result: Any = stats.wilcoxon(d, zero_method="pratt", method=method)
    return float(result.pvalue)


def holm(p_values: Mapping[Key, float | None]) -> dict[Key, float | None]:
    """Adjusted p values of a family (Holm 1979): p_(i) becomes max over j ≤ i of min(1, (m - j + 1) p_(j)).

    Controls the chance of one false claim in the family whatever the dependence. A test that could not be
    made (``None``) stays ``None`` and does not count.
    """
    known = sorted(((p, key) for key, p in p_values.items() if p is not None), key=lambda pair: pair[0])
    adjusted: dict[Key, float | None] = dict.fromkeys(p_values)
    highest = 0.0
    for index, (p, key) in enumerate(known):
        if not 0 <= p <= 1:
            raise UsageError(f"a p value must lie between 0 and 1, got {p} for {key}")
        highest = max(highest, min(1.0, (len(known) - index) * p))
        adjusted[key] = highest
    return adjusted


def tost(paired: Paired, margin: float, alpha: float = 0.05) -> Equivalence:
    """Equivalence by two one-sided t tests (Schuirmann 1987).

    Equivalent when both t = (d̄ + Δ) / (s/√n) and t = (Δ - d̄) / (s/√n) exceed t(1 - α, n - 1), which says
    that the 1 - 2α interval lies within ±Δ. For a ratio Δ = ln(1 + margin): energies within a factor 1.05 of
    each other. Where all pairs show one and the same difference below Δ, each one-sided test is the sign
    test, p = 2^-n.

    Args:
        paired: the comparison.
        margin: the largest difference that does not matter: in the unit of the values, or relative for a
        ratio. alpha: chance of a false "equivalent" at the margin.
    """
    if not margin > 0:
        raise UsageError(f"a margin of equivalence must be above 0, got {margin}")
    if paired.n < 2:
        reason = f"{paired.n} pair{'s' if paired.n != 1 else ''}; at least two are needed"
        return Equivalence(equivalent=False, p_value=None, margin=margin, reason=reason)
    bound = math.log1p(margin) if paired.scale == "ratio" else margin
    d, n, sd = float(np.mean(paired.working)), paired.n, paired.sd
    if not sd:
        p = 0.5**n if abs(d) < bound else 1.0
    else:
        error = sd / math.sqrt(n)
        p = t_probability((abs(d) - bound) / error, n - 1)
    return Equivalence(equivalent=p < alpha, p_value=p, margin=margin)
