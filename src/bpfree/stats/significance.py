"""Equivalence by two one-sided tests, Holm's correction over a family, and the signed-rank test."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np

from bpfree.errors import UsageError
from bpfree.stats.intervals import Paired, bound_on_working_scale, t_probability

__all__ = ["Equivalence", "PValue", "holm", "tost", "wilcoxon"]

Key = TypeVar("Key", bound=Hashable)


@dataclass(frozen=True, kw_only=True)
class PValue:
    """A test's p value (two-sided), or ``None`` with the reason."""

    p_value: float | None
    n: int
    reason: str | None = None


@dataclass(frozen=True, kw_only=True)
class Equivalence:
    """Two one-sided tests: is the difference smaller than the margin, in either direction?

    ``p_value`` is the larger of the two; ``margin`` is in the unit of the comparison (a fraction of accuracy, or a relative
    difference of energy).
    """

    equivalent: bool
    p_value: float | None
    margin: float
    reason: str | None = None


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
    from scipy import stats  # deferred: it takes half a second to load, and only a report tests

    method: Any = "exact" if d.size <= 50 else "approx"
    if len(np.unique(np.abs(d))) < d.size or not d.all():  # scipy's table knows no ties and zeros
        method = stats.PermutationMethod(n_resamples=2**d.size) if d.size <= 12 else "approx"
    result: Any = stats.wilcoxon(d, zero_method="pratt", method=method)
    return float(result.pvalue)


def holm(p_values: Mapping[Key, float | None]) -> dict[Key, float | None]:
    """Adjusted p values of a family (Holm 1979): p_(i) becomes max over j ≤ i of min(1, (m - j + 1) p_(j)).

    Controls the chance of one false claim in the family, whatever the dependence between the tests. A test that could not be
    made (``None``) stays ``None`` and does not count.

    Args:
        p_values: of the tests of the family, each between 0 and 1, or ``None``.

    Raises:
        UsageError: a number outside [0, 1].
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

    Equivalent when both t = (d̄ + Δ) / (s/√n) and t = (Δ - d̄) / (s/√n) exceed t(1 - α, n - 1): the 1 - 2α interval then lies
    within ±Δ. For a ratio Δ = ln(1 + margin), so margin 0.05 means energies within a factor 1.05 of each other. Where all pairs
    show one and the same difference below Δ, each one-sided test is the sign test, p = 2^-n.

    Args:
        paired: the comparison.
        margin: the largest difference that does not matter, above 0: in the unit of the values, or relative for a ratio.
        alpha: chance of a false "equivalent" at the margin.

    Raises:
        UsageError: the margin is not above zero.
    """
    bound = bound_on_working_scale(margin, paired.scale)
    if paired.n < 2:
        reason = f"{paired.n} pair{'s' if paired.n != 1 else ''}; at least two are needed"
        return Equivalence(equivalent=False, p_value=None, margin=margin, reason=reason)
    d, n, sd = float(np.mean(paired.working)), paired.n, paired.sd
    if not sd:
        p = 0.5**n if abs(d) < bound else 1.0
    else:
        error = sd / math.sqrt(n)
        p = t_probability((abs(d) - bound) / error, n - 1)
    return Equivalence(equivalent=p < alpha, p_value=p, margin=margin)
