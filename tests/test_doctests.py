"""The examples in docstrings run. Those of rules are run by the conformance kit (section Example)."""

from __future__ import annotations

import doctest
import importlib
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src"
RULES = SOURCE / "bpfree" / "algorithms"


def module_of(path: Path) -> str:
    parts = path.relative_to(SOURCE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = [
    module_of(path)
    for path in sorted(SOURCE.rglob("*.py"))
    if RULES not in path.parents and any(line.lstrip().startswith(">>> ") for line in path.read_text().splitlines())
]


def test_there_are_examples() -> None:
    assert {"bpfree", "bpfree.data", "bpfree.stats", "bpfree.rulesets"} <= set(MODULES)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("name", MODULES)
def test_the_examples_of_a_module(name: str) -> None:
    module = importlib.import_module(name)
    outcome = doctest.testmod(module, optionflags=doctest.ELLIPSIS)
    assert outcome.attempted > 0
    assert outcome.failed == 0
