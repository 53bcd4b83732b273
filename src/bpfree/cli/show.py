"""``report``, ``list`` and ``cite``: commands that show what there is."""

from __future__ import annotations

import dataclasses
import inspect
import json
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import typer
from rich.console import Console
from rich.table import Table

from bpfree import report as reports
from bpfree import rulesets
from bpfree.cli.target import Target
from bpfree.errors import unknown_name

__all__ = ["cite_command", "list_command", "print_tables", "report_command"]

KINDS = ("algorithms", "nets", "datasets", "rulesets")


def print_tables(directories: Sequence[Path], target: Target = None) -> None:
    """The headline tables, as wide as the terminal."""
    console = Console()
    for text in reports.headline_rows(directories, target):
        table = Table(title=text.title, title_justify="left")
        for k, heading in enumerate(text.headings):
            table.add_column(heading, justify="left" if k == 0 else "right", overflow="fold")
        for row in text.rows:
            table.add_row(*row)
        console.print(table)


def report_command(directories: Sequence[Path], *, out: Path | None, as_json: bool, quiet: bool, target: Target = None) -> int:
    """Rebuild, and say where."""
    paths = reports.build(directories, out, target)
    if as_json:
        typer.echo(json.dumps(reports.summarise(directories, target), indent=2))
    elif not quiet:
        print_tables(directories, target)
        typer.echo(f"report: {paths.page}")
    return 0


def list_command(what: str | None, *, as_json: bool) -> int:
    """Print one kind of thing, or all."""
    if what is not None and what not in KINDS:
        raise unknown_name("thing to list", what, KINDS)
    found = {kind: _listed(kind) for kind in ([what] if what else KINDS)}
    if as_json:
        typer.echo(json.dumps(found, indent=2))
        return 0
    console = Console(highlight=False)
    for kind, entries in found.items():
        console.print(f"[bold]{kind}[/bold]")
        for name, words in entries.items():
            console.print(f"  [cyan]{name}[/cyan]")
            for line in [words] if isinstance(words, str) else words:
                console.print(f"      {line}", markup=False)
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
    """BibTeX out of the docstrings, each entry once."""
    from bpfree.algorithms import registry

    rules = registry()
    entries: dict[str, None] = {}
    for name in algorithms:
        if name not in rules:
            raise unknown_name("algorithm", name, rules)
        for entry in re.findall(r"^@\w+\{.*?^\}", _documentation(rules[name]), re.MULTILINE | re.DOTALL):
            entries[entry] = None
    typer.echo("\n\n".join(entries))
    return 0
