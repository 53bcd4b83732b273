"""What must be known before times, energies and convergence are quoted: ends, passes, load, turns, simultaneous directories."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence
from fractions import Fraction

from bpfree.records import Record
from bpfree.report.audit import Flag, mistake
from bpfree.report.material import Material
from bpfree.report.model import ArmRow, Table
from bpfree.report.phase_ends import ends_in_words, run_ends
from bpfree.report.windows import not_interleaved, simultaneous

__all__ = ["LOAD_LIMIT", "cost_flags", "directory_flags"]

LOAD_LIMIT = 0.1
"""Share of other processes in the busy processor time, in the mean over an arm's runs, from which the report says so."""


def cost_flags(table: Table, material: Material) -> Iterator[Flag]:
    """Flags of one table."""
    yield from _ends(table, material)
    yield from _unequal_passes(table)
    yield from _load(table)
    yield from _turns(table)


def directory_flags(material: Material) -> Iterator[Flag]:
    """Flags of several directories in one report, whatever their tables."""
    counts = {path: material.origins.count(path) for path in material.origins}
    for one, other, count in simultaneous(material.records, material.origins):
        yield Flag(
            "overlapping-windows",
            f"{count} of {counts[one]} runs in {one.name} were measured while runs in {other.name} were: they took processor "
            "time from each other, so times and energies of the two cannot be compared.",
        )


def _ends(table: Table, material: Material) -> Iterator[Flag]:
    """Runs that ended at the cap or by the clock, and arms that ended in different ways."""
    rules = material.ruleset
    ends_of = {row.label: run_ends(row.runs) for row in table.rows}
    for row in table.rows:
        hours, n = ends_of[row.label]["hours"], ends_of[row.label].total()
        if hours:
            limit = rules.for_arm(row.arm, *table.task).budget.max_hours
            after = f" after {limit:g} hours" if limit is not None else ""
            yield mistake(
                "cut-by-the-clock",
                f"{hours} of {n} runs of {row.label} were ended by the clock{after}, before patience or the cap on passes; on "
                "another machine they would end elsewhere, so their accuracies depend on its speed.",
            )
    capped, n = sum(ends["cap"] for ends in ends_of.values()), sum(ends.total() for ends in ends_of.values())
    unequal = len({_shares(row) for row in table.rows if ends_of[row.label]}) > 1
    by_arm = "; ".join(f"{row.label} {ends_in_words(row.runs)}" for row in table.rows if ends_of[row.label])
    if unequal:
        more = " More passes might help those that ended at the cap." if capped else ""
        yield Flag("unequal-ends", f"training did not end in the same way for all arms ({by_arm}).{more}")
    if capped and rules.stop.patience is not None:
        yield Flag(
            "ended-at-the-cap",
            f"{capped} of {n} runs ended at the cap on passes and not by patience, so this is no comparison of arms at their own "
            "convergence.",
        )


def _shares(row: ArmRow) -> frozenset[tuple[str, Fraction]]:
    """The share of runs that ended in each way."""
    counts = run_ends(row.runs)
    return frozenset((end, Fraction(count, counts.total())) for end, count in counts.items())


def _unequal_passes(table: Table) -> Iterator[Flag]:
    """Arms that took other numbers of steps in a pass, or saw other numbers of examples in it."""
    for key, what in (("steps", "steps"), ("examples_seen", "examples")):
        by_arm = {row.label: _per_pass(row.runs, key) for row in table.rows}
        known = {label: counts for label, counts in by_arm.items() if counts}
        if len(set(known.values())) > 1:
            counts = "; ".join(f"{label} {' or '.join(_count(each) for each in sorted(c))}" for label, c in known.items())
            yield mistake("unequal-passes", f"a pass had different numbers of {what} ({counts}).")


def _per_pass(runs: Sequence[Record], key: str) -> frozenset[Fraction]:
    counts = ((getattr(run, key), run.passes) for run in runs)
    return frozenset(Fraction(count, passes) for count, passes in counts if count is not None and passes)


def _count(value: Fraction) -> str:
    return f"{value.numerator:,}" if value.denominator == 1 else f"{float(value):,.1f}"


def _load(table: Table) -> Iterator[Flag]:
    means = {
        row.label: statistics.fmean(known)
        for row in table.rows
        if (known := [run.other_load for run in row.runs if run.other_load is not None])
    }
    loaded = {label: mean for label, mean in means.items() if mean >= LOAD_LIMIT}
    if loaded:
        shares = ", ".join(f"{label} {share:.0%}" for label, share in loaded.items())
        yield Flag(
            "other-load",
            f"other processes had a share in the busy processor time ({shares} in the mean over its runs), so times and energies "
            "are those of a busy machine; processor seconds suffer less.",
        )


def _turns(table: Table) -> Iterator[Flag]:
    pairs = not_interleaved({row.label: row.runs for row in table.rows})
    if pairs:
        which = "; ".join(f"all runs of {one} began before any of {other}" for one, other in pairs[:MOST_PAIRS])
        more = f"; and {len(pairs) - MOST_PAIRS} more pairs" if len(pairs) > MOST_PAIRS else ""
        yield Flag(
            "not-interleaved",
            f"the arms did not take turns ({which}{more}): what else the machine did then is in ratios of times and energies.",
        )


MOST_PAIRS = 3
"""Pairs of arms that a flag names."""
