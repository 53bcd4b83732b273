"""Flags about the searches: arms that were not searched alike, values at an edge, and searches that could not tell.

What a search cannot tell, chance decides, and with one search for all seeds no interval says so. Under a ruleset of several
studies the luck of the search is in the intervals, and only values at an edge in most of the studies are flagged.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from bpfree.report.audit import Flag, mistake
from bpfree.report.material import Material
from bpfree.report.model import ArmRow, Table
from bpfree.report.unequal_search import fixed_by_all, fixed_names

__all__ = ["search_flags"]

APART = 3.0
"""Learning rates whose ratio is larger make runs of another kind."""

STANDARD_ERRORS = 2.0
"""Trials within so many of the best are not told apart from it."""


def search_flags(table: Table, material: Material) -> Iterator[Flag]:
    """All flags of one table, most serious first."""
    yield from _unequal(table, material)
    yield from _short_trials(table, material)
    for row in table.rows:
        searches = _searches(row, table, material)
        yield from _not_searched(row, searches)
        yield from _edges(row, searches)
        if len(searches) == 1:
            yield from _not_told_apart(row, searches[0])


def _unequal(table: Table, material: Material) -> Iterator[Flag]:
    fixed = fixed_names({row.arm: row.runs for row in table.rows}, material, table.task)
    common = fixed_by_all(fixed)
    if common:
        text = f"every arm fixes {', '.join(sorted(common))}: the table compares these values, not rules at their best."
        yield Flag("fixed-hyper-parameters", text)
    for row in table.rows:
        if fixed[row.arm] - common:
            yield mistake("unequal-search", f"{table.unequal_search[row.arm]}{_consequence(row, table)}.")


def _consequence(row: ArmRow, table: Table) -> str:
    if row.index:
        return "; it gets no verdict"
    return f"; there is no {row.runs[0].algorithm} that was searched, so it is the baseline and no verdict stands"


def _searches(row: ArmRow, table: Table, material: Material) -> list[Mapping[str, Any]]:
    """What ``tuned.json`` says of the searches of one arm, one for each study and split."""
    wanted = (row.arm, *table.task)
    return [entry for entry in material.tuned if tuple(entry.get(key) for key in ("arm", "dataset", "net")) == wanted]


def _not_searched(row: ArmRow, searches: Sequence[Mapping[str, Any]]) -> Iterator[Flag]:
    """Hyper-parameters of a rule of another package for which neither it nor the ruleset has a range."""
    left = {name: value for entry in searches for name, value in (entry.get("not_searched") or {}).items()}
    if left:
        values = ", ".join(f"{name} ({_short(value)})" for name, value in sorted(left.items()))
        verb = "was" if len(left) == 1 else "were"
        text = f"of {row.label}, {values} {verb} not searched: neither the rule nor the ruleset has a range."
        yield Flag("not-searched", text)


def _short_trials(table: Table, material: Material) -> Iterator[Flag]:
    rules = material.ruleset
    if not rules.search.trials:
        return
    searches = [entry for row in table.rows for entry in _searches(row, table, material)]
    if searches and not any(entry.get("best") for entry in searches):
        return  # every arm fixes all that could be searched
    parts = []
    trial, run = rules.trial_passes(table.dataset), rules.passes(table.dataset)
    if trial < run:
        parts.append(f"{trial} of {run} passes")
    examples = {(e["examples_per_trial"], e["examples_per_run"]) for e in searches if e.get("examples_per_run")}
    parts += [f"{few:,} of {all_:,} training examples" for few, all_ in sorted(examples) if few < all_]
    if parts:
        text = f"trials were shorter than runs ({', '.join(parts)}): the values that they chose favour arms that learn early."
        yield Flag("short-trials", text)


def _edges(row: ArmRow, searches: Sequence[Mapping[str, Any]]) -> Iterator[Flag]:
    """A value at the edge in most of the searches of an arm, with what its trials came to."""
    for name in dict.fromkeys(name for entry in searches for name in entry.get("at_edge") or []):
        at_edge = [entry for entry in searches if name in (entry.get("at_edge") or [])]
        if 2 * len(at_edge) <= len(searches):
            continue
        first = at_edge[0]
        studies = f" in {len(at_edge)} of {len(searches)} searches" if len(searches) > 1 else ""
        tried = _trial_values(name, first)
        text = (
            f"the {name} of {row.label}, {_short(first['best'][name])}, lies at an edge of what was searched "
            f"({(first.get('space') or {}).get(name, 'range unknown')}){studies}, so a better value may lie outside{tried}."
        )
        yield Flag("edge-of-space", text)


def _trial_values(name: str, entry: Mapping[str, Any]) -> str:
    """``"; its trials: 0.0093 gave 97.50 %, ..."``, best first."""
    trials = sorted(_finished(entry), key=lambda trial: -trial["val_accuracy"])
    shown = [f"{_short(t['values'][name])} gave {100 * t['val_accuracy']:.2f} %" for t in trials if name in t["values"]]
    return f"; trials: {', '.join(shown)}" if shown else ""


def _finished(entry: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [trial for trial in entry.get("tried") or [] if not trial.get("diverged")]


def _not_told_apart(row: ArmRow, entry: Mapping[str, Any]) -> Iterator[Flag]:
    """Learning rates more than :data:`APART` times apart within two standard errors √(p (1 - p) / n) of the best trial."""
    n, trials = entry.get("n_validation"), [trial for trial in _finished(entry) if "lr" in trial["values"]]
    if not n or len(trials) < 2:
        return
    best = max(trial["val_accuracy"] for trial in trials)
    error = math.sqrt(best * (1 - best) / n)
    near = [trial["values"]["lr"] for trial in trials if trial["val_accuracy"] >= best - STANDARD_ERRORS * error]
    if max(near) > APART * min(near):
        text = (
            f"the search of {row.label} could not tell lr {_short(min(near))} from {_short(max(near))}: {len(near)} of its "
            f"{len(trials)} trials lie within two standard errors ({100 * STANDARD_ERRORS * error:.2f} points, {n:,} validation "
            "examples) of the best."
        )
        yield Flag("search-could-not-tell", text)


def _short(value: object) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)
