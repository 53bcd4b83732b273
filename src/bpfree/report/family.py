"""All comparisons of a report with their baselines: accuracies as one family over all tables, times and energies likewise."""

from __future__ import annotations

import dataclasses
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from bpfree import stats
from bpfree.bits import unpack_correct
from bpfree.errors import RunDirectoryError, UsageError
from bpfree.records import Record
from bpfree.report.interim import ALPHA, Looks
from bpfree.report.material import Material, Task
from bpfree.report.quantities import ACCURACY, ENERGY, TIME, Quantity
from bpfree.report.replicates import is_crossed, pair_key

__all__ = ["Compared", "Contest", "compare_all", "compare_with_controls", "lost_words", "values_of"]


@dataclass(frozen=True, kw_only=True)
class Contest:
    """The arms of one table, before they are compared.

    Attributes:
        margin: of equivalence of accuracies, a fraction, not finer than one test example.
        unequal_search: by arm; see :func:`bpfree.report.unequal_search.unequal_search`.
    """

    task: Task
    arms: Mapping[str, Sequence[Record]]
    baseline: str
    margin: float
    unequal_search: Mapping[str, str]
    looks: Looks

    @property
    def crossed(self) -> bool:
        """Whether there are several splits."""
        return is_crossed([run for runs in self.arms.values() for run in runs])


@dataclass(frozen=True)
class Compared:
    """One arm against the baseline of its table; ``bootstrap`` is None where a run has no correctness per example."""

    accuracy: stats.Comparison
    time: stats.Comparison
    energy: stats.Comparison
    bootstrap: stats.Interval | None


def values_of(runs: Sequence[Record], quantity: Quantity, crossed: bool) -> dict[Any, float]:
    """By pair, of the runs that ended ``ok``; none at all where one of them lacks the quantity.

    A mean over those that happen to have it would be of another set of runs than its neighbours in the row.
    """
    finished = [(pair_key(run, crossed), quantity.pick(run)) for run in runs if run.status == "ok"]
    known = {pair: value for pair, value in finished if value is not None and math.isfinite(value)}
    return known if len(known) == len(finished) else {}


def lost_words(runs: Sequence[Record]) -> str:
    """``"1 of 5 runs diverged"``; empty where none was lost."""
    counts = Counter(run.status for run in runs)
    lost = {status: count for status in ("diverged", "failed") if (count := counts.get(status, 0))}
    return " and ".join(f"{count} of {len(runs)} runs {status}" for status, count in lost.items())


def compare_all(contests: Sequence[Contest], material: Material) -> dict[Task, dict[str, Compared]]:
    """Every arm against the baseline of its table, the baseline again under another label included.

    Holm's correction runs over all comparisons of accuracy in all tables, and so it does over their tests of equivalence; ratios
    of time and of energy are two more families. A control is no claim, and stands in no family.
    """
    level = _level(contests)
    rivals = [_without_controls(contest) for contest in contests]
    by_task: dict[Task, dict[str, Compared]] = {contest.task: {} for contest in contests}
    families = [_family(rivals, material, level)]
    families += [
        _family([_only(contest, arm)], material, level)
        for contest in contests
        for arm in contest.arms
        if arm != contest.baseline and _is_control(contest, arm)
    ]
    for family in families:
        for task, arms in family.items():
            by_task[task] |= arms
    return by_task


def compare_with_controls(contests: Sequence[Contest], material: Material) -> dict[tuple[Task, str], dict[str, stats.Comparison]]:
    """Test accuracies of every arm against each control whose hidden blocks learn nothing, by table and control.

    They are one family of their own: Holm's correction runs over all of them in all tables.
    """
    level = _level(contests)
    values = {
        (contest.task, control): _scores(_against(contest, control), material.ruleset.claims)
        for contest in contests
        for control, runs in contest.arms.items()
        if runs[0].untrained_control
    }
    return stats.compare_tables(values, alpha=level) if values else {}


def _against(contest: Contest, control: str) -> Contest:
    """The same with this baseline, less repetitions of the old one and other such controls."""
    arms = {
        arm: runs for arm, runs in contest.arms.items() if arm == control or not (runs[0].control or runs[0].untrained_control)
    }
    return dataclasses.replace(contest, arms=arms, baseline=control)


def _level(contests: Sequence[Contest]) -> float:
    return min((contest.looks.level for contest in contests if contest.looks.level > 0), default=ALPHA)


def _is_control(contest: Contest, arm: str) -> bool:
    return any(run.control for run in contest.arms[arm])


