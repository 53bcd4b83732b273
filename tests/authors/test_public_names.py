"""Rules outside the package are written with public names: the example, what ``new-rule`` writes, those of the tests."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterator
from pathlib import Path

import pytest

from bpfree.algorithms import Algorithm, BlockGradients, ChoosesReadout, LocalAlgorithm, building
from bpfree.cli.new_rule import write_package

ROOT = Path(__file__).parents[2]
OUTSIDE = [
    *sorted((ROOT / "examples").rglob("*.py")),
    *(ROOT / "tests" / "testing" / name for name in ("third_party_rule.py", "broken_rules.py")),
]
PRIVATE = {
    name
    for kind in (Algorithm, BlockGradients, ChoosesReadout, LocalAlgorithm)
    for name in vars(kind)
    if name.startswith("_") and not name.startswith("__")
}


def private_names(code: str) -> Iterator[str]:
    """What a module imports of bpfree, or calls on a rule, that begins with an underscore."""
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "bpfree":
            paths = [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            paths = [alias.name for alias in node.names if alias.name.partition(".")[0] == "bpfree"]
        elif isinstance(node, ast.Attribute) and node.attr in PRIVATE:
            paths = [node.attr]
        else:
            continue
        yield from (path for path in paths if any(part.startswith("_") for part in path.split(".")))


@pytest.mark.parametrize("path", OUTSIDE, ids=lambda path: path.name)
def test_of_files(path: Path) -> None:
    assert list(private_names(path.read_text())) == []


def test_of_what_new_rule_writes(tmp_path: Path) -> None:
    files = sorted(write_package("my-rule", tmp_path).rglob("*.py"))
    assert [path.name for path in files] == ["__init__.py", "rule.py", "test_rule.py"]
    assert [name for path in files for name in private_names(path.read_text())] == []


def test_private_names_are_recognised() -> None:
    code = "from bpfree.algorithms._heads import at_head\nimport bpfree.nets._x\nfrom bpfree.nets import _y\nself._optimiser([])"
    assert list(private_names(code)) == ["bpfree.algorithms._heads.at_head", "bpfree.nets._x", "bpfree.nets._y", "_optimiser"]
    assert list(private_names("from torch import _x\nfrom bpfree.nets import Chain\nself._mine()")) == []


def test_every_public_name_is_explained() -> None:
    constants = {"DISTRIBUTIONS", "READOUTS", "Moment"}
    for name in set(building.__all__) - constants:
        assert inspect.getdoc(getattr(building, name)), name
