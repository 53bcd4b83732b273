"""Rulesets on disk: the named ones in the package, and a user's own YAML files."""

from __future__ import annotations

import os
from pathlib import Path

import yaml

from bpfree.files import write_atomic
from bpfree.rulesets.digest import short_digest
from bpfree.rulesets.ruleset import KIND, Ruleset, build

__all__ = ["load", "names", "save"]


def names() -> list[str]:
    """The named rulesets of the package, sorted."""
    return KIND.names()


def load(name_or_path: str | os.PathLike[str]) -> Ruleset:
    """Read a ruleset by name (``"uniform"``), or from a file: anything with a slash, or ending in ``.yaml``.

    Raises:
        UnknownNameError: no ruleset of this name; the nearest are offered.
        RulesetError: the file cannot be read, holds an unknown key, or a value that cannot be used.
    """
    source = KIND.read(name_or_path)
    return build(source.fields, repr(source.place) if source.by_name else source.place)


def save(ruleset: Ruleset, path: str | os.PathLike[str]) -> None:
    """Write a ruleset as YAML, whole or not at all; :func:`load` gives it back with the same digest.

    Raises:
        StorageError: the place cannot be written.
    """
    body = yaml.safe_dump(ruleset.model_dump(mode="json"), sort_keys=False, allow_unicode=True, width=110)
    write_atomic(Path(path), f"# bpfree ruleset, digest {short_digest(ruleset)}\n{body}")