def _without_controls(contest: Contest) -> Contest:
    rivals = {a: runs for a, runs in contest.arms.items() if a == contest.baseline or not _is_control(contest, a)}
    return dataclasses.replace(contest, arms=rivals)


def _only(contest: Contest, arm: str) -> Contest:
    return dataclasses.replace(contest, arms={a: contest.arms[a] for a in (contest.baseline, arm)})


def _family(contests: Sequence[Contest], material: Material, alpha: float) -> dict[Task, dict[str, Compared]]:
    rules = material.ruleset
    scores = stats.compare_tables({c.task: _scores(c, rules.claims) for c in contests}, alpha=alpha)
    margin = rules.energy_equivalence_margin
    times = stats.compare_tables({c.task: _costs(c, TIME, margin, rules.claims) for c in contests}, alpha=alpha)
    energies = stats.compare_tables({c.task: _costs(c, ENERGY, margin, rules.claims) for c in contests}, alpha=alpha)
    return {
        c.task: {
            arm: Compared(scores[c.task][arm], times[c.task][arm], energies[c.task][arm], _bootstrap(c, arm))
            for arm in c.arms
            if arm != c.baseline
        }
        for c in contests
    }


def _scores(contest: Contest, claims_allowed: bool) -> stats.TableValues:
    values = {arm: values_of(runs, ACCURACY, contest.crossed) for arm, runs in contest.arms.items()}
    return _table(contest, values, margin=contest.margin, claims_allowed=claims_allowed)


def _costs(contest: Contest, quantity: Quantity, margin: float, claims_allowed: bool) -> stats.TableValues:
    """Ratios of what all runs of both arms have, above 0."""
    values = {arm: values_of(runs, quantity, contest.crossed) for arm, runs in contest.arms.items()}
    positive = {arm: known if all(value > 0 for value in known.values()) else {} for arm, known in values.items()}
    kind: Any = "time" if quantity is TIME else "energy"
    return _table(contest, positive, margin=margin, scale="ratio", quantity=kind, claims_allowed=claims_allowed)


def _table(contest: Contest, values: Mapping[str, Mapping[Any, float]], **options: Any) -> stats.TableValues:
    return stats.TableValues(
        values=values,
        baseline=contest.baseline,
        lost={arm: words for arm, runs in contest.arms.items() if (words := lost_words(runs))},
        unequal_search=contest.unequal_search,
        crossed=contest.crossed,
        **options,
    )


def _bootstrap(contest: Contest, arm: str) -> stats.Interval | None:
    """Over seeds (or studies) and test examples; on several splits the test examples differ, and there is none."""
    if contest.crossed:
        return None
    mine, theirs = (_correct(contest.arms[each]) for each in (arm, contest.baseline))
    sizes = {bits.size for bits in [*mine.values(), *theirs.values()]}
    if not mine.keys() & theirs.keys() or len(sizes) != 1:
        return None
    return _bootstrap_of(*(tuple((pair, bits.tobytes()) for pair, bits in sorted(arm.items())) for arm in (mine, theirs)))


@lru_cache(maxsize=64)
def _bootstrap_of(mine: tuple[tuple[int, bytes], ...], theirs: tuple[tuple[int, bytes], ...]) -> stats.Interval:
    """Kept, because a command asks for its report several times, and many seeds take seconds."""
    arms = ({pair: np.frombuffer(bits, dtype=np.bool_) for pair, bits in arm} for arm in (mine, theirs))
    return stats.bootstrap_by_seed(*arms)


def _correct(runs: Sequence[Record]) -> dict[int, Any]:
    """Which test examples each finished run classified rightly; none at all where a run has not kept it.

    Nor is there any where they do not give the accuracy of the record: it is then of other examples.
    """
    by_pair: dict[int, Any] = {}
    for run in (run for run in runs if run.status == "ok"):
        if run.correct is None or run.n_test is None or run.test_accuracy is None:
            return {}
        bits = _unpacked(run)
        if not abs(float(bits.mean()) - run.test_accuracy) < 0.5 / run.n_test:
            return {}
        by_pair[pair_key(run, crossed=False)] = bits
    return by_pair


def _unpacked(run: Record) -> Any:
    try:
        return unpack_correct(f"{run.n_test}:{run.correct}")
    except UsageError as error:
        raise RunDirectoryError(
            f"the record of {run.arm} on {run.dataset} with {run.net}, seed {run.seed}, has a damaged field correct ({error}); "
            "remove its line from records.jsonl, and the same command measures it again"
        ) from None
