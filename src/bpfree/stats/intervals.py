"""Means and their t intervals; the paired comparison of two arms, on which every verdict rests.

Formulas: Student (1908), "The probable error of a mean"; also in textbooks, for example Montgomery, "Design and Analysis of
Experiments", ch. 2. Quantiles come from scipy.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from scipy import special

from bpfree.errors import UsageError

__all__ = ["LEVEL", "Interval", "Paired", "Values", "mean_interval", "paired_difference", "paired_ratio"]

LEVEL = 0.95
"""Confidence of an interval unless told otherwise."""

ROUNDING = 1e-12
"""A spread smaller than this, relative to the values, is rounding of floating point and counts as none."""

NOTHING = 1e-100
"""No accuracy, energy or time differs by less; squares of smaller numbers would vanish in floating point."""

Values = Mapping[Any, float] | Sequence[float] | np.ndarray
"""One value per seed: by seed, or in the same order of seeds for every arm."""


@dataclass(frozen=True, kw_only=True)
class Interval:
    """An estimate and its confidence interval, in the unit of the values.

    ``low`` and ``high`` are ``None`` where no interval can be had; ``reason`` then says why.
    """

    mean: float | None
    low: float | None
    high: float | None
    level: float
    n: int
    reason: str | None = None

    @property
    def half_width(self) -> float | None:
        """Half of the distance from low to high."""
        return None if self.low is None or self.high is None else (self.high - self.low) / 2

    def excludes(self, value: float) -> bool:
        """Does the interval exist and lie wholly on one side of ``value``?"""
        return self.low is not None and self.high is not None and not self.low <= value <= self.high


@dataclass(frozen=True, kw_only=True)
class Paired:
    """Arm A compared with arm B, seed by seed.

    Attributes:
        scale: ``"difference"`` is A - B in the unit of the values, ``"ratio"`` is A / B.
        interval: of the mean difference, or of the geometric mean of the ratios.
        p_value: two-sided, for no difference; ``None`` where it cannot be had.
        n: pairs.
        working: the paired differences on the scale of the test: A - B, or ln(A / B).
        unpaired: seeds that only one arm has, left out.
        constant: do all pairs show the same difference, so that there is no spread to go by?
    """

    scale: Literal["difference", "ratio"]
    interval: Interval
    p_value: float | None
    n: int
    working: tuple[float, ...]
    unpaired: tuple[int, ...] = ()
    constant: bool = False

    @property
    def sd(self) -> float | None:
        """Standard deviation (n - 1) of the working differences; 0 where constant, ``None`` below two."""
        if self.n < 2:
            return None
        return 0.0 if self.constant else float(np.std(self.working, ddof=1))


def t_quantile(probability: float, df: float) -> float:
    """Quantile of Student's t (``scipy.special``: the same numbers as ``scipy.stats.t``, fifty times as fast)."""
    return float(special.stdtrit(df, probability))


def t_probability(t: float, df: float) -> float:
    """Distribution function of Student's t."""
    return float(special.stdtr(df, t))


def bound_on_working_scale(margin: float, scale: str) -> float:
    """The margin on the scale of :attr:`Paired.working`: ln(1 + margin) for a ratio, the margin itself for a difference.

    Raises:
        UsageError: the margin is not above zero.
    """
    if not margin > 0:
        raise UsageError(f"a margin of equivalence must be above 0, got {margin}")
    return math.log1p(margin) if scale == "ratio" else margin


def check_level(level: float) -> None:
    """Refuse a level that is not between 0 and 1."""
    if not 0 < level < 1:
        raise UsageError(f"the level of an interval must lie between 0 and 1, got {level}")


def is_constant(values: np.ndarray) -> bool:
    """Is the spread no larger than what rounding makes of equal numbers?"""
    return _no_spread(values, float(np.max(np.abs(values))))


def _no_spread(values: np.ndarray, magnitude: float) -> bool:
    return float(np.ptp(values)) <= max(NOTHING, ROUNDING * magnitude)


def mean_interval(values: Sequence[float] | np.ndarray, level: float = LEVEL) -> Interval:
    """Mean with its t interval: m ± t(1 - α/2, n - 1) s / √n.

    Args:
        values: one per seed, finite, in any unit.
        level: 1 - α.

    Raises:
        UsageError: a value is not finite, or the level is not between 0 and 1.
    """
    check_level(level)
    x = finite(values)
    if x.size == 0:
        return Interval(mean=None, low=None, high=None, level=level, n=0, reason="there is no value")
    mean = float(x.mean())
    if x.size == 1:
        reason = "one seed has no spread; at least two are needed for an interval"
        return Interval(mean=mean, low=None, high=None, level=level, n=1, reason=reason)
    if is_constant(x):
        return Interval(
            mean=float(x[0]),
            low=float(x[0]),
            high=float(x[0]),
            level=level,
            n=x.size,
            reason="all values are equal, so the interval has no width",
        )
    half = t_quantile((1 + level) / 2, x.size - 1) * float(x.std(ddof=1)) / math.sqrt(x.size)
    return Interval(mean=mean, low=mean - half, high=mean + half, level=level, n=x.size)


