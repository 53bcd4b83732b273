"""``list`` and ``cite``: commands that show what is available."""

from __future__ import annotations

import dataclasses
import inspect
import re
import sys
from collections.abc import Sequence
from typing import Any

import typer

from bpfree import rulesets
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
        return {name: rulesets.in_words(rulesets.load(name)) for name in rulesets.names()}
    if kind == "nets":
        from bpfree import nets

        return dict(nets.describe())
    if kind == "datasets":
        from bpfree import data

        return dict(data.describe())
    from bpfree.algorithms import registry

    return {name: [_first_line(rule), *_hyper_parameters(rule)] for name, rule in sorted(registry().items())}


def _documentation(rule: type) -> str:
    return inspect.getdoc(sys.modules[rule.__module__]) or ""


def _first_line(rule: type) -> str:
    return _documentation(rule).partition("\n")[0]


def _hyper_parameters(rule: type) -> list[str]:
    return [f"{field.name} = {field.default} ({field.metadata['range'].words()})" for field in dataclasses.fields(rule)]


def cite_command(algorithms: Sequence[str]) -> int:
    """Print the BibTeX entries of the docstrings, each once.

    Raises:
        UnknownNameError: there is no such rule.
        UsageError: a rule's docstring has no entry.
    """
    from bpfree.algorithms import registry

    rules = registry()
    entries: dict[str, None] = {}
    for name in algorithms:
        if name not in rules:
            raise unknown_name("algorithm", name, rules)
        cited = re.findall(r"^@\w+\{.*?^\}", _documentation(rules[name]), re.MULTILINE | re.DOTALL)
        if not cited:
            raise UsageError(f"{name} has no BibTeX in its docstring ({rules[name].__module__}); add it under References")
        entries |= dict.fromkeys(cited)
    typer.echo("\n\n".join(entries))
    return 0
