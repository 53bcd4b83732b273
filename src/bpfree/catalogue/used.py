"""What a paper must cite that reports runs: bpfree, their rules, data sets and tools."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from bpfree import catalogue
from bpfree.catalogue.cited import cited

__all__ = ["citations", "family"]


def citations(records: Sequence[Any], of_rule: Callable[[str], Sequence[str]], *, searched: bool) -> Iterator[str]:
    """BibTeX entries of what runs used, each once. What has no paper is a comment.

    Args:
        records: of the runs, at least one; read are their rule, data set, and the methods of energy and carbon.
        of_rule: entries of a rule by its name.
        searched: whether hyper-parameters were searched.
    """
    yield cited()["self", ""]
    for name in sorted({record.algorithm for record in records}):
        yield from of_rule(name)
    for name in sorted({family(record.dataset) for record in records} - {"synthetic"}):
        yield cited().get(("data", name)) or f"% The data set {name} is no named one: cite where you have it from"
    for name in _tools(records, searched=searched):
        yield cited()["tool", name]


def family(dataset: str) -> str:
    """The name of a data set without its options and its number of examples: ``mnist[1000]`` is ``mnist``.

    Files and functions of the user's own keep their whole text.
    """
    name = dataset.partition(":")[0].partition("[")[0]
    return name if name in catalogue.datasets() else dataset


def _tools(records: Sequence[Any], *, searched: bool) -> Iterator[str]:
    yield "torch"
    if searched:
        yield "optuna"
    if any("codecarbon" in f"{record.carbon.source} {record.energy.method}" for record in records):
        yield "codecarbon"
    if any("zeus" in str(record.energy.method) for record in records):
        yield "zeus"
    if any(family(record.dataset) == "digits" for record in records):
        yield "scikit-learn"
