"""The committed lists: which modules are mutated with which tests, and which survivors are accepted."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tools.mutation.mutants import Mutant

__all__ = ["Accepted", "ListError", "Package", "read_accepted", "read_chosen", "read_libraries", "read_packages", "select"]


class ListError(Exception):
    """A list names something that does not exist; one line that says what to edit."""


@dataclass(frozen=True)
class Package:
    """One package: its modules and the tests nearest to each."""

    name: str
    path: Path
    tests: tuple[str, ...]
    """Tests of every module without an entry in :attr:`nearest`."""
    nearest: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """Tests by module: ``beside`` is the file ``beside.py`` or every file of the folder ``beside``."""
    skip: dict[str, str] = field(default_factory=dict)
    """Modules that are not mutated, with the reason."""

    def modules(self, root: Path) -> list[Path]:
        """Its files, relative to ``root``, sorted; ``__init__.py`` and what is skipped left out."""
        files = sorted(path.relative_to(root) for path in (root / self.path).rglob("*.py"))
        return [path for path in files if path.name != "__init__.py" and not self._matches(path, self.skip)]

    def tests_of(self, module: Path) -> tuple[str, ...]:
        """The nearest tests, as arguments of pytest."""
        names = self._matches(module, self.nearest)
        return self.nearest[max(names, key=len)] if names else self.tests

    def _matches(self, module: Path, names: dict[str, Any]) -> list[str]:
        inside = module.relative_to(self.path).with_suffix("").parts
        return [name for name in names if inside[: len(Path(name).parts)] == Path(name).parts]

    def check(self, root: Path) -> None:
        """Raise :class:`ListError` for the first path of the list that does not exist."""
        if not (root / self.path).is_dir():
            raise ListError(f"packages.{self.name}.path: no folder {self.path}; edit tests/mutation.toml")
        for name in (*self.nearest, *self.skip):
            place = root / self.path / name
            if not (place.is_dir() or place.with_name(place.name + ".py").is_file()):
                raise ListError(f"packages.{self.name}: no module {self.path / name}; edit tests/mutation.toml")
        for test in (*self.tests, *(test for tests in self.nearest.values() for test in tests)):
            if not (root / test.partition("::")[0]).exists():
                raise ListError(f"packages.{self.name}: no test {test}; edit tests/mutation.toml")


@dataclass(frozen=True)
class Accepted:
    """A mutant that no test needs to kill."""

    file: Path
    before: str
    after: str
    reason: str

    def covers(self, mutant: Mutant) -> bool:
        return (self.file, self.before, self.after) == (mutant.path, mutant.before, mutant.after)


def read_packages(path: Path, root: Path) -> list[Package]:
    """The packages of ``tests/mutation.toml``, every path checked."""
    packages = []
    for name, values in tomllib.loads(path.read_text(encoding="utf-8"))["packages"].items():
        also = values.get("also", [])
        nearest = {module: (*tests, *also) for modules, tests in values.get("nearest", {}).items() for module in modules.split()}
        package = Package(name, Path(values["path"]), (*values["tests"], *also), nearest, values.get("skip", {}))
        package.check(root)
        packages.append(package)
    return packages


def read_libraries(path: Path) -> list[str]:
    """The libraries of ``tests/mutation.toml`` that are imported once, not for each mutant."""
    return tomllib.loads(path.read_text(encoding="utf-8")).get("libraries", [])


def read_accepted(path: Path, root: Path) -> list[Accepted]:
    """The accepted survivors; an entry whose line is gone is an error, so that the list stays true."""
    entries = tomllib.loads(path.read_text(encoding="utf-8")).get("survivor", [])
    accepted = [Accepted(Path(entry["file"]), entry["before"], entry["after"], entry["reason"]) for entry in entries]
    for entry in accepted:
        source = root / entry.file
        if not source.is_file():
            raise ListError(f"{path.name}: no file {entry.file}; edit or delete the entry")
        if entry.before not in " ".join(source.read_text(encoding="utf-8").split()):
            raise ListError(f"{path.name}: {entry.file} has no line {entry.before!r} any more; delete the entry")
    return accepted


def read_chosen(path: Path, root: Path) -> dict[str, list[Mutant]]:
    """The mutants of ``tests/mutation-kinds.toml``, by the kind of error that they make."""
    chosen: dict[str, list[Mutant]] = {}
    for entry in tomllib.loads(path.read_text(encoding="utf-8"))["mutant"]:
        file, before, after = Path(entry["file"]), entry["before"], entry["after"]
        if not (root / file).is_file():
            raise ListError(f"{path.name}: no file {file}; edit or delete the entry")
        lines = (root / file).read_text(encoding="utf-8").splitlines(keepends=True)
        places = [k for k, line in enumerate(lines) if line.strip() == before]
        if len(places) != 1:
            raise ListError(f"{path.name}: {file} has {len(places)} lines {before!r}, and one is needed; edit the entry")
        (k,) = places
        code = "".join([*lines[:k], lines[k].replace(before, after), *lines[k + 1 :]])
        chosen.setdefault(entry["kind"], []).append(Mutant(file, k + 1, before, after, code))
    return chosen


def select(packages: Sequence[Package], names: Sequence[str], root: Path) -> Iterator[tuple[Package, Path]]:
    """Modules by package; ``names`` are packages or modules such as ``stats`` or ``stats/intervals``, none for all."""
    pairs = [(package, module) for package in packages for module in package.modules(root)]
    by_name = [
        (f"{package.name}/{module.relative_to(package.path).with_suffix('')}", package, module) for package, module in pairs
    ]
    for name in names:
        if not any(f"{long}/".startswith(f"{name}/") for long, _, _ in by_name):
            raise ListError(f"unknown module {name!r}; known packages: {', '.join(package.name for package in packages)}")
    for long, package, module in by_name:
        if not names or any(f"{long}/".startswith(f"{name}/") for name in names):
            yield package, module
