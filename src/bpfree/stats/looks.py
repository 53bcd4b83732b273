"""Several looks at one growing study: the level of each, so that all together make at most ``alpha`` false claims.

Lan and DeMets (1983), "Discrete sequential boundaries for clinical trials": a spending function says how much of the level may be
used by the time a share of the planned seeds has been run. The boundary of each look follows by the recursive integration of
Armitage, McPherson and Rowe (1969). It is exact for normal statistics, and is applied here to the p value of a t test.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Literal

import numpy as np
from scipy import optimize, special

from bpfree.errors import UsageError

__all__ = ["Spending", "level_at_look", "levels_of_looks", "spent"]

Spending = Literal["pocock", "obrien-fleming"]

_GRID = 801
"""Points of the integration between the two boundaries of a look."""

_WIDEST = 8.0
"""A boundary of a look at which nothing may be spent: beyond all normal values."""


def spent(share: float, alpha: float = 0.05, spending: Spending = "obrien-fleming") -> float:
    """The level that may have been used when ``share`` of the planned seeds has been run.

    Pocock: α ln(1 + (e - 1) t), about the same level at every look. O'Brien-Fleming: 2 - 2Φ(z(1 - α/2)/√t), almost nothing early
    and almost all of α at the end (Lan and DeMets 1983).

    Args:
        share: t, seeds run over seeds planned; above 1 counts as 1.
        alpha: of the whole study, two-sided.
        spending: which function.

    Raises:
        UsageError: a share that is not above 0, an alpha that is not between 0 and 1, an unknown function.
    """
    if not share > 0:
        raise UsageError(f"the share of the planned seeds must be above 0, got {share}")
    if not 0 < alpha < 1:
        raise UsageError(f"the level of a test must lie between 0 and 1, got {alpha}")
    t = min(share, 1.0)
    if spending == "pocock":
        return alpha * math.log(1 + (math.e - 1) * t)
    if spending == "obrien-fleming":
        return float(2 * special.ndtr(special.ndtri(alpha / 2) / math.sqrt(t)))
    raise UsageError(f"the spending function must be 'pocock' or 'obrien-fleming', got {spending!r}")


def level_at_look(
    look: int,
    n: Sequence[int],
    n_planned: int,
    alpha: float = 0.05,
    spending: Spending = "obrien-fleming",
) -> float:
    """The level for the (corrected) two-sided p value at one look; a claim at this look needs p below it.

    One look at all planned seeds has the whole ``alpha``. Once the plan is used up, later looks have the level 0: more seeds can
    then be reported, but support no new claim.

    Args:
        look: which one, from 1.
        n: pairs at every look so far, rising: ``n[look - 1]`` at this one.
        n_planned: pairs at the last look, fixed before the first.
        alpha: of the whole study.
        spending: see :func:`spent`.

    Raises:
        UsageError: no such look, sizes that do not rise, or a plan below one pair.
    """
    if not 1 <= look <= len(n):
        raise UsageError(f"look {look} needs the number of pairs at looks 1 to {look}, got {len(n)} numbers: {list(n)}")
    return levels_of_looks(n[:look], n_planned, alpha, spending)[-1]


def levels_of_looks(
    n: Sequence[int],
    n_planned: int,
    alpha: float = 0.05,
    spending: Spending = "obrien-fleming",
) -> tuple[float, ...]:
    """:func:`level_at_look` of every look in ``n``, in one go."""
    sizes = list(n)
    if not sizes or sizes[0] < 1 or any(a >= b for a, b in itertools.pairwise(sizes)):
        raise UsageError(f"the numbers of pairs at the looks must rise from at least 1, got {sizes}")
    if n_planned < 1:
        raise UsageError(f"the plan must hold at least one pair, got {n_planned}")
    levels: list[float] = []
    used, state = 0.0, None
    for size in sizes:
        total = spent(size / n_planned, alpha, spending)
        increment = total - used
        if increment <= 0:  # the plan is used up
            levels.append(0.0)
            continue
        boundary = _boundary(state, size, increment)
        levels.append(float(2 * special.ndtr(-boundary)) if boundary < _WIDEST else 0.0)
        state, used = _survivors(state, size, boundary), total
    return tuple(levels)


# Density of the sum of n standard normal values over the studies that no earlier look has stopped: (n, points, density x step).
_State = tuple[int, np.ndarray, np.ndarray]


def _crossing(state: _State | None, size: int, boundary: float) -> float:
    """Chance of crossing ±boundary (in standard errors) at ``size``, not having crossed before."""
    limit = boundary * math.sqrt(size)
    if state is None:
        return float(2 * special.ndtr(-boundary))
    before, points, weights = state
    step = math.sqrt(size - before)
    outside = special.ndtr((points - limit) / step) + special.ndtr((-limit - points) / step)
    return float(np.sum(outside * weights))


def _boundary(state: _State | None, size: int, increment: float) -> float:
    if _crossing(state, size, _WIDEST) >= increment:
        return _WIDEST
    return float(optimize.brentq(lambda b: _crossing(state, size, b) - increment, 0.0, _WIDEST, xtol=1e-10))  # pyright: ignore[reportArgumentType]


def _survivors(state: _State | None, size: int, boundary: float) -> _State:
    limit = boundary * math.sqrt(size)
    points = np.linspace(-limit, limit, _GRID)
    simpson = np.ones(_GRID)
    simpson[1:-1:2], simpson[2:-1:2] = 4, 2
    simpson *= (points[1] - points[0]) / 3
    if state is None:
        density = _normal(points / math.sqrt(size)) / math.sqrt(size)
    else:
        before, earlier, weights = state
        step = math.sqrt(size - before)
        density = (_normal((points[:, None] - earlier) / step) / step) @ weights
    return size, points, density * simpson


def _normal(z: np.ndarray) -> np.ndarray:
    return np.exp(-(z**2) / 2) / math.sqrt(2 * math.pi)
