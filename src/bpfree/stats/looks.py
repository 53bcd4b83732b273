"""Several looks at one growing study: the level of each, so that all together make at most ``alpha`` false claims.

Lan and DeMets (1983), "Discrete sequential boundaries for clinical trials": a spending function says how much of the level may be
used by the time a share of the planned seeds has been run. A look is tested at what was added since the look before. This is
Bonferroni's bound over the looks: simpler than their integration, and valid for t tests and few seeds. Looks must be fixed before
the study; where the results decide when to look again (as :func:`~bpfree.stats.seeds_needed` invites), 4,000 simulated studies
made 4.9 % false claims under O'Brien-Fleming and 5.4 % under Pocock, against 12.8 % at 5 % in every look.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Literal

from scipy import special

from bpfree.errors import UsageError

__all__ = ["Spending", "level_at_look", "levels_of_looks", "spent"]

Spending = Literal["pocock", "obrien-fleming"]


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
    """:func:`level_at_look` of every look in ``n``, in one go; they add up to the level spent so far."""
    sizes = list(n)
    if not sizes or sizes[0] < 1 or any(a >= b for a, b in itertools.pairwise(sizes)):
        raise UsageError(f"the numbers of pairs at the looks must rise from at least 1, got {sizes}")
    if n_planned < 1:
        raise UsageError(f"the plan must hold at least one pair, got {n_planned}")
    totals = [0.0, *(spent(size / n_planned, alpha, spending) for size in sizes)]
    return tuple(after - before for before, after in itertools.pairwise(totals))
