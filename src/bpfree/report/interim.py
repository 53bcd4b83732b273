"""How often the results of a table may have been looked at while it grew, and the level that the present look has.

Where results decide whether seeds are added, every addition is one more chance to claim a difference that is not there. What a
command was to run stands in the plan of each of its records, so that looks can be counted from records alone: a resumed command
has the plan of the one before, and is no further look.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bpfree import stats
from bpfree.records import Record

__all__ = ["ALPHA", "Looks", "looks_of"]

ALPHA = 1 - stats.LEVEL
"""Of a table that is planned and tested once."""


@dataclass(frozen=True)
class Looks:
    """Attributes:
    sizes: seeds or studies planned at each look, rising; the first is the plan.
    n_ended: those that have ended in every arm.
    noun: ``"seed"`` or ``"study"``.
    """

    sizes: tuple[int, ...]
    n_ended: int
    noun: str = "seed"

    @property
    def added(self) -> bool:
        """Whether more was planned after the results of the first plan."""
        return len(self.sizes) > 1

    @property
    def unfinished(self) -> bool:
        """Whether the one plan has not been run to its end."""
        return not self.added and self.n_ended < self.sizes[0]

    @property
    def level(self) -> float:
        """Of the tests at this look: the whole level for one plan that has been run, by O'Brien and Fleming before its end.

        The first plan spends all of it, so that nothing is left for what is added.
        """
        if self.added:
            return stats.level_at_look(len(self.sizes), self.sizes, self.sizes[0], ALPHA)
        return stats.level_at_look(1, [max(1, min(self.n_ended, self.sizes[0]))], self.sizes[0], ALPHA)


def looks_of(arms: Mapping[str, Sequence[Record]]) -> Looks:
    """The looks of one table."""
    runs = [run for of_arm in arms.values() for run in of_arm]
    plans: dict[tuple[object, ...], str] = {}
    for run in runs:
        plan = run.plan.get("seeds" if run.study is None else "studies")
        if isinstance(plan, list) and plan:
            key = tuple(sorted(plan))
            plans[key] = min(plans.get(key, run.started_at), run.started_at)
    sizes: list[int] = []
    together: set[object] = set()
    for plan in sorted(plans, key=lambda plan: (plans[plan], len(plan))):
        together |= set(plan)
        if not sizes or len(together) > sizes[-1]:
            sizes.append(len(together))
    ended = min(len({run.replicate[1] for run in of_arm if run.status != "interrupted"}) for of_arm in arms.values())
    noun = "seed" if runs[0].study is None else "study"
    return Looks(tuple(sizes) or (max(ended, 1),), ended, noun)
