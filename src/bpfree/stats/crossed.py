"""Differences from studies crossed with splits of the data: an interval that carries the luck of both."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from bpfree.errors import UsageError
from bpfree.stats.intervals import (
    LEVEL,
    Interval,
    Paired,
    bound_on_working_scale,
    check_level,
    is_constant,
    mean_interval,
    t_probability,
    t_quantile,
)

__all__ = ["Cell", "Crossed", "crossed_comparison", "crossed_interval", "study_means"]

Cell = tuple[Any, Any]
"""Split and study: the key of one value of a crossed table."""


@dataclass(frozen=True, kw_only=True)
class Crossed:
    """The mean of crossed differences.

    Attributes:
        interval: in the unit of the differences; ``n`` is their number, ``reason`` says what the interval leaves out.
        p_value: two-sided, for no difference; ``None`` where there is no spread or one difference.
        df: Satterthwaite's degrees of freedom, ``None`` where there is no test.
        sd_studies, sd_splits, sd_rest: standard deviations of the three random effects, 0 where the estimate is below 0;
            ``None`` where they cannot be told apart.
    """

    interval: Interval
    p_value: float | None
    df: float | None
    sd_studies: float | None = None
    sd_splits: float | None = None
    sd_rest: float | None = None


def crossed_interval(differences: np.ndarray, level: float = LEVEL) -> Crossed:
    """Interval of the mean of d[s, r], studies s crossed with splits r, both random: d = μ + a_s + b_r + e_sr.

    With mean squares A of studies, B of splits and E of the rest, the variance of the mean of S x R differences is estimated by
    (A + B - E)/(SR), with (A + B - E)² / (A²/(S - 1) + B²/(R - 1) + E²/((S - 1)(R - 1))) degrees of freedom (Satterthwaite 1946,
    "An approximate distribution of estimates of variance components"; Montgomery, ch. 13). A factor whose mean square is below E
    has no sign of an effect and drops out (its estimate would be negative); the larger of A and B always stays, and so does E
    where it exceeds both, with their degrees of freedom. One study or one split leaves a t interval over the other factor.

    Args:
        differences: A - B in any unit, finite, (studies, splits), none missing.
        level: confidence.

    Returns:
        The interval; two splits have one degree of freedom, so that where splits dominate it is very wide: use at least three.

    Raises:
        UsageError: another shape, an empty array, values that are not finite, or a level that is not between 0 and 1.
    """
    check_level(level)
    d = np.asarray(differences, dtype=np.float64)
    if d.ndim != 2 or not d.size:
        raise UsageError(f"differences are needed for studies x splits, at least 1 x 1, got an array of shape {d.shape}")
    if not np.isfinite(d).all():
        raise UsageError("differences must be finite; leave out a study or split with lost runs from both arms, and say so")
    n_studies, n_splits = d.shape
    if n_studies == 1 or n_splits == 1:
        return _one_factor(d, level)
    if is_constant(d.ravel()):
        interval = mean_interval(d.ravel(), level)
        return Crossed(interval=interval, p_value=None, df=None, sd_studies=0.0, sd_splits=0.0, sd_rest=0.0)
    mean, rows, columns = float(d.mean()), d.mean(axis=1), d.mean(axis=0)
    df_studies, df_splits, df_rest = n_studies - 1, n_splits - 1, (n_studies - 1) * (n_splits - 1)
    studies = n_splits * float(rows.var(ddof=1))
    splits = n_studies * float(columns.var(ddof=1))
    rest = float(((d - rows[:, None] - columns + mean) ** 2).sum()) / df_rest
    variance, df = _of_mean((studies, df_studies), (splits, df_splits), (rest, df_rest))
    error = math.sqrt(variance / d.size)
    half = t_quantile((1 + level) / 2, df) * error
    return Crossed(
        interval=Interval(mean=mean, low=mean - half, high=mean + half, level=level, n=d.size),
        p_value=2 * t_probability(-abs(mean) / error, df),
        df=df,
        sd_studies=math.sqrt(max(0.0, (studies - rest) / n_splits)),
        sd_splits=math.sqrt(max(0.0, (splits - rest) / n_studies)),
        sd_rest=math.sqrt(rest),
    )


Square = tuple[float, int]
"""A mean square and its degrees of freedom."""


def _of_mean(studies: Square, splits: Square, rest: Square) -> tuple[float, float]:
    """SR times the variance of the mean, and its degrees of freedom."""
    smaller, larger = sorted((studies, splits))
    if smaller[0] <= rest[0]:  # no sign of the smaller effect
        return max(larger, rest)
    total = studies[0] + splits[0] - rest[0]
    return total, total**2 / sum(square**2 / df for square, df in (studies, splits, rest))


def _one_factor(d: np.ndarray, level: float) -> Crossed:
    interval = mean_interval(d.ravel(), level)
    missing = [name for name, size in zip(("study", "split"), d.shape, strict=True) if size == 1]
    reason = f"one {' and one '.join(missing)}: what another would give is not in the interval"
    interval = Interval(mean=interval.mean, low=interval.low, high=interval.high, level=level, n=d.size, reason=reason)
    if d.size == 1 or is_constant(d.ravel()) or interval.mean is None:
        return Crossed(interval=interval, p_value=None, df=None)
    df = d.size - 1
    error = float(d.std(ddof=1)) / math.sqrt(d.size)
    return Crossed(interval=interval, p_value=2 * t_probability(-abs(interval.mean) / error, df), df=df)


def crossed_comparison(
    a: Mapping[Cell, float],
    b: Mapping[Cell, float],
    margin: float,
    scale: Literal["difference", "ratio"] = "difference",
    level: float = LEVEL,
) -> tuple[Paired, float | None]:
    """Arm A against arm B over studies crossed with splits: interval and p value of :func:`crossed_interval`, and that of TOST.

    A study that lacks a cell of either arm is left out, and named in ``unpaired``. ``n`` and ``working`` are of studies (means
    over the splits): more splits are no more pairs.

    Args:
        a, b: by (split, study), finite; above 0 for a ratio.
        margin: of equivalence, as in :func:`~bpfree.stats.tost`.
        scale: ``"ratio"`` compares logarithms.
        level: confidence of the interval.

    Raises:
        UsageError: values that are not finite (or not above 0 for a ratio), or a margin that is not above 0.
    """
    bound = bound_on_working_scale(margin, scale)
    splits, whole, left_out = _grid(a, b)
    if not whole:
        reason = "no study has every split in both arms"
        nothing = Interval(mean=None, low=None, high=None, level=level, n=0, reason=reason)
        return Paired(scale=scale, interval=nothing, p_value=None, n=0, working=(), unpaired=left_out), None
    grids = [np.array([[arm[split, study] for split in splits] for study in whole], dtype=np.float64) for arm in (a, b)]
    if scale == "ratio" and not all((grid > 0).all() for grid in grids):
        raise UsageError("a ratio needs values above 0")
    d = np.log(grids[0]) - np.log(grids[1]) if scale == "ratio" else grids[0] - grids[1]
    crossed = crossed_interval(d, level)
    means, of_d = d.mean(axis=1), crossed.interval
    p_value, p_equivalent = crossed.p_value, None
    if p_value is None and len(whole) > 1:  # all cells differ by the same amount: the sign test over studies
        p_value = 2.0 ** (1 - len(whole)) if of_d.mean else 1.0
        p_equivalent = 0.5 ** len(whole) if abs(of_d.mean or 0.0) < bound else 1.0
    elif crossed.df is not None and of_d.half_width and of_d.mean is not None:
        error = of_d.half_width / t_quantile((1 + level) / 2, crossed.df)
        p_equivalent = max(t_probability((side * of_d.mean - bound) / error, crossed.df) for side in (-1, 1))
    ends = [None if end is None else math.exp(end) if scale == "ratio" else end for end in (of_d.mean, of_d.low, of_d.high)]
    interval = Interval(mean=ends[0], low=ends[1], high=ends[2], level=level, n=len(whole), reason=of_d.reason)
    paired = Paired(
        scale=scale, interval=interval, p_value=p_value, n=len(whole), working=tuple(map(float, means)), unpaired=left_out,
        constant=is_constant(means),
    )  # fmt: skip
    return paired, p_equivalent


def study_means(
    a: Mapping[Cell, float], b: Mapping[Cell, float], scale: Literal["difference", "ratio"] = "difference"
) -> tuple[np.ndarray, np.ndarray]:
    """Means over the splits of the studies that both arms have in full (of logarithms for a ratio), each (studies,)."""
    splits, whole, _ = _grid(a, b)
    change = math.log if scale == "ratio" else float
    first, second = (
        np.array([np.mean([change(arm[split, study]) for split in splits]) for study in whole], dtype=np.float64)
        for arm in (a, b)
    )
    return first, second


def _grid(a: Mapping[Cell, float], b: Mapping[Cell, float]) -> tuple[list[Any], list[Any], tuple[Any, ...]]:
    """Splits, the studies that both arms have on every split, and those left out."""
    cells = a.keys() | b.keys()
    splits, studies = sorted({split for split, _ in cells}), sorted({study for _, study in cells})
    whole = [study for study in studies if all((split, study) in arm for arm in (a, b) for split in splits)]
    return splits, whole, tuple(study for study in studies if study not in whole)
