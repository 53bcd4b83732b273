"""Comparisons of all arms with a baseline, in one table or several, with one correction over the whole family."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal, TypeVar, cast

import numpy as np

from bpfree.errors import UsageError, unknown_name
from bpfree.stats.crossed import Cell, crossed_comparison, study_means
from bpfree.stats.intervals import LEVEL, Paired, Values, paired_difference, paired_ratio
from bpfree.stats.intervals import pairs as pairs_of
from bpfree.stats.planning import least_detectable_difference
from bpfree.stats.significance import Equivalence, PValue, holm, tost, wilcoxon
from bpfree.stats.unpaired import Welch, paired_correlation, welch
from bpfree.stats.words import Evidence, Quantity, Verdict, judge

__all__ = ["Comparison", "TableValues", "compare_family", "compare_tables", "family_words", "verdict"]

Key = TypeVar("Key", bound=Hashable)


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """One arm against the baseline in one quantity: what decides, and second opinions.

    Attributes:
        paired: the paired interval.
        p_holm: p value for no difference, corrected over the family.
        equivalence: TOST at the margin; ``equivalent`` is after the correction, ``p_value`` before it.
        p_equivalence_holm: p value of TOST, corrected over the family.
        wilcoxon: the signed-rank test.
        verdict: the word.
        family_size: comparisons over which Holm's correction ran.
        welch: interval and test without pairing (of a ratio: of the logarithms); ``None`` without a pair.
        correlation: of the two arms over seeds (of a ratio: of the logarithms); ``None`` below three pairs.
        least_detectable: the smallest true difference that this many pairs with this spread show with a chance of 0.8 at the
            strictest level of the family, α over its size: in the unit of the values, or ln of a ratio. ``None`` below two
            pairs or where all pairs differ by the same amount.
    """

    paired: Paired
    p_holm: float | None
    equivalence: Equivalence
    wilcoxon: PValue
    verdict: Verdict
    p_equivalence_holm: float | None = None
    family_size: int = 1
    welch: Welch | None = None
    correlation: float | None = None
    least_detectable: float | None = None


@dataclass(frozen=True, kw_only=True)
class TableValues:
    """The values of one table in one quantity, and what qualifies its words; fields as in :func:`compare_family`.

    ``crossed``: the values are mappings by (split, study), and intervals and tests those of
    :func:`~bpfree.stats.crossed_comparison`.
    """

    values: Mapping[str, Values]
    baseline: str
    margin: float
    scale: Literal["difference", "ratio"] = "difference"
    quantity: Quantity = "score"
    higher_is_better: bool = True
    percent: bool = True
    claims_allowed: bool = True
    lost: Mapping[str, str] = field(default_factory=dict)
    unequal_search: Mapping[str, str] = field(default_factory=dict)
    crossed: bool = False

    def __post_init__(self) -> None:
        if self.baseline not in self.values:
            raise unknown_name("baseline arm", self.baseline, self.values)
        if self.scale not in ("difference", "ratio"):
            raise UsageError(f"scale must be 'difference' or 'ratio', got {self.scale!r}")
        if self.quantity != "score" and self.scale != "ratio":
            raise UsageError(f"times and energies are compared by their ratio, got scale {self.scale!r} for {self.quantity}")


def verdict(
    paired: Paired,
    *,
    margin: float,
    higher_is_better: bool = True,
    p_adjusted: float | None = None,
    p_equivalence: float | None = None,
    percent: bool = True,
    alpha: float | None = None,
    claims_allowed: bool = True,
    quantity: Quantity = "score",
) -> Verdict:
    """Turn one paired comparison into a word; see :mod:`bpfree.stats.words` for the words and their conditions.

    Args:
        paired: A against B.
        margin: of equivalence, in the unit of the values, or relative for a ratio (:func:`~bpfree.stats.tost`).
        higher_is_better: true for accuracy, false for memory.
        p_adjusted: the p value after Holm's correction; a difference then has to survive it as well.
        p_equivalence: that of TOST after Holm's correction; uncorrected by default.
        percent: whether the values of a difference are fractions, to be printed in percentage points.
        alpha: level of both tests, by default 1 less the level of the interval.
        claims_allowed, quantity: as in :class:`~bpfree.stats.Evidence`.

    Raises:
        UsageError: a margin that is not above 0.
    """
    return judge(
        Evidence(
            paired=paired,
            p_difference=paired.p_value if p_adjusted is None else p_adjusted,
            p_equivalence=tost(paired, margin).p_value if p_equivalence is None else p_equivalence,
            margin=margin,
            alpha=1 - paired.interval.level if alpha is None else alpha,
            claims_allowed=claims_allowed,
            quantity=quantity,
            higher_is_better=higher_is_better,
            percent=percent,
            corrected=p_adjusted is not None,
        )
    )


def compare_family(
    values: Mapping[str, Values],
    baseline: str,
    *,
    margin: float,
    scale: Literal["difference", "ratio"] = "difference",
    higher_is_better: bool = True,
    level: float = LEVEL,
    percent: bool = True,
    alpha: float | None = None,
    quantity: Quantity = "score",
    claims_allowed: bool = True,
    lost: Mapping[str, str] | None = None,
    unequal_search: Mapping[str, str] | None = None,
) -> dict[str, Comparison]:
    """All arms against one baseline in one quantity, with Holm's correction over them.

    Args:
        values: one value per seed, by arm; finite (a run that diverged is left out, and its seed is then named).
        baseline: the arm to compare with, usually ``"backprop"``.
        margin: of equivalence, as in :func:`verdict`; of accuracies after :func:`~bpfree.stats.resolved_margin`.
        scale: ``"difference"`` for accuracies, ``"ratio"`` for energies and times.
        higher_is_better: as in :func:`verdict`.
        level: confidence of the intervals.
        percent: as in :func:`verdict`.
        alpha: level of the family, by default 1 - level; at one of several looks that of
            :func:`~bpfree.stats.level_at_look`.
        quantity: ``"time"`` and ``"energy"`` have words of their own.
        claims_allowed: see :class:`~bpfree.stats.Evidence`.
        lost: by arm, the baseline included, its lost or diverged runs in words ("1 of 5 runs diverged").
        unequal_search: by arm, the baseline included, how its search differs from the others', in words.

    Returns:
        By arm, without the baseline, in the order of ``values``.

    Raises:
        UnknownNameError: the baseline is no arm.
        UsageError: an unknown scale, or what :func:`~bpfree.stats.paired_difference` and
            :func:`~bpfree.stats.paired_ratio` refuse.
    """
    table = TableValues(
        values=values,
        baseline=baseline,
        margin=margin,
        scale=scale,
        quantity=quantity,
        higher_is_better=higher_is_better,
        percent=percent,
        claims_allowed=claims_allowed,
        lost=lost or {},
        unequal_search=unequal_search or {},
    )
    return compare_tables({"": table}, level=level, alpha=alpha)[""]


def compare_tables(
    tables: Mapping[Key, TableValues], *, level: float = LEVEL, alpha: float | None = None
) -> dict[Key, dict[str, Comparison]]:
    """Several tables as one family: one Holm correction over all their comparisons, and one over all their TOSTs.

    The chance of one false difference in the family is at most alpha, and so is that of one false equivalence.

    Args:
        tables: by any key: data sets and nets of a merged report, or quantities of one table.
        level: confidence of the intervals, which are not corrected.
        alpha: level of the family, by default 1 - level.

    Returns:
        By table and arm, without the baselines. :func:`family_words` says what the family was.
    """
    alpha = 1 - level if alpha is None else alpha
    both = {
        (key, arm): _paired(table, arm, level) for key, table in tables.items() for arm in table.values if arm != table.baseline
    }
    paired = {name: pairs for name, (pairs, _) in both.items()}
    equivalences = {name: _equivalence(*of_arm, tables[name[0]].margin, alpha) for name, of_arm in both.items()}
    p_difference = holm({name: pairs.p_value for name, pairs in paired.items()})
    p_equivalence = holm({name: equivalence.p_value for name, equivalence in equivalences.items()})
    size = sum(p is not None for p in p_difference.values())
    compared: dict[Key, dict[str, Comparison]] = {key: {} for key in tables}
    for (key, arm), pairs in paired.items():
        table, p_equal = tables[key], p_equivalence[key, arm]
        evidence = Evidence(
            paired=pairs,
            p_difference=p_difference[key, arm],
            p_equivalence=p_equal,
            margin=table.margin,
            alpha=alpha,
            claims_allowed=table.claims_allowed,
            lost=table.lost.get(arm, ""),
            baseline_lost=table.lost.get(table.baseline, ""),
            unequal_search=table.unequal_search.get(arm, "") or table.unequal_search.get(table.baseline, ""),
            quantity=table.quantity,
            higher_is_better=table.higher_is_better,
            percent=table.percent,
            corrected=True,
        )
        samples = _working_samples(table, arm)
        compared[key][arm] = Comparison(
            paired=pairs,
            p_holm=p_difference[key, arm],
            equivalence=replace(equivalences[key, arm], equivalent=p_equal is not None and p_equal < alpha),
            wilcoxon=wilcoxon(pairs),
            verdict=judge(evidence),
            p_equivalence_holm=p_equal,
            family_size=size,
            welch=welch(*samples, level) if pairs.n else None,
            correlation=paired_correlation(*samples),
            least_detectable=_least_detectable(pairs, alpha / max(size, 1)),
        )
    return compared


def family_words(n_rivals: Mapping[Key, int]) -> str:
    """What Holm's correction ran over, in words.

    >>> family_words({"mnist": 4})
    "Holm's correction over 4 comparisons with the baseline in one table"

    Args:
        n_rivals: rivals of the baseline, by table.
    """
    total, n_tables = sum(n_rivals.values()), len(n_rivals)
    comparisons = f"{total} comparison{'s' if total != 1 else ''} with the baseline"
    return f"Holm's correction over {comparisons} in {'one table' if n_tables == 1 else f'{n_tables} tables together'}"


def _paired(table: TableValues, arm: str, level: float) -> tuple[Paired, float | None]:
    """The comparison with the baseline, and where studies are crossed with splits the p value of their own TOST."""
    values, baseline = table.values[arm], table.values[table.baseline]
    if table.crossed:
        cells, theirs = cast("Mapping[Cell, float]", values), cast("Mapping[Cell, float]", baseline)
        return crossed_comparison(cells, theirs, table.margin, table.scale, level)
    return (paired_ratio if table.scale == "ratio" else paired_difference)(values, baseline, level), None


def _equivalence(paired: Paired, p_crossed: float | None, margin: float, alpha: float) -> Equivalence:
    """TOST over the pairs; of crossed studies the less favourable of it and of theirs."""
    equivalence = tost(paired, margin, alpha)
    if p_crossed is None or equivalence.p_value is None:
        return equivalence
    p_value = max(equivalence.p_value, p_crossed)
    return replace(equivalence, p_value=p_value, equivalent=p_value < alpha)


def _working_samples(table: TableValues, arm: str) -> tuple[np.ndarray, np.ndarray]:
    """Values of both arms at their common seeds, on the scale of the test."""
    if table.crossed:
        cells = cast("Mapping[Cell, float]", table.values[arm]), cast("Mapping[Cell, float]", table.values[table.baseline])
        return study_means(*cells, table.scale)
    a, b, _ = pairs_of(table.values[arm], table.values[table.baseline])
    return (np.log(a), np.log(b)) if table.scale == "ratio" else (a, b)


def _least_detectable(paired: Paired, alpha: float) -> float | None:
    if not paired.sd or not 0 < alpha < 1:
        return None
    return least_detectable_difference(paired.n, paired.sd, alpha)
