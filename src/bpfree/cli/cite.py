"""``cite``: BibTeX of rules, or of all that a run directory used."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import typer

from bpfree import catalogue
from bpfree.catalogue.used import citations
from bpfree.errors import RunDirectoryError, UsageError

__all__ = ["cite_command", "used_in"]


def cite_command(what: Sequence[str]) -> int:
    """Print BibTeX entries, each once: of rules by their names, of a run directory all that it used.

    Raises:
        UnknownNameError: there is no such rule or directory.
        UsageError: a rule's docstring has no entry.
        RunDirectoryError: a directory has no records.
    """
    entries: dict[str, None] = {}
    for each in what:
        if Path(each).is_dir():
            entries |= dict.fromkeys(used_in(Path(each)))
        else:
            catalogue.check_rule(each)
            entries |= dict.fromkeys(_of_rule(each))
    typer.echo("\n\n".join(entries))
    return 0


def used_in(directory: Path) -> Iterator[str]:
    """What a paper that reports a run must cite: bpfree, its rules, data sets and tools. What has no paper is a comment.

    The directory of a suite holds several run directories, which are read together.

    Raises:
        RunDirectoryError: there are no records.
    """
    from bpfree.records import read_records  # deferred: pydantic

    paths = sorted([*directory.glob("records.jsonl"), *directory.glob("*/records.jsonl")])
    records = [record for path in paths for record in read_records(path)]
    if not records:
        raise RunDirectoryError(f"{directory} holds no records of runs; give a directory that compare, train or reproduce wrote")
    searched = any(path.with_name("study.journal").exists() for path in paths)
    yield from citations(records, _of_a_record, searched=searched)


def _of_a_record(name: str) -> Sequence[str]:
    if name in catalogue.rules() or name in catalogue.other_rules():
        return _of_rule(name)
    return [f"% The rule {name} is not installed here: cite its package"]


def _of_rule(name: str) -> Sequence[str]:
    """Of a rule without a paper a comment that says so.

    Raises:
        UsageError: there is no entry, and its documentation does not say that there is no paper.
    """
    if name in catalogue.rules():
        return _checked(name, catalogue.rules()[name].module, catalogue.rules()[name].bibtex)
    from bpfree.algorithms import bibtex_of, has_no_paper, rule_class  # deferred: torch

    rule = rule_class(name)
    if has_no_paper(rule):
        package = catalogue.other_rules()[name].distribution
        return [f"% There is no paper of {name}; cite its code: {rule.__module__} of {package}"]
    return _checked(name, rule.__module__, bibtex_of(rule))


def _checked(name: str, module: str, entries: Sequence[str]) -> Sequence[str]:
    if not entries:
        raise UsageError(
            f"{name} has no BibTeX in its docstring ({module}); add it under References, or write: There is no paper."
        )
    return entries
