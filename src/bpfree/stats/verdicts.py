"""The verdict in words: better, worse, equivalent, different but negligible, or inconclusive."""

from __future__ import annotations

import bisect
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from bpfree.errors import UsageError, unknown_name
from bpfree.stats.intervals import LEVEL, Paired, Values, paired_difference, paired_ratio, t_probability, t_quantile
from bpfree.stats.significance import Equivalence, PValue, holm, tost, wilcoxon

__all__ = ["Comparison", "Verdict", "Word", "compare_family", "seeds_needed", "verdict"]

Word = Literal["better", "worse", "equivalent", "different but negligible", "inconclusive"]

POWER = 0.8
"""Chance of a conclusion with the number of seeds that :func:`seeds_needed` names."""

MOST_SEEDS = 10_000
"""More seeds than this are not worth naming."""


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What may be said of arm A against arm B.

    ``seeds_needed`` is given with ``"inconclusive"`` only, ``None`` where it cannot be told or passes 10,000.
    """

    word: Word
    sentence: str
    seeds_needed: int | None = None


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """One arm against the baseline in one metric: what decides, and what stands beside it."""

    paired: Paired
    p_holm: float | None
    equivalence: Equivalence
    wilcoxon: PValue
    verdict: Verdict


def verdict(
    paired: Paired,
    *,
    margin: float,
    higher_is_better: bool = True,
    p_adjusted: float | None = None,
    percent: bool = True,
) -> Verdict:
    """Turn a paired comparison into a word; the paired t interval decides.

    =========================  ================================================================
    better, worse              the interval excludes no difference, and the difference may matter
    different but negligible   it does, but the difference is shown to be below the margin
    equivalent                 it does not, and the difference is shown to be below the margin
    inconclusive               neither could be shown with these seeds
    =========================  ================================================================

    Args:
        paired: A against B.
        margin: of equivalence, in the unit of the values, or relative for a ratio
        (:func:`~bpfree.stats.tost`). higher_is_better: true for accuracy, false for energy, time, memory.
        p_adjusted: the p value after Holm's correction; a difference then has to survive it as well.
        percent: do the values of a difference stand for fractions, to be said in percentage points?
    """
    alpha = 1 - paired.interval.level
    equivalence = tost(paired, margin, alpha)
    if paired.n < 2 or paired.interval.mean is None or paired.p_value is None:
        few = f"inconclusive: {paired.n} paired seed{'s' if paired.n != 1 else ''}, at least two are needed"
        return Verdict(word="inconclusive", sentence=few + _left_out(paired) + ".")
    p = paired.p_value if p_adjusted is None else max(p_adjusted, paired.p_value)
    null = 1.0 if paired.scale == "ratio" else 0.0
    different = paired.interval.excludes(null) and p < alpha
    word: Word = "inconclusive"
    needed = None
    if different and equivalence.equivalent:
        word = "different but negligible"
    elif different:
        word = "better" if (paired.interval.mean > null) == higher_is_better else "worse"
    elif equivalence.equivalent:
        word = "equivalent"
    else:
        strictness = 1.0 if p == 0 else min(1.0, paired.p_value / p)
        needed = seeds_needed(paired, margin, alpha_different=alpha * strictness, alpha_equivalent=alpha)
    tail = ""
    if word == "inconclusive":
        tail = f"; about {needed} seeds would settle it" if needed else "; no sensible number of seeds would settle it"
    corrected = "" if p_adjusted is None else " after Holm's correction"
    sentence = f"{word}: {_amount(paired, percent)}, p {_p(p)}{corrected}, {paired.n} paired seeds"
    return Verdict(word=word, sentence=f"{sentence}{_left_out(paired)}{tail}.", seeds_needed=needed)


def seeds_needed(paired: Paired, margin: float, *, alpha_different: float = 0.05, alpha_equivalent: float = 0.05) -> int | None:
    """How many pairs would settle it with a chance of 0.8, were mean and spread to stay as they are.

    The smallest n above the present one at which the t test would show a difference, by the usual approximation
    (t(1 - α/2, n - 1) + t(0.8, n - 1)) s/√n ≤ |d̄| (Cohen 1988, ch. 2), or at which TOST would show equivalence, with
    its power T((Δ - d̄)√n/s - t) + T((Δ + d̄)√n/s - t) - 1 ≥ 0.8, t = t(1 - α, n - 1) and T the distribution function
    of Student's t (Phillips 1990, with a central t). A rough guide: the present spread is itself an estimate.

    Args:
        paired: the comparison so far.
        margin: of equivalence, as in :func:`verdict`.
        alpha_different, alpha_equivalent: levels of the two claims.

    Returns:
        The number of pairs; ``None`` below two pairs, or where it passes 10,000.
    """
    sd = paired.sd
    if sd is None:
        return None
    bound = math.log1p(margin) if paired.scale == "ratio" else margin
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


def compare_family(
    values: Mapping[str, Values],
    baseline: str,
    *,
    margin: float,
    scale: Literal["difference", "ratio"] = "difference",
    higher_is_better: bool = True,
    level: float = LEVEL,
    percent: bool = True,
) -> dict[str, Comparison]:
    """All arms against one baseline in one metric, with Holm's correction over them.

    Args:
        values: one value per seed, by arm; finite (a run that diverged is left out, and its seed is then
        named). baseline: the arm to compare with, usually ``"backprop"``.
        margin: of equivalence, see :func:`verdict`.
        scale: ``"difference"`` for accuracies, ``"ratio"`` for energies and times.
        higher_is_better: as in :func:`verdict`.
        level: confidence of the intervals.
        percent: as in :func:`verdict`.
    """
    if baseline not in values:
        raise unknown_name("baseline arm", baseline, values)
    if scale not in ("difference", "ratio"):
        raise UsageError(f"scale must be 'difference' or 'ratio', got {scale!r}")
    compare = paired_ratio if scale == "ratio" else paired_difference
    pairs = {arm: compare(own, values[baseline], level) for arm, own in values.items() if arm != baseline}
    adjusted = holm({arm: paired.p_value for arm, paired in pairs.items()})
    return {
        arm: Comparison(
            paired=paired,
            p_holm=adjusted[arm],
            equivalence=tost(paired, margin, 1 - level),
            wilcoxon=wilcoxon(paired),
            verdict=verdict(
                paired,
                margin=margin,
                higher_is_better=higher_is_better,
                p_adjusted=adjusted[arm],
                percent=percent,
            ),
        )
        for arm, paired in pairs.items()
    }


def _amount(paired: Paired, percent: bool) -> str:
    i = paired.interval
    if i.mean is None or i.low is None or i.high is None:
        return "no interval"
    if paired.scale == "ratio":
        return f"{i.mean:.3g} times [{i.low:.3g}, {i.high:.3g}]"
    factor, unit, digits = (100, " points", ".2f") if percent else (1, "", ".3g")
    return f"{factor * i.mean:+{digits}}{unit} [{factor * i.low:+{digits}}, {factor * i.high:+{digits}}]"


def _p(p: float) -> str:
    return "< 0.001" if p < 0.001 else f"= {p:.2g}"


def _left_out(paired: Paired) -> str:
    if not paired.unpaired:
        return ""
    seeds = ", ".join(map(str, paired.unpaired))
    return f" (seed{'s' if len(paired.unpaired) > 1 else ''} {seeds} left out, run by one arm only)"
