"""The tables of the package, each a CSV and its provenance."""

from __future__ import annotations

import csv
import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources

import yaml

from bpfree.errors import UsageError, unknown_name
from bpfree.published.numbers import Number, number_of

__all__ = ["Source", "find", "numbers", "source", "tables"]


@dataclass(frozen=True)
class Source:
    """Where a table comes from.

    Attributes:
        paper: which one.
        where: which table of it, or through whom it was read.
        second_hand: read in another text that quotes it, not in the paper itself.
        note: what must be known before quoting it; empty if nothing.
    """

    paper: str
    where: str
    second_hand: bool
    note: str

    @property
    def words(self) -> str:
        """All of it in one or two sentences."""
        return f"{self.paper}; {self.where}{f'. {self.note}' if self.note else ''}"


@cache
def _sources() -> dict[str, Source]:
    text = (resources.files("bpfree.published") / "sources.yaml").read_text(encoding="utf-8")
    return {name: Source(**entry) for name, entry in yaml.safe_load(text).items()}


def tables() -> tuple[str, ...]:
    """Names of the published tables, sorted."""
    return tuple(sorted(_sources()))


def source(table: str) -> Source:
    """Provenance of a table.

    Raises:
        UnknownNameError: there is no such table.
    """
    if table not in _sources():
        raise unknown_name("published table", table, _sources())
    return _sources()[table]


@cache
def numbers(table: str) -> tuple[Number, ...]:
    """All numbers of a table, in its order; several runs of one arm on one task make one number with their spread.

    Raises:
        UnknownNameError: there is no such table.
    """
    origin = source(table)
    text = (resources.files("bpfree.published") / f"{table}.csv").read_text(encoding="utf-8")
    groups: dict[tuple[str, ...], list[dict[str, str]]] = {}
    for row in csv.DictReader(text.splitlines()):
        key = tuple(row.get(column) or "" for column in ("dataset", "net", "algorithm", "variant", "protocol"))
        groups.setdefault(key, []).append(row)
    table_numbers = [number_of(table, rows, origin.words, origin.second_hand) for rows in groups.values()]
    return tuple(_compared(table_numbers))


def find(table: str, dataset: str, net: str, algorithm: str, variant: str = "", protocol: str = "") -> Number:
    """One number.

    Raises:
        UsageError: the table has none for this arm, data set and net.
    """
    key = (dataset, net, algorithm, variant, protocol)
    for number in numbers(table):
        if number.key == key:
            return number
    known = "; ".join(
        " ".join(part for part in number.key[2:] if part)
        for number in numbers(table)
        if (number.dataset, number.net) == (dataset, net)
    )
    raise UsageError(
        f"the published table {table} has no number for {' '.join(part for part in key if part)}; for this data set and net it "
        f"has: {known or 'none'}"
    )


def _compared(table_numbers: Sequence[Number]) -> Iterator[Number]:
    """Each number of a table with its difference and ratios to backprop on the same data and net under the same protocol."""
    backprop = {(n.dataset, n.net, n.protocol): n for n in table_numbers if n.algorithm == "backprop"}
    for number in table_numbers:
        yield _against(number, backprop.get((number.dataset, number.net, number.protocol)))


def _against(number: Number, backprop: Number | None) -> Number:
    """The number with its difference and ratios to backprop of the same table, where both are published."""
    if backprop is None or number.algorithm == "backprop":
        return number
    changes: dict[str, float] = {}
    if number.difference is None and number.accuracy is not None and backprop.accuracy is not None:
        changes["difference"] = number.accuracy - backprop.accuracy
    if number.time_ratio is None and number.time_s and backprop.time_s:
        changes["time_ratio"] = number.time_s / backprop.time_s
    if number.energy_ratio is None and number.energy_j and backprop.energy_j:
        changes["energy_ratio"] = number.energy_j / backprop.energy_j
    return dataclasses.replace(number, **changes)
