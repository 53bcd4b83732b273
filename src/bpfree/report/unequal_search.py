"""Arms that were not searched as the others of their table: what they fix, and how many trials they had."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from bpfree.records import Record
from bpfree.report.material import Material, Task

__all__ = ["fixed_by_all", "fixed_names", "unequal_search"]

USUALLY_SEARCHED = frozenset({"lr", "weight_decay"})
"""Searched for every rule, where old records do not say what was."""


def fixed_names(arms: Mapping[str, Sequence[Record]], material: Material, task: Task) -> dict[str, frozenset[str]]:
    """By arm, the hyper-parameters that it fixes although the search of the table has them.

    Records before schema 2 do not say so; of them it is what their label fixes of what another arm searched.
    """
    return {arm: _fixed(runs, material, task) for arm, runs in arms.items()}


def fixed_by_all(fixed: Mapping[str, frozenset[str]]) -> frozenset[str]:
    """What every arm fixes: among those names no search is unequal."""
    return frozenset.intersection(*fixed.values()) if fixed else frozenset()


def unequal_search(
    arms: Mapping[str, Sequence[Record]], baseline: str, material: Material, task: Task, labels: Mapping[str, str]
) -> dict[str, str]:
    """By arm, how its search differs from that of the others, in words; arms that were searched as the others are left out."""
    fixed = fixed_names(arms, material, task)
    common = fixed_by_all(fixed)
    words = {arm: _fixes(labels[arm], names - common, fixed) for arm, names in fixed.items() if names - common}
    trials = {arm: _trials(runs) for arm, runs in arms.items()}
    for arm, count in trials.items():
        if arm not in words and count != trials[baseline]:
            words[arm] = f"{labels[arm]} had {_in_trials(count)}, {labels[baseline]} {_in_trials(trials[baseline])}"
    return words


def _fixes(label: str, names: frozenset[str], fixed: Mapping[str, frozenset[str]]) -> str:
    listed = ", ".join(sorted(names))
    others = any(not names <= theirs for theirs in fixed.values())
    return f"{label} fixes {listed}, which {'the other arms search' if others else 'the ruleset searches'}"


def _fixed(runs: Sequence[Record], material: Material, task: Task) -> frozenset[str]:
    if all(run.schema_version >= 2 for run in runs):
        return frozenset(name for run in runs for name in run.unequal_search)
    if not material.ruleset.search.trials:
        return frozenset()
    rows = [row for row in material.tuned if (row.get("dataset"), row.get("net")) == task]
    searched = frozenset(name for row in rows for name in row.get("best") or {}) or USUALLY_SEARCHED
    labelled = frozenset(part.partition("=")[0] for part in runs[0].variant.split(":") if part)
    return labelled & searched


def _trials(runs: Sequence[Record]) -> int:
    return max((run.tuning_energy.trials for run in runs if run.tuning_energy), default=0)


def _in_trials(count: int) -> str:
    return f"{count} trial{'s' if count != 1 else ''}" if count else "no search"
