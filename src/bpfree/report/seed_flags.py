"""Flags about seeds, studies and splits: sets that were chosen by hand, seeds added after a look, plans that are not finished."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from bpfree.report.audit import Flag, mistake
from bpfree.report.interim import Looks
from bpfree.report.model import Table
from bpfree.report.replicates import PLURALS, number_words, splits_of
from bpfree.stats.words import LEAST_PAIRS

__all__ = ["seed_flags"]


def seed_flags(table: Table) -> Iterator[Flag]:
    """All flags of one table, most serious first."""
    looks, many = table.looks, PLURALS[table.looks.noun]
    if looks.added:
        sizes = ", then ".join(map(str, looks.sizes))
        yield mistake(
            "added-seeds",
            f"{many} were added after results could be seen ({sizes}): adding until a difference shows claimed one that was not "
            f"there in 12.8 % of simulated tables. The plan of {looks.sizes[0]} has spent the whole level of 5 %, so nothing is "
            "judged; fix the number first, and run a new directory.",
        )
    if looks.unfinished:
        yield Flag("interim-look", _interim(looks, many))
    yield from _chosen(table.numbers, table.noun)
    yield from _chosen(splits_of(table.runs), "seed", "split ")


def _interim(looks: Looks, many: str) -> str:
    planned = looks.sizes[0]
    if looks.n_ended == 0:
        one = looks.noun if planned == 1 else many
        return f"no {looks.noun} of {planned} planned {one} has ended in every arm: there is nothing to test yet."
    before = f"{looks.n_ended} of {planned} planned {many} have ended in every arm: a look before the end"
    if looks.n_ended < LEAST_PAIRS:
        return f"{before}, which judges nothing: at least {LEAST_PAIRS} are needed."
    return f"{before}, tested at a level of {100 * looks.level:.2g} % (O’Brien and Fleming) instead of 5 %."


def _chosen(numbers: Sequence[int], noun: str, prefix: str = "") -> Iterator[Flag]:
    if list(numbers) == list(range(len(numbers))):
        return
    verb = "is" if len(numbers) == 1 else "are"
    words = f"the {prefix}{number_words(numbers, noun)} {verb} not {_first(len(numbers))}"
    text = f"{words}: a set that is chosen after its results shows nothing."
    yield Flag("chosen-seeds", text)


def _first(count: int) -> str:
    return "0" if count == 1 else f"0 to {count - 1}"
