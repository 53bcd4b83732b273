"""What must be known before a comparison is quoted, most serious first."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator, Mapping, Sequence

from bpfree.report.audit import Flag, audit, copied, mistake
from bpfree.report.classes import class_flags
from bpfree.report.cost_flags import cost_flags, directory_flags
from bpfree.report.energies import carbon_words
from bpfree.report.identity_flags import identity_flags
from bpfree.report.material import Material
from bpfree.report.model import Table
from bpfree.report.replicates import noun_of, number_words, numbers_of
from bpfree.report.search_flags import search_flags
from bpfree.report.seed_flags import seed_flags
from bpfree.units import format_energy

__all__ = ["Flag", "flags"]

MOST = 0.5
"""Share of dead units or tied scores above which a run is flagged."""


def flags(tables: Sequence[Table], material: Material) -> list[Flag]:
    """All flags of a report; empty where nothing is wrong. Each names its task where the report has several."""
    of_tables = [
        dataclasses.replace(flag, task=table.task_text) if len(tables) > 1 else flag
        for table in tables
        for flag in (
            *identity_flags(table, material),
            *search_flags(table, material),
            *audit(table, material),
            *_unequal(table, material),
            *seed_flags(table),
            *_lost(table),
            *class_flags(table),
            *cost_flags(table, material),
            *_measured(table),
            *_unhealthy(table),
        )
    ]
    return [*copied(tables, material), *of_tables, *_energies(material), *directory_flags(material)]


def _unequal(table: Table, material: Material) -> Iterator[Flag]:
    if table.rows[0].runs[0].algorithm != "backprop":
        yield Flag("no-backprop", f"there is no backprop arm; differences are to {table.baseline_label}.")
    yield from _unequal_search(table, material)
    for row in table.rows:
        one_search = [run for run in row.runs if run.study is None]  # every study has values of its own
        if any(run.params != one_search[0].params for run in one_search):
            yield Flag("different-hyper-parameters", f"the runs of {row.label} have different hyper-parameters.")
    pairs = [sorted(run.replicate for run in row.runs) for row in table.rows]
    if any(replicates != pairs[0] for replicates in pairs):
        sets = "; ".join(f"{row.label} {number_words(numbers_of(row.runs), noun_of(row.runs))}" for row in table.rows)
        yield Flag("different-seeds", f"the arms have different seeds ({sets}); a difference uses those that both arms have.")
    tiers = sorted({run.tier if run.parallel is None else f"{run.tier} in {run.parallel}" for run in table.runs})
    if len(tiers) > 1:
        text = f"the arms were executed in different ways ({', '.join(tiers)}); times and energies differ by that too."
        yield Flag("different-execution", text)


def _unequal_search(table: Table, material: Material) -> Iterator[Flag]:
    by_run = {row.label: [run.tuning_energy.trials for run in row.runs if run.tuning_energy] for row in table.rows}
    trials = {label: max(counts) for label, counts in by_run.items() if counts}
    if len(set(trials.values())) > 1:
        yield mistake("unequal-search", f"the arms had different numbers of trials ({_by_arm(trials)}).")
    tuned = {row.label: material.tuned_entry(row.runs[0]) for row in table.rows}
    entries = {label: entry for label, entry in tuned.items() if entry is not None}
    for key, what in (("passes_per_trial", "passes"), ("examples_per_trial", "training examples")):
        sizes = {label: entry.get(key) for label, entry in entries.items()}
        if len(set(sizes.values())) > 1:
            yield mistake("unequal-search", f"a trial had different numbers of {what} ({_by_arm(sizes)}).")


def _by_arm(counts: Mapping[str, object]) -> str:
    return ", ".join(f"{label} {count}" for label, count in counts.items())


def _lost(table: Table) -> Iterator[Flag]:
    for row in table.rows:
        for status, count in row.statuses.items():
            runs = f"{count} of {len(row.runs)} runs of {row.label}"
            causes = dict.fromkeys(run.reasons.get("status", "") for run in row.runs if run.status == status)
            why = "; ".join(list(filter(None, causes))[:2])
            if status == "interrupted":
                yield Flag("interrupted-runs", f"{runs} interrupted; the same command runs them again.")
            elif status != "ok":
                yield Flag("lost-runs", f"{runs} {status}{f' ({why})' if why else ''}, which counts against this arm.")
    planned = {pair for run in table.runs for pair in _planned(run.plan)}
    absent = planned - {(run.arm, run.replicate[1]) for run in table.runs}
    if absent:
        text = f"{len(absent)} of {len(planned)} planned runs are missing; the same command resumes with them."
        yield Flag("missing-runs", text)


def _planned(plan: Mapping[str, object]) -> Iterator[tuple[object, object]]:
    """Arms and seeds (or studies) that the command of a run was to measure; a later command may have added some."""
    arms, seeds = plan.get("arms"), plan.get("studies", plan.get("seeds"))
    if isinstance(arms, list) and isinstance(seeds, list):
        yield from itertools.product(arms, seeds)


def _unhealthy(table: Table) -> Iterator[Flag]:
    """Nets of which most units say nothing, or whose scores are mostly tied."""
    for row in table.rows:
        for key, what, shares in (
            ("dead-units", "of the units of a block are dead or saturated", [run.health.dead_units for run in row.runs]),
            ("tied-scores", "of the examples have tied scores", [run.health.tied_scores for run in row.runs]),
        ):
            worst = [max(of_run, default=0.0) for of_run in shares]
            if n_bad := sum(share > MOST for share in worst):
                text = f"in {n_bad} of {len(row.runs)} runs of {row.label} more than half {what} (up to {max(worst):.0%})."
                yield Flag(key, text.replace("%", " %"))


def _energies(material: Material) -> Iterator[Flag]:
    """Of all directories together: estimates that were left out, and grams of several grids."""
    if joules := material.estimated:
        text = (
            f"the energies of {len(joules)} of {len(material.records)} runs are estimates, not measurements "
            f"({format_energy(min(joules))} to {format_energy(max(joules))}): processor seconds times a constant. No arm is "
            "compared by them; the records have them, with their interval."
        )
        yield Flag("estimated-energy", text)
    if len(material.factors) > 1:
        named = "; ".join(carbon_words(factor) for factor in material.factors)
        used = next(run.carbon for run in material.records if run.co2e_g is not None)
        text = f"the runs were given several carbon factors ({named}); all CO₂e is computed again with {carbon_words(used)}."
        yield Flag("different-grids", text)


def _measured(table: Table) -> Iterator[Flag]:
    energies = [run.energy for run in table.runs if run.energy.joules is not None]
    unresolved = sum(not energy.resolved for energy in energies)
    if unresolved:
        text = f"in {unresolved} of {len(energies)} runs the window was too short for the energy counter."
        yield Flag("unresolved-energy", text)
