"""What commands print. A terminal gets tables and paragraphs that fit its width, with whole words; a pipe or a file gets plain
lines, which are not wrapped: one for each row, pair or paragraph."""

from __future__ import annotations

import json
import re
import shutil
import sys
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

import typer

from bpfree.units import MISSING

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["console", "heading", "on_terminal", "print_json", "print_pairs", "print_table", "say"]

LABEL_WIDTH = 28
"""Characters after which the first column of a table on a terminal is wrapped."""

ENTRY_WIDTH = 32
"""The same for the other columns."""

_GAP = 3
"""Characters between two columns of a table on a terminal."""


def on_terminal() -> bool:
    """Whether standard output is a terminal, which a person reads."""
    return sys.stdout.isatty()


def console(*, stderr: bool = False, quiet: bool = False) -> Console:
    """The screen, or standard error; nothing is wrapped unless it is a terminal."""
    from rich.console import Console  # deferred: a pipe needs none

    screen = Console(stderr=stderr, quiet=quiet, highlight=False)
    screen.soft_wrap = not screen.is_terminal
    return screen


def print_json(value: object) -> None:
    """Print a value as indented JSON."""
    typer.echo(json.dumps(value, indent=2))


def say(text: str, indent: int = 0) -> None:
    """Print a paragraph, ``indent`` columns from the left. A long word, such as a path, stays whole, so that it can be copied."""
    typer.echo(_paragraph(text, " " * indent, " " * indent))


def heading(text: str, after: str = "", colour: str | None = None) -> None:
    """Print a word in bold, and a further one in a colour; in a pipe both plainly."""
    typer.echo(typer.style(text, bold=True) + (f"  {typer.style(after, fg=colour)}" if after else ""))


def print_pairs(pairs: Mapping[str, str], indent: int = 0) -> None:
    """Print names and what belongs to them, in two columns; a long entry goes on below itself."""
    width = max(map(len, pairs), default=0)
    for name, entry in pairs.items():
        start = f"{' ' * indent}{name:<{width}}  "
        typer.echo(_paragraph(entry, start, " " * len(start)))


def _paragraph(text: str, first: str, rest: str) -> str:
    if not on_terminal():
        return first + text
    width = shutil.get_terminal_size().columns
    return (
        textwrap.fill(text, width, initial_indent=first, subsequent_indent=rest, break_long_words=False, break_on_hyphens=False)
        or first.rstrip()
    )


def print_table(title: str, headings: Sequence[str], rows: Iterable[Sequence[str]], notes: Sequence[str] = ()) -> None:
    """Print a table: the first column to the left, the others to the right; then its notes.

    On a terminal, columns in which nothing is known are left out, and entries are wrapped between words; a table that is still
    too wide is printed as several, one below the other, each with the first column. Anywhere else a row is one line, and every
    column is there.
    """
    rows = [tuple(row) for row in rows]
    if on_terminal():
        _draw_table(title, *_with_known(headings, rows))
    else:
        for line in plain_lines(title, headings, rows):
            typer.echo(line)
    for note in notes:
        say(note)


_UNKNOWN = frozenset(("", "-", MISSING))
"""Entries that say nothing."""


def _with_known(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> tuple[Sequence[str], Sequence[Sequence[str]]]:
    """Without the columns in which every entry is unknown, but for the first."""
    known = [k for k in range(len(headings)) if k == 0 or not rows or any(row[k] not in _UNKNOWN for row in rows)]
    return [headings[k] for k in known], [[row[k] for k in known] for row in rows]


def _draw_table(title: str, headings: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    from rich.table import Table
    from rich.text import Text

    screen = console()
    for columns in parts(headings, rows, screen.width):
        screen.print(Text(title, style="italic"))
        table = Table()
        for k, column in enumerate(columns):
            table.add_column(Text(column[0]), justify="right" if k else "left", overflow="fold")
        for entries in zip(*(column[1:] for column in columns), strict=True):
            table.add_row(*(Text(entry) for entry in entries))
        screen.print(table)


def plain_lines(title: str, headings: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """The table as aligned lines. A line break is a space in headings and beside one of ``:,/(``, else a comma."""
    lines = [
        tuple(heading.replace("\n", " ") for heading in headings),
        *(tuple(re.sub(r"(?<![:,/])\n(?!\()", ", ", entry).replace("\n", " ") for entry in row) for row in rows),
    ]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    aligned = (
        "  ".join(
            entry.rjust(width) if k else entry.ljust(width) for k, (entry, width) in enumerate(zip(line, widths, strict=True))
        )
        for line in lines
    )
    return [title, *(line.rstrip() for line in aligned)]


Column = tuple[str, ...]
"""The heading and the entries of a column, wrapped."""


def parts(headings: Sequence[str], rows: Sequence[Sequence[str]], width: int) -> list[list[Column]]:
    """The columns of each printed table: none is wider than ``width``, unless the first and one other column already are."""
    first, *others = (
        _wrapped_column(column, ENTRY_WIDTH if k else LABEL_WIDTH) for k, column in enumerate(zip(headings, *rows, strict=True))
    )
    tables: list[list[Column]] = [[first]]
    used = start = 1 + _GAP + _width(first)
    for column in others:
        needed = _GAP + _width(column)
        if used + needed > width and len(tables[-1]) > 1:
            tables.append([first])
            used = start
        tables[-1].append(column)
        used += needed
    return tables


def _width(column: Column) -> int:
    return max((len(line) for entry in column for line in entry.split("\n")), default=0)


def _wrapped_column(column: Sequence[str], width: int) -> Column:
    """Entries wrapped at ``width``, and the heading no wider than they are unless one of its words is."""
    heading, *entries = column
    wrapped = [_wrap(entry, width) for entry in entries]
    longest_word = max(map(len, heading.split()), default=0)
    return (_wrap(heading, max(longest_word, _width(tuple(wrapped)), 1)), *wrapped)


def _wrap(entry: str, width: int) -> str:
    """Lines of at most ``width`` characters, broken at spaces, then after ``:`` and ``,``, and within a word only at the last."""
    lines: list[str] = []
    for line in entry.split("\n"):
        line_parts = textwrap.wrap(line, width, break_long_words=False, break_on_hyphens=False) or [""]
        for part in line_parts:
            lines += [part] if len(part) <= width else _break_label(part, width)
    return "\n".join(lines)


def _break_label(text: str, width: int) -> list[str]:
    lines = [""]
    for piece in re.findall(r"[^:,]*[:,]?", text):
        if len(lines[-1]) + len(piece) > width and lines[-1]:
            lines.append("")
        lines[-1] += piece
    return [part for line in lines if line for part in textwrap.wrap(line, width)]
