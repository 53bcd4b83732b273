"""bench, analysis, models and report name no rule and no hyper-parameter of one: what is true of a rule, they ask the rule.

Read are the sources of these packages: texts in the code (docstrings are for people) and attributes. Ranges of a search
(spaces.yaml), suites and published tables are data about rules by name, and no Python.
"""

from __future__ import annotations

import ast
import dataclasses
from collections.abc import Iterator
from pathlib import Path

import pytest

import bpfree
from bpfree.algorithms import Algorithm, registry

SOURCE = Path(bpfree.__file__).parent
PACKAGES = ("bench", "analysis", "models", "report")
OURS = {name: rule for name, rule in registry().items() if rule.__module__.startswith("bpfree.")}
CLASSES = {rule.__name__ for name, rule in OURS.items() if name != "backprop"}

BASELINE = "backprop"
"""May be named, plain and without a setting: every ratio is over it, every update is compared with its gradient."""

OTHER_MEANINGS = {
    "memory": "the bytes of a record",
    "loss": "the stop rule's metric, a record's history",
    "target": "the accuracy that a time to target counts to",
    "output": "the output layer of a net, which no block owns",
    "blocks": "the blocks of a net or of a shape",
    "schedule": "the learning-rate schedule of a ruleset",
    "update": "dict.update, hashlib's update",
    "inference": "the cost of inference in a record",
    "readout": "the ruleset's way to choose a readout",
    "variant": "an arm's own words in a record",
    "sign": "of a difference, in the statistics",
    "temperature": "of a device",
    "maths": "what a record says was run; a shared hyper-parameter",
    "dropout": "means the same in every rule that has it: alignment switches it off",
}
"""Names of hyper-parameters that are words of the harness as well, and what they mean there."""


def shared() -> set[str]:
    return {field.name for field in dataclasses.fields(Algorithm)}


def own_fields() -> set[str]:
    every = {field.name for rule in OURS.values() for field in dataclasses.fields(rule)}
    return every - shared() - set(OTHER_MEANINGS)


def files() -> list[Path]:
    return sorted(path for package in PACKAGES for path in (SOURCE / package).rglob("*.py"))


def docstrings(tree: ast.AST) -> set[int]:
    """Lines of texts that stand by themselves: docstrings, of attributes too."""
    return {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)}


def hits(text: str) -> Iterator[str]:
    tree = ast.parse(text)
    skipped, fields = docstrings(tree), own_fields()
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in skipped:
            if node.value.split(":")[0] in OURS and node.value != BASELINE:
                yield f"line {node.lineno}: names the rule {node.value!r}"
            if node.value in fields:
                yield f"line {node.lineno}: names the hyper-parameter {node.value!r}"
        elif isinstance(node, ast.Attribute) and node.attr in fields:
            yield f"line {node.lineno}: reads the hyper-parameter .{node.attr}"
        elif isinstance(node, ast.Name) and node.id in CLASSES:
            yield f"line {node.lineno}: names the class {node.id}"


@pytest.mark.parametrize("path", files(), ids=lambda path: str(path.relative_to(SOURCE)))
def test_no_rule_is_known_by_name(path: Path) -> None:
    assert not list(hits(path.read_text()))


@pytest.mark.parametrize(
    "text",
    [
        '_STEP = {"pepita": 1}',
        'arm = "backprop:update=in-sweep"',
        'arm = "foton:memory=low"',
        "rule.orthogonalise_every",
        'PLAIN = {"mirroring": 0}',
        "Pepita()",
    ],
)
def test_a_name_would_be_found(text: str) -> None:
    assert len(list(hits(text))) == 1


def test_every_exception_is_needed() -> None:
    fields = {field.name for rule in OURS.values() for field in dataclasses.fields(rule)} - shared()
    assert set(OTHER_MEANINGS) <= fields


def test_the_protocol_is_small() -> None:
    """Eight public methods, four of them to be written; what is done with a rule is a function."""
    public = {name for name in dir(Algorithm) if not name.startswith("_") and callable(getattr(Algorithm, name))}
    assert public == {"traits", "init", "learn", "scores", "phases", "close", "upkeep", "cost"}
    assert Algorithm.__abstractmethods__ == {"traits", "init", "learn", "scores"}
