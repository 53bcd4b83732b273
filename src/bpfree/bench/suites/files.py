"""Suites on disk: the named ones in the package, and a user's own YAML files."""

from __future__ import annotations

import difflib
import os
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

from bpfree.bench.suites.schema import SCHEMA_VERSION, Inline, Row, RulesetUse, Section, Suite
from bpfree.errors import UsageError, unknown_name

__all__ = ["load", "names"]


def names() -> list[str]:
    """The suites of the package, sorted."""
    entries = resources.files("bpfree.bench.suites").iterdir()
    return sorted(entry.name.removesuffix(".yaml") for entry in entries if entry.name.endswith(".yaml"))


def load(name_or_path: str | os.PathLike[str]) -> Suite:
    """Read a suite by name (``"spyra2025"``), or from a file: anything with a slash, or ending in ``.yaml``.

    Raises:
        UnknownNameError: no suite of this name; the nearest are offered.
        UsageError: the file cannot be read, holds an unknown key, or a value that cannot be used.
    """
    path = Path(name_or_path)
    if isinstance(name_or_path, str) and path.suffix not in (".yaml", ".yml") and len(path.parts) == 1:
        if name_or_path not in names():
            raise unknown_name("suite", name_or_path, names())
        text = (resources.files("bpfree.bench.suites") / f"{name_or_path}.yaml").read_text(encoding="utf-8")
        return _build(text, name_or_path)
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise UsageError(f"cannot read suite {path}: {error.strerror}; known by name: {', '.join(names())}") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"suite {path} is not text in UTF-8") from error
    return _build(text, str(path), {"name": path.stem})


def _build(text: str, where: str, defaults: Mapping[str, Any] | None = None) -> Suite:
    try:
        fields = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise UsageError(f"suite {where} is not YAML: {' '.join(str(error).split())}") from error
    if not isinstance(fields, Mapping):
        raise UsageError(f"suite {where} must be a list of 'key: value' lines, got {type(fields).__name__}")
    version = fields.get("schema_version", SCHEMA_VERSION)
    if isinstance(version, int) and version > SCHEMA_VERSION:
        raise UsageError(
            f"suite {where} has schema_version {version}, this bpfree reads up to {SCHEMA_VERSION}; "
            "update it with: pip install --upgrade bpfree"
        )
    try:
        return Suite.model_validate({**(defaults or {}), **fields})
    except ValidationError as error:
        raise UsageError(_one_line(error, where)) from error


def _one_line(error: ValidationError, where: str) -> str:
    # A published number is a name or a mapping; that a mapping is no name is no news. An unknown key comes first: a misspelt
    # one is also a missing one, and the misspelling is the news.
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
    """Whose key stands at the end of ``place``."""
    if Inline.__name__ in place:
        return Inline
    if len(place) == 1:
        return Suite
    return RulesetUse if place[0] == "rulesets" else Row if "rows" in place[:-1] else Section
