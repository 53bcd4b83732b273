"""How many seeds: what a number of pairs can show, and how many would settle a question. To be asked before a study."""

from __future__ import annotations

import bisect
import math

import numpy as np
from scipy import special

from bpfree.errors import UsageError
from bpfree.stats.intervals import Paired, bound_on_working_scale, t_probability, t_quantile

__all__ = ["OPTIONAL_STOPPING", "POWER", "least_detectable_difference", "power_of", "seeds_needed"]

POWER = 0.8
"""Chance of a conclusion with the number of seeds that :func:`seeds_needed` names."""

MOST_SEEDS = 10_000
"""More seeds than this are not worth naming."""

OPTIONAL_STOPPING = (
    "Fix the number of seeds before the first run and test once. Adding seeds until a difference shows is optional stopping: "
    "where there is no difference, it claims one in 13 % of simulated studies instead of 5 %. Looks that are planned must be "
    "counted, and the level spent over them."
)
"""The warning that belongs beside every number from :func:`seeds_needed`; the simulation is in ``tests/stats``."""


def seeds_needed(paired: Paired, margin: float, *, alpha_different: float = 0.05, alpha_equivalent: float = 0.05) -> int | None:
    """How many pairs would settle it with a chance of 0.8, were mean and spread to stay as they are.

    The smallest n above the present one at which the t test would show a difference, by the usual approximation
    (t(1 - α/2, n - 1) + t(0.8, n - 1)) s/√n ≤ |d̄| (Cohen 1988, ch. 2), or at which TOST would show equivalence, with
    its power T((Δ - d̄)√n/s - t) + T((Δ + d̄)√n/s - t) - 1 ≥ 0.8, t = t(1 - α, n - 1) and T the distribution function
    of Student's t (Phillips 1990, with a central t). A rough guide: the present spread is itself an estimate.

    The number is for a new plan, not for more runs of the same study: :data:`OPTIONAL_STOPPING` says why.

    Args:
        paired: the comparison so far.
        margin: of equivalence, as in :func:`~bpfree.stats.verdict`.
        alpha_different, alpha_equivalent: levels of the two claims, after correction for the family.

    Returns:
        The number of pairs; ``None`` below two pairs, at a level of zero, or where it passes 10,000.
    """
    sd = paired.sd
    if sd is None or alpha_different <= 0 or alpha_equivalent <= 0:
        return None
    bound = bound_on_working_scale(margin, paired.scale)
    size = abs(float(np.mean(paired.working)))

    def settled(n: int) -> bool:
        if sd == 0:  # the exact sign tests of paired_difference and tost
            different = size > 0 and 2.0 ** (1 - n) < alpha_different
            return different or (size < bound and 0.5**n < alpha_equivalent)
        df, error = n - 1, sd / math.sqrt(n)
        if (t_quantile(1 - alpha_different / 2, df) + t_quantile(POWER, df)) * error <= size:
            return True
        limit = t_quantile(1 - alpha_equivalent, df)
        near, far = ((bound + side * size) / error - limit for side in (-1, 1))
        return t_probability(near, df) + t_probability(far, df) - 1 >= POWER

    candidates = range(paired.n + 1, MOST_SEEDS + 1)  # more seeds never unsettle: bisection finds the first
    index = bisect.bisect_left(candidates, True, key=settled)
    return candidates[index] if index < len(candidates) else None


def power_of(n: int, sd: float, difference: float, alpha: float = 0.05) -> float:
    """Chance that a two-sided paired t test at level ``alpha`` shows a true difference, by the noncentral t distribution.

    P(|T| > t(1 - α/2, n - 1)), T noncentral t with n - 1 degrees of freedom and δ√n/s (Cohen 1988, ch. 2).

    Args:
        n: pairs, at least two.
        sd: standard deviation of the paired differences, above zero.
        difference: true mean difference in the unit of ``sd``; the sign does not matter.
        alpha: level of the test, after correction for the family.

    Raises:
        UsageError: fewer than two pairs, no spread, or a level that is not between 0 and 1.
    """
    _check_design(n, sd, alpha)
    df, noncentrality = n - 1, abs(difference) * math.sqrt(n) / sd
    critical = t_quantile(1 - alpha / 2, df)
    upper = 1 - float(special.nctdtr(df, noncentrality, critical))
    lower = float(special.nctdtr(df, noncentrality, -critical))
    return upper + (lower if math.isfinite(lower) else 0.0)


def least_detectable_difference(n: int, sd: float, alpha: float = 0.05, power: float = POWER) -> float:
    """The smallest true difference that n pairs would show with the chance ``power``, in the unit of ``sd``.

    Args:
        n: pairs, at least two.
        sd: standard deviation of the paired differences; 0 gives 0.
        alpha: level of the two-sided test after correction: with Holm over m rivals the strictest is 0.05/m.
        power: between alpha and 1.

    Raises:
        UsageError: as in :func:`power_of`, or a power that is not between alpha and 1.
    """
    from scipy import optimize  # deferred: only a report asks for it

    if sd == 0:
        _check_design(n, 1.0, alpha)
        return 0.0
    _check_design(n, sd, alpha)
    if not alpha < power < 1:
        raise UsageError(f"the power must lie between alpha ({alpha}) and 1, got {power}")
    high = 1.0
    while power_of(n, 1.0, high, alpha) < power:
        high *= 2
    return sd * float(optimize.brentq(lambda size: power_of(n, 1.0, size, alpha) - power, 0.0, high, xtol=1e-10))  # pyright: ignore[reportArgumentType]


def _check_design(n: int, sd: float, alpha: float) -> None:
    if n < 2:
        raise UsageError(f"a paired test needs at least two pairs, got {n}")
    if not (math.isfinite(sd) and sd > 0):
        raise UsageError(f"the standard deviation of the differences must be above 0 and finite, got {sd}")
    if not 0 < alpha < 1:
        raise UsageError(f"the level of a test must lie between 0 and 1, got {alpha}")
