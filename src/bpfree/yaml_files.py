"""Documents that the package has by name and a user has as YAML files: loading either, each mistake in one line."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import yaml

from bpfree.errors import BpfreeError, unknown_name

__all__ = ["Document", "Kind", "parse"]


@dataclass(frozen=True)
class Document:
    """One document as it was read.

    Attributes:
        fields: top-level keys and values; a file without a ``name`` gets that of the file.
        place: path of the file, or name of a document of the package; for messages.
        by_name: it is one of the package's.
    """

    fields: dict[str, Any]
    place: str
    by_name: bool


@dataclass(frozen=True)
class Kind:
    """A kind of document.

    Attributes:
        what: word for messages, such as ``"ruleset"``.
        package: where the named documents lie, such as ``"bpfree.rulesets"``.
        error: class of the errors about a file that cannot be used.
        schema_version: newest version that can be read.
    """

    what: str
    package: str
    error: type[BpfreeError]
    schema_version: int

    def names(self) -> list[str]:
        """The named documents of the package, sorted."""
        entries = resources.files(self.package).iterdir()
        return sorted(entry.name.removesuffix(".yaml") for entry in entries if entry.name.endswith(".yaml"))

    def read(self, name_or_path: str | os.PathLike[str]) -> Document:
        """Read by name, or from a file: anything with a slash, or ending in ``.yaml``.

        Raises:
            UnknownNameError: there is no document of this name; the nearest are offered.
            BpfreeError: of class ``error``: the file cannot be read, is not YAML, or is of a newer version.
        """
        path = Path(name_or_path)
        if isinstance(name_or_path, str) and path.suffix not in (".yaml", ".yml") and len(path.parts) == 1:
            if name_or_path not in self.names():
                raise unknown_name(self.what, name_or_path, self.names())
            text = (resources.files(self.package) / f"{name_or_path}.yaml").read_text(encoding="utf-8")
            return Document(self._fields(text, name_or_path), name_or_path, by_name=True)
        try:
            text = path.read_text(encoding="utf-8")
        except OSError as error:
            known = ", ".join(self.names())
            raise self.error(f"cannot read {self.what} {path}: {error.strerror}; known by name: {known}") from error
        except UnicodeDecodeError as error:
            raise self.error(f"{self.what} {path} is not text in UTF-8; save it as UTF-8") from error
        return Document({"name": path.stem, **self._fields(text, str(path))}, str(path), by_name=False)

    def check_version(self, fields: Mapping[str, Any], place: str) -> None:
        """Refuse fields of a newer version than this bpfree reads.

        Raises:
            BpfreeError: of class ``error``.
        """
        version = fields.get("schema_version", self.schema_version)
        if isinstance(version, int) and version > self.schema_version:
            raise self.error(
                f"{self.what} {place} has schema_version {version}, this bpfree reads up to {self.schema_version}; update it "
                "with: pip install --upgrade bpfree"
            )

    def _fields(self, text: str, place: str) -> dict[str, Any]:
        fields = parse(text, f"{self.what} {place}", self.error)
        self.check_version(fields, place)
        return fields


class _Loader(yaml.SafeLoader):
    """YAML that refuses the same key twice; plain PyYAML would silently take the last."""


class _FastLoader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # pyright: ignore[reportGeneralTypeIssues]
    """The same by libyaml, where it is built in: ten times as fast, and with other lines in its messages."""


def _mapping(loader: _Loader, node: yaml.MappingNode) -> dict[Any, Any]:
    seen: set[Any] = set()
    for key_node, _ in node.value:
        key = loader.construct_object(key_node)
        if key in seen:
            raise yaml.MarkedYAMLError(problem=f"{key!r} stands there twice", problem_mark=key_node.start_mark)
        seen.add(key)
    loader.flatten_mapping(node)
    return loader.construct_mapping(node, deep=True)


for _each in (_Loader, _FastLoader):
    _each.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _mapping)


def _loaded(text: str) -> Any:
    try:
        return yaml.load(text, Loader=_FastLoader)
    except (yaml.YAMLError, TypeError, ValueError):
        return yaml.load(text, Loader=_Loader)  # raises with the line of the mistake


def parse(text: str, place: str, error: type[BpfreeError]) -> dict[str, Any]:
    """The top-level keys and values of YAML text.

    Args:
        place: what the text is, for messages, such as ``"ruleset mine.yaml"``.
        error: class of the error.

    Raises:
        BpfreeError: of class ``error``: it is not YAML, names a key twice, or is not a list of keys and values.
    """
    try:
        fields = _loaded(text)
    except yaml.MarkedYAMLError as problem:
        mark = problem.problem_mark
        where = f", line {mark.line + 1}" if mark else ""
        raise error(f"{place}{where} is not YAML: {problem.problem}") from problem
    except (yaml.YAMLError, TypeError, ValueError) as problem:
        raise error(f"{place} is not YAML: {str(problem).splitlines()[0]}") from problem
    if not isinstance(fields, Mapping):
        raise error(f"{place} must be a list of 'key: value' lines, got {type(fields).__name__}")
    return {str(key): value for key, value in fields.items()}