def paired_difference(a: Values, b: Values, level: float = LEVEL) -> Paired:
    """A - B by seed: d̄ ± t(1 - α/2, n - 1) s_d / √n, and the p value of the paired t test.

    Where all pairs differ by the same amount there is no spread, and the t test would claim certainty from two seeds. The
    p value is then that of the exact sign test, 2^(1 - n) (1 if the amount is zero).

    Args:
        a, b: accuracies (fractions), joules or seconds: by seed, or sequences in the same order of seeds. Seeds that only one
            of two mappings has are left out and named in ``unpaired``.
        level: 1 - α.

    Raises:
        UsageError: sequences of different lengths, values that are not finite.
    """
    x, y, unpaired = pairs(a, b)
    scale = float(np.max(np.abs([x, y]), initial=0.0))
    return _paired(x - y, scale, "difference", unpaired, level)


def paired_ratio(a: Values, b: Values, level: float = LEVEL) -> Paired:
    """A / B by seed, for energies and times: the paired t interval of ln(A / B), exponentiated.

    The estimate is the geometric mean of the ratios. Costs are positive and multiply, so their logarithms are nearer to normal,
    and A / B and B / A lead to the same conclusion (Fleming and Wallace 1986, "How not to lie with statistics").

    Args:
        a, b: joules or seconds, above zero, as in :func:`paired_difference`.
        level: 1 - α.

    Raises:
        UsageError: a cost is not above zero and finite (a target that was never reached has no ratio).
    """
    x, y, unpaired = pairs(a, b)
    for values in (x, y):
        if (values <= 0).any():
            raise UsageError(f"a ratio needs costs above zero, got {values.min():g}")
    return _paired(np.log(x) - np.log(y), 1.0, "ratio", unpaired, level)


def _paired(
    d: np.ndarray,
    magnitude: float,
    scale: Literal["difference", "ratio"],
    unpaired: tuple[int, ...],
    level: float,
) -> Paired:
    """From working differences; ``magnitude``, of what was subtracted, is the measure of rounding."""
    check_level(level)
    n = d.size
    constant = n >= 2 and _no_spread(d, magnitude)
    if constant:  # 0.1 + 0.2 - 0.3 is zero, too
        d = np.full(n, 0.0 if abs(d.mean()) <= max(NOTHING, ROUNDING * magnitude) else float(d.mean()))
    interval, p_value = mean_interval(d, level), None
    if constant:
        p_value = 1.0 if d[0] == 0 else min(1.0, 2.0 ** (1 - n))
    elif n >= 2:
        t = float(d.mean()) / (float(d.std(ddof=1)) / math.sqrt(n))
        p_value = 2 * t_probability(-abs(t), n - 1)
    if scale == "ratio":
        interval = _exponentiated(interval)
    working = tuple(float(value) for value in d)
    return Paired(
        scale=scale,
        interval=interval,
        p_value=p_value,
        n=n,
        working=working,
        unpaired=unpaired,
        constant=constant,
    )


def _exponentiated(i: Interval) -> Interval:
    mean, low, high = (None if value is None else math.exp(value) for value in (i.mean, i.low, i.high))
    return Interval(mean=mean, low=low, high=high, level=i.level, n=i.n, reason=i.reason)


def finite(values: Sequence[float] | np.ndarray) -> np.ndarray:
    """The values as float64, (n,).

    Raises:
        UsageError: another shape, or values that are not finite.
    """
    x = np.asarray(values, dtype=np.float64)
    if x.ndim != 1:
        raise UsageError(f"one value per seed is needed, got an array of shape {x.shape}")
    if not np.isfinite(x).all():
        raise UsageError(f"values must be finite, got {x[~np.isfinite(x)][0]}; leave out runs that diverged, and say so")
    return x


def pairs(a: Values, b: Values) -> tuple[np.ndarray, np.ndarray, tuple[int, ...]]:
    """Values of A and of B at their common seeds, in one order, and the seeds that only one of them has."""
    if isinstance(a, Mapping) != isinstance(b, Mapping):
        raise UsageError("give both arms by seed or both as sequences")
    if isinstance(a, Mapping) and isinstance(b, Mapping):
        seeds = sorted(a.keys() & b.keys())
        unpaired = tuple(sorted(a.keys() ^ b.keys()))
        return finite([a[seed] for seed in seeds]), finite([b[seed] for seed in seeds]), unpaired
    x, y = finite(np.asarray(a)), finite(np.asarray(b))
    if x.size != y.size:
        raise UsageError(f"pairs need as many values of one arm as of the other, got {x.size} and {y.size}")
    return x, y, ()
