"""Rulesets on disk: the named ones in the package, and a user's own YAML files."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any

import yaml

from bpfree.errors import RulesetError, StorageError, unknown_name
from bpfree.rulesets.digest import short_digest
from bpfree.rulesets.ruleset import Ruleset, build

__all__ = ["load", "names", "save"]


def names() -> list[str]:
    """The named rulesets of the package, sorted."""
    return sorted(
        entry.name.removesuffix(".yaml") for entry in resources.files("bpfree.rulesets").iterdir() if entry.name.endswith(".yaml")
    )


def load(name_or_path: str | os.PathLike[str]) -> Ruleset:
    """Read a ruleset by name (``"uniform"``), or from a file: anything with a slash, or ending in ``.yaml``.

    Raises:
        UnknownNameError: no ruleset of this name; the nearest are offered.
        RulesetError: the file cannot be read, holds an unknown key, or a value that cannot be used.
    """
    path = Path(name_or_path)
    if isinstance(name_or_path, str) and path.suffix not in (".yaml", ".yml") and len(path.parts) == 1:
        if name_or_path not in names():
            raise unknown_name("ruleset", name_or_path, names())
        text = (resources.files("bpfree.rulesets") / f"{name_or_path}.yaml").read_text(encoding="utf-8")
        return build(_parse(text, name_or_path), repr(name_or_path))
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise RulesetError(f"cannot read ruleset {path}: {error.strerror}; known by name: {', '.join(names())}") from error
    except UnicodeDecodeError as error:
        raise RulesetError(f"ruleset {path} is not text in UTF-8") from error
    return build({"name": path.stem, **_parse(text, str(path))}, str(path))


class _Loader(yaml.SafeLoader):
    """YAML that refuses the same key twice; plain PyYAML would silently take the last."""


def _mapping(loader: _Loader, node: yaml.MappingNode) -> dict[Any, Any]:
    seen: set[Any] = set()
    for key_node, _ in node.value:
        key = loader.construct_object(key_node)
        if key in seen:
            raise yaml.MarkedYAMLError(problem=f"{key!r} stands there twice", problem_mark=key_node.start_mark)
        seen.add(key)
    loader.flatten_mapping(node)
    return loader.construct_mapping(node, deep=True)


_Loader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _mapping)


def _parse(text: str, source: str) -> dict[str, Any]:
    try:
        fields = yaml.load(text, Loader=_Loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        where = f", line {mark.line + 1}" if mark else ""
        raise RulesetError(f"ruleset {source}{where} is not YAML: {error.problem}") from error
    except (yaml.YAMLError, TypeError, ValueError) as error:
        raise RulesetError(f"ruleset {source} is not YAML: {str(error).splitlines()[0]}") from error
    if not isinstance(fields, Mapping):
        raise RulesetError(f"ruleset {source} must be a list of 'key: value' lines, got {type(fields).__name__}")
    return {str(key): value for key, value in fields.items()}


def save(ruleset: Ruleset, path: str | os.PathLike[str]) -> None:
    """Write a ruleset as YAML, whole or not at all; :func:`load` gives it back with the same digest.

    Raises:
        StorageError: the place cannot be written.
    """
    target = Path(path)
    body = yaml.safe_dump(ruleset.model_dump(mode="json"), sort_keys=False, allow_unicode=True, width=110)
    try:
        descriptor, temporary = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
                stream.write(f"# bpfree ruleset, digest {short_digest(ruleset)}\n{body}")
                stream.flush()
                os.fsync(stream.fileno())
            Path(temporary).chmod(0o644)
            Path(temporary).replace(target)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise StorageError(f"cannot write {target}: {error.strerror}; choose another place with --out DIR") from error
