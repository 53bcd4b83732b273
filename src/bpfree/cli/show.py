"""``list``: what is available."""

from __future__ import annotations

import dataclasses
import inspect
from typing import Any

from bpfree import catalogue
from bpfree.cli.output import console, print_indented, print_json
from bpfree.errors import BpfreeError, unknown_name

__all__ = ["list_command"]

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
        return catalogue.nets() | {name: _of_function(each) for name, each in catalogue.other_nets().items()}
    if kind == "datasets":
        return catalogue.datasets() | {name: _of_function(each) for name, each in catalogue.other_datasets().items()}
    ours = {name: [entry.words, *_hyper_parameters(entry)] for name, entry in catalogue.rules().items()}
    theirs = {name: _of_another_package(name, each) for name, each in catalogue.other_rules().items()}
    return dict(sorted((ours | theirs).items()))


def _hyper_parameters(entry: catalogue.RuleEntry) -> list[str]:
    return [f"{name} = {entry.defaults[name]} ({admitted.words()})" for name, admitted in entry.ranges.items()]


def _of_another_package(name: str, extension: catalogue.Extension) -> list[str]:
    """What a rule says of itself, what is searched of it, and where it comes from; or why it cannot be loaded."""
    from bpfree.algorithms import documentation, rule_class  # deferred: torch
    from bpfree.bench.declared import search_space_of

    try:
        rule, spaces = rule_class(name), search_space_of(name)
    except BpfreeError as error:
        return [str(error)]
    searched = [
        f"searched{f' with {options}' if options else ''}: {key} {bounds or 'not at all'}"
        for options, ranges in ((at.partition(":")[2], ranges) for at, ranges in spaces.items())
        for key, bounds in ranges.items()
    ]
    fields = [f"{field.name} = {field.default} ({field.metadata['range'].words()})" for field in dataclasses.fields(rule)]
    return [documentation(rule).partition("\n")[0], f"from {extension.distribution}", *fields, *searched]


def _of_function(extension: catalogue.Extension) -> str:
    """The first line of a function's documentation, and where it comes from; or why it cannot be loaded."""
    try:
        words = (inspect.getdoc(extension.load()) or "").partition("\n")[0]
    except BpfreeError as error:
        return str(error)
    return f"{words} (from {extension.distribution})".lstrip()
