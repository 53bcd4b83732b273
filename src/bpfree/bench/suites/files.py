"""Suites on disk: the named ones in the package, and a user's own YAML files."""

from __future__ import annotations

import difflib
import os
from collections.abc import Mapping, Sequence

from pydantic import BaseModel, ValidationError

from bpfree.bench.suites.schema import SCHEMA_VERSION, Inline, Row, RulesetUse, Section, Suite
from bpfree.errors import UsageError
from bpfree.yaml_files import Kind

__all__ = ["load", "names"]


KIND = Kind("suite", "bpfree.bench.suites", UsageError, SCHEMA_VERSION)
"""How suites are read from YAML."""


def names() -> list[str]:
    """The suites of the package, sorted."""
    return KIND.names()


def load(name_or_path: str | os.PathLike[str]) -> Suite:
    """Read a suite by name (``"spyra2025"``), or from a file: anything with a slash, or ending in ``.yaml``.

    Raises:
        UnknownNameError: no suite of this name; the nearest are offered.
        UsageError: the file cannot be read, holds an unknown key, or a value that cannot be used.
    """
    source = KIND.read(name_or_path)
    try:
        return Suite.model_validate(source.fields)
    except ValidationError as error:
        raise UsageError(_one_line(error, source.place)) from error


def _one_line(error: ValidationError, where: str) -> str:
    # A published number is a name or a mapping; that a mapping is not a name is not reported. An unknown key is reported first:
    # a misspelt key is also a missing one.
    problems = [
        problem for problem in error.errors() if problem["loc"][-1:] != ("str",) or not isinstance(problem["input"], Mapping)
    ]
    problems.sort(key=lambda problem: problem["type"] != "extra_forbidden")
    first, rest = problems[0], f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
    place = ".".join(str(part) for part in first["loc"] if part != Inline.__name__)
    if first["type"] == "extra_forbidden":
        near = difflib.get_close_matches(str(first["loc"][-1]), _model(first["loc"]).model_fields, n=1, cutoff=0.5)
        return f"suite {where}: unknown key {place!r}; {f'did you mean {near[0]!r}?' if near else 'remove it'}{rest}"
    if first["type"] == "missing":
        return f"suite {where}: {place} is missing{rest}"
    return f"suite {where}: {f'{place}: ' if place else ''}{first['msg'].removeprefix('Value error, ')}{rest}"


def _model(place: Sequence[str | int]) -> type[BaseModel]:
    """The model that the last key of ``place`` belongs to."""
    if Inline.__name__ in place:
        return Inline
    if len(place) == 1:
        return Suite
    return RulesetUse if place[0] == "rulesets" else Row if "rows" in place[:-1] else Section
