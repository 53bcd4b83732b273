"""Reading the docstring of a rule: its sections, its table of symbols, its BibTeX. What is missing is named."""

from __future__ import annotations

import dataclasses
import doctest
import inspect
import io
import re
from functools import cache

from bpfree.algorithms import Algorithm
from bpfree.algorithms._documentation import NO_PAPER, documentation, has_no_paper, sections

__all__ = ["SECTIONS", "bibtex_problems", "problems", "run_example", "sections"]

SECTIONS = (
    "Idea",
    "Update",
    "Symbols",
    "Cost per batch",
    "Locality",
    "Deviations from the paper",
    "Defaults",
    "Example",
    "Known weakness",
    "References",
)
"""Headings, in this order, each underlined with dashes; before them stands one line that says what the rule does."""


def problems(rule: type[Algorithm]) -> list[str]:
    """What the docstring of a rule lacks, one line each; empty if nothing."""
    text = documentation(rule)
    parts = sections(text)
    lines = text.split("\n")
    wrong = []
    if not lines[0].strip().endswith(".") or (len(lines) > 1 and lines[1].strip()):
        wrong.append("it must begin with one line, ended by a full stop, and an empty line after it")
    present = [heading for heading in parts if heading in SECTIONS]
    wrong += [f"the section {heading!r} is missing" for heading in SECTIONS if heading not in parts]
    wrong += [f"the section {heading!r} is empty" for heading in present if not parts[heading].strip()]
    if present != [heading for heading in SECTIONS if heading in parts]:
        wrong.append(f"the sections stand in the order {', '.join(present)}; the order is {', '.join(SECTIONS)}")
    wrong += _symbol_problems(rule, parts.get("Symbols", ""))
    wrong += _default_problems(rule, parts.get("Defaults", ""))
    if not has_no_paper(rule):
        wrong += _deviation_problems(parts.get("Deviations from the paper", ""))
        wrong += bibtex_problems(parts.get("References", ""))
    if ">>>" not in parts.get("Example", ""):
        wrong.append("the section 'Example' has no doctest (>>> ...)")
    return wrong


def _own_fields(rule: type[Algorithm]) -> dict[str, object]:
    """Hyper-parameters that the class itself declares, with their defaults."""
    declared = inspect.get_annotations(rule)
    return {field.name: field.default for field in dataclasses.fields(rule) if field.name in declared}


def _symbol_problems(rule: type[Algorithm], body: str) -> list[str]:
    words = {word for line in body.splitlines() for word in re.findall(r"[\w.]+", line)}
    return [
        f"'Symbols' has no row for the hyper-parameter {field.name!r}"
        for field in dataclasses.fields(rule)
        if field.name not in words
    ]


def _same(text: str, value: object) -> bool:
    if isinstance(value, int | float) and not isinstance(value, bool):
        try:
            return float(text) == value
        except ValueError:
            return False
    return text == str(value)


def _default_problems(rule: type[Algorithm], body: str) -> list[str]:
    stated = {match[1]: (match[2], match[3]) for match in re.finditer(r"^\s*(\w+) = (\S+)[ \t]*(.*)$", body, flags=re.MULTILINE)}
    wrong = []
    for name, default in _own_fields(rule).items():
        if name not in stated:
            wrong.append(f"'Defaults' does not say {name} = {default}, with its source")
        elif not _same(stated[name][0], default):
            wrong.append(f"'Defaults' says {name} = {stated[name][0]}, but the field's default is {default!r}")
        elif not stated[name][1]:
            wrong.append(f"'Defaults' gives no source for {name} ('ours, untuned' is one)")
    return wrong


def _deviation_problems(body: str) -> list[str]:
    numbers = [int(number) for number in re.findall(r"^(\d+)\. ", body, flags=re.MULTILINE)]
    if not numbers or numbers != list(range(1, len(numbers) + 1)):
        return [f"'Deviations from the paper' must be numbered 1. 2. 3. (never empty), got {numbers}"]
    return []


def bibtex_problems(body: str) -> list[str]:
    """What is wrong with the BibTeX entries of a section."""
    entries = re.findall(r"^@\w+\{([^,\s]+),$(.*?)^\}$", body, flags=re.MULTILINE | re.DOTALL)
    if not entries:
        return [f"'References' has no BibTeX entry (@article{{key, ... }} with the brackets at line ends); or write: {NO_PAPER}"]
    wrong = []
    for key, fields in entries:
        if fields.count("{") != fields.count("}"):
            wrong.append(f"the BibTeX entry {key} has unbalanced braces")
        wrong += [
            f"the BibTeX entry {key} has no {name}"
            for name in ("title", "author", "year")
            if not re.search(rf"^\s*{name}\s*=", fields, flags=re.MULTILINE)
        ]
    return wrong


@cache
def run_example(rule: type[Algorithm]) -> str:
    """Run the doctest of the section 'Example'; returns what failed, empty if nothing (once a process)."""
    example = sections(documentation(rule)).get("Example", "")
    test = doctest.DocTestParser().get_doctest(example, {}, f"{rule.__name__}: Example", None, None)
    report = io.StringIO()
    doctest.DocTestRunner(optionflags=doctest.ELLIPSIS).run(test, out=report.write)
    return report.getvalue()
