"""``list`` and ``cite``: commands that show what is available."""

from __future__ import annotations

import dataclasses
import inspect
import re
import sys
from collections.abc import Sequence
from importlib.metadata import EntryPoint
from typing import Any

import typer

from bpfree import catalogue
from bpfree.cli.output import console, print_indented, print_json
from bpfree.errors import UsageError, unknown_name

__all__ = ["cite_command", "list_command"]

KINDS = ("algorithms", "nets", "datasets", "rulesets")
SYNONYMS = {"rules": "algorithms"}


def list_command(what: str | None, *, as_json: bool) -> int:
    """Print one kind of thing, or all.

    Raises:
        UnknownNameError: there is no such kind.
    """
    if what is not None and what not in KINDS and what not in SYNONYMS:
        raise unknown_name("thing to list", what, (*KINDS, *SYNONYMS))
    entries = {kind: _listed(kind) for kind in ([SYNONYMS.get(what, what)] if what else KINDS)}
    if as_json:
        print_json(entries)
        return 0
    screen = console()
    for kind, words_by_name in entries.items():
        screen.print(f"[bold]{kind}[/bold]")
        for name, words in words_by_name.items():
            screen.print(f"  [cyan]{name}[/cyan]")
            for line in [words] if isinstance(words, str) else words:
                print_indented(screen, line, 6)
    return 0


def _listed(kind: str) -> dict[str, Any]:
    if kind == "rulesets":
        from bpfree import rulesets  # deferred: pydantic

        return {name: rulesets.in_words(rulesets.load(name)) for name in rulesets.names()}
    if kind == "nets":
        return catalogue.nets()
    if kind == "datasets":
        return catalogue.datasets()
    ours = {name: [entry.words, *_hyper_parameters(entry)] for name, entry in catalogue.rules().items()}
    theirs = {name: _of_another_package(point) for name, point in catalogue.others().items()}
    return dict(sorted((ours | theirs).items()))


def _hyper_parameters(entry: catalogue.RuleEntry) -> list[str]:
    return [f"{name} = {entry.defaults[name]} ({admitted.words()})" for name, admitted in entry.ranges.items()]


def _of_another_package(point: EntryPoint) -> list[str]:
    rule = point.load()
    fields = [f"{field.name} = {field.default} ({field.metadata['range'].words()})" for field in dataclasses.fields(rule)]
    return [_documentation(rule).partition("\n")[0], *fields]


def _documentation(rule: type) -> str:
    return inspect.getdoc(sys.modules[rule.__module__]) or ""


def _bibtex(name: str) -> Sequence[str]:
    """Of one rule.

    Raises:
        UsageError: there is no entry.
    """
    if name in catalogue.rules():
        module, cited = catalogue.rules()[name].module, catalogue.rules()[name].bibtex
    else:
        rule = catalogue.others()[name].load()
        module, cited = rule.__module__, re.findall(r"^@\w+\{.*?^\}", _documentation(rule), re.MULTILINE | re.DOTALL)
    if not cited:
        raise UsageError(f"{name} has no BibTeX in its docstring ({module}); add it under References")
    return cited


def cite_command(algorithms: Sequence[str]) -> int:
    """Print the BibTeX entries of the docstrings, each once.

    Raises:
        UnknownNameError: there is no such rule.
        UsageError: a rule's docstring has no entry.
    """
    entries: dict[str, None] = {}
    for name in algorithms:
        catalogue.check_rule(name)
        entries |= dict.fromkeys(_bibtex(name))
    typer.echo("\n\n".join(entries))
    return 0
