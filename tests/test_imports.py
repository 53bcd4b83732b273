"""No two files of the package import each other, directly or by way of others, not even for types.

import-linter holds the layers of packages; this holds the files inside them. The ``__init__.py`` files are left out: they only
gather names.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import bpfree

ROOT = Path(bpfree.__file__).parent


def module_files(root: Path) -> dict[str, Path]:
    """File of each module, by its full name; a package has the name of its folder."""
    files = {".".join((root.name, *path.relative_to(root).with_suffix("").parts)): path for path in root.rglob("*.py")}
    return {name.removesuffix(".__init__"): path for name, path in files.items()}


def imports(path: Path) -> set[str]:
    """Full names that a file imports, with ``from a import b`` as ``a`` and ``a.b``."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            names |= {f"{node.module}.{alias.name}" for alias in node.names} | {node.module}
        elif isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
    return names


def import_graph(root: Path) -> Mapping[str, set[str]]:
    """The modules that each module imports, without packages."""
    files = {name: path for name, path in module_files(root).items() if path.name != "__init__.py"}
    return {name: imports(path) & files.keys() for name, path in files.items()}


def first_circle(root: Path) -> list[str]:
    """Modules that import each other in a circle, the first one again at the end; empty if there is no circle."""
    try:
        TopologicalSorter(import_graph(root)).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


def test_no_circle() -> None:
    assert len(import_graph(ROOT)) > 200
    assert first_circle(ROOT) == []


@pytest.mark.parametrize(
    "line", ["import package.a", "from package.a import f", "from package import a", "    from package import a"]
)
def test_a_circle_is_found(tmp_path: Path, line: str) -> None:
    root = tmp_path / "package"
    root.mkdir()
    (root / "__init__.py").write_text("from package.a import f\n")
    (root / "a.py").write_text("from package import b\n")
    (root / "b.py").write_text("from package.c import g\n")
    (root / "c.py").write_text(f"if True:\n{line if line.startswith(' ') else '    ' + line}\n")
    assert set(first_circle(root)) == {"package.a", "package.b", "package.c"}
