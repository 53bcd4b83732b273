"""What must be seen before a number is read, in a word or two each: the stamps at the top of a page."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from bpfree import stats
from bpfree.report.audit import Flag
from bpfree.report.material import Material
from bpfree.report.model import Table
from bpfree.report.phase_ends import run_ends
from bpfree.report.replicates import PLURALS
from bpfree.report.words import LOOK, standing
from bpfree.rulesets import EndReason
from bpfree.rulesets.ruleset import CHANGED

__all__ = ["Stamp", "stamps", "suite_stamps"]

_SERIOUS = frozenset({"unequal-search", "unequal-stopping", "copied-hyper-parameters", "same-seed", "added-seeds", "lost-runs"})
"""Kinds of flags that undo a comparison."""


_COUNTED = frozenset({"ended-at-the-cap"})
"""Kinds of flags of which :func:`_of_runs` counts the runs."""

_CUT: dict[EndReason, str] = {"cap": "CAP REACHED", "hours": "CUT BY THE CLOCK"}
"""Ends of runs that may have learned more."""


@dataclass(frozen=True)
class Stamp:
    """One stamp; ``grave`` where it may undo the comparison."""

    text: str
    grave: bool = False


def stamps(tables: Sequence[Table], material: Material, raised: Sequence[Flag]) -> list[Stamp]:
    """All stamps of a report, the gravest first; each kind of flag is one of them."""
    made = dict.fromkeys([*_of_rules(material), *_of_runs(tables), *_of_flags(raised)])
    return sorted(made, key=lambda stamp: not stamp.grave)


def suite_stamps(given: Sequence[str], raised: Sequence[Flag]) -> list[Stamp]:
    """Those of a suite: what it was given, then each further kind of flag."""
    kinds = [stamp for stamp in _of_flags(raised) if stamp.text not in given]
    return [*(Stamp(text, True) for text in given), *dict.fromkeys(kinds)]


def _of_rules(material: Material) -> Iterator[Stamp]:
    yield from (Stamp(text, True) for text in material.ruleset.stamps)
    if standing(material):
        yield Stamp(LOOK.upper(), True)
    if material.ruleset.name.endswith(CHANGED):
        yield Stamp("CHANGED RULES")


def _of_runs(tables: Sequence[Table]) -> Iterator[Stamp]:
    few = min(tables, key=lambda table: len(table.numbers))
    if len(few.numbers) < stats.LEAST_PAIRS:
        n = len(few.numbers)
        yield Stamp(f"FEW {PLURALS[few.noun].upper()}: {n}", True)
    ends = [run_ends(row.runs) for table in tables for row in table.rows]
    n_runs = sum(len(table.runs) for table in tables)
    for reason, words in _CUT.items():
        if count := sum(end[reason] for end in ends):
            yield Stamp(f"{words}: {count} OF {n_runs} RUNS")


def _of_flags(raised: Sequence[Flag]) -> Iterator[Stamp]:
    yield from (Stamp(flag.key.replace("-", " ").upper(), flag.key in _SERIOUS) for flag in raised if flag.key not in _COUNTED)
