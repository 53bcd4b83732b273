"""bench, analysis, models, planning and report name no rule and no hyper-parameter of one: they ask the rule.

Read are the sources of these packages: texts in the code (docstrings are for people), attributes, arguments, classes and imports,
and the templates of the report. Ranges of a search (spaces.yaml), suites and published tables are data about rules by name, and
no Python.
"""

from __future__ import annotations

import ast
import dataclasses
import re
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

import bpfree
from bpfree.algorithms import Algorithm, registry

SOURCE = Path(bpfree.__file__).parent
PACKAGES = ("bench", "analysis", "models", "report", "planning")
OURS = {name: rule for name, rule in registry().items() if rule.__module__.startswith("bpfree.")}

BASELINE = "backprop"
"""May be named, plain and without a setting: every ratio is over it, every update is compared with its gradient."""

EXAMPLE = "no arm was given; write --arms backprop,mono-forward"
"""A message that names a rule, so that a user sees how arms are written."""

OTHER_MEANINGS = {
    "memory": "the bytes of a record",
    "target": "the accuracy that a time to target counts to",
    "output": "the output layer of a net, which no block owns",
    "schedule": "the learning-rate schedule of a ruleset",
    "update": "dict.update, hashlib's update",
    "inference": "the cost of inference in a record",
    "readout": "the ruleset's way to choose a readout",
    "reach": "whether and when a run comes to a target accuracy",
    "variant": "an arm's own words in a record",
    "maths": "what a record or the file of a model says was run",
    "dropout": "means the same in every rule that has it: alignment switches it off",
    "alpha": "the level of a test",
    "loss": "the cross-entropy of a read-out, at a point of a landscape",
}
"""Names of hyper-parameters that are words of the harness as well, and what they mean there. They are not looked up in the
hyper-parameters of a rule, and do not stand in a list with each other."""


def shared() -> set[str]:
    return {field.name for field in dataclasses.fields(Algorithm)}


@cache
def own_fields() -> set[str]:
    return {field.name for rule in OURS.values() for field in dataclasses.fields(rule)} - shared()


@cache
def own_classes() -> set[str]:
    """Public classes of the files and packages of the rules: rules, states, slots; but for the baseline itself."""
    homes = {".".join(rule.__module__.split(".")[:3]) for rule in OURS.values()}
    modules = [each for name, each in sys.modules.items() if ".".join(name.split(".")[:3]) in homes]
    classes = {each for module in modules for each in vars(module).values() if isinstance(each, type)}
    return {each.__name__ for each in classes if ".".join(each.__module__.split(".")[:3]) in homes} - {OURS[BASELINE].__name__}


def files() -> list[Path]:
    return sorted(path for package in PACKAGES for path in (SOURCE / package).rglob("*.py"))


def docstrings(tree: ast.AST) -> set[int]:
    """Lines of texts that stand by themselves: docstrings, of attributes too."""
    return {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)}


def named_in(text: str) -> Iterator[str]:
    """The rules that a text names, and the hyper-parameters of which it is made or which it sets (``"a=1,b=2"``)."""
    for word in re.findall(r"[A-Za-z][\w-]*(?:[=:](?=\w))?", text):
        name = word.rstrip("=:")
        rule = name.lower() in OURS and (name != BASELINE or word.endswith(":"))
        if rule or (name in own_fields() and (word.endswith("=") or text == word)):
            yield name


def names_of(node: ast.AST) -> Iterator[str]:
    """What a node of the syntax tree names, of rules and hyper-parameters."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value != EXAMPLE:
        yield from named_in(node.value)
    elif isinstance(node, ast.Attribute) and (node.attr in own_fields() or node.attr in own_classes()):
        yield node.attr
    elif isinstance(node, ast.Name) and node.id in own_classes():
        yield node.id
    elif isinstance(node, ast.keyword | ast.arg) and node.arg in own_fields():
        yield node.arg
    elif isinstance(node, ast.alias) and (node.name in own_classes() or node.name.startswith("bpfree.algorithms.")):
        yield node.name
    elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("bpfree.algorithms."):
        yield str(node.module)


def looked_up(node: ast.AST) -> Iterator[str]:
    """Hyper-parameters, whatever else they mean, that are looked up (``params["x"]``, ``getattr(rule, "x")``) or listed."""
    if isinstance(node, ast.Subscript) and ast.unparse(node.value).endswith("params"):
        texts = [node.slice]
    elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith(("params.get", "params.pop", "getattr")):
        texts = node.args
    elif isinstance(node, ast.Tuple | ast.List | ast.Set):
        texts = node.elts
    else:
        return
    names = [str(text.value) for text in texts if isinstance(text, ast.Constant) and text.value in own_fields()]
    yield from names if len(names) > 1 or not hasattr(node, "elts") else []


def hits(text: str) -> Iterator[str]:
    tree = ast.parse(text)
    skipped = docstrings(tree)
    for node in ast.walk(tree):
        if id(node) not in skipped:
            for name in [*(name for name in names_of(node) if name not in OTHER_MEANINGS), *looked_up(node)]:
                yield f"line {getattr(node, 'lineno', 0)}: names {name!r}"


@pytest.mark.parametrize("path", files(), ids=lambda path: str(path.relative_to(SOURCE)))
def test_no_rule_is_known_by_name(path: Path) -> None:
    assert not list(hits(path.read_text()))


@pytest.mark.parametrize("path", sorted((SOURCE / "report" / "templates").glob("*.j2")), ids=lambda path: path.name)
def test_no_template_names_a_rule(path: Path) -> None:
    words = set(re.findall(r"[a-z][\w-]*", path.read_text().lower()))
    assert not words & (set(OURS) - {BASELINE})


@pytest.mark.parametrize(
    "text",
    [
        '_STEP = {"pepita": 1}',
        'arm = "backprop:update=in-sweep"',
        'arm = "foton:eps"',
        'arms = "backprop,mono-forward"',
        'text = f"{label} beats FOTON"',
        'options = "orthogonal=kept"',
        'TELLING = ("blocks", "x")',
        'TELLING = ("schedule", "target")',
        'params["memory"]',
        'row.params.get("readout")',
        'getattr(rule, "loss", "")',
        'params.get("orthogonalise_every")',
        "rule.orthogonalise_every",
        "replace(rule, checkpoint_every=0)",
        'PLAIN = {"mirroring": 0}',
        "Pepita()",
        "algorithms.Pepita",
        "isinstance(state, PepitaState)",
        "from bpfree.algorithms import Pepita as Rule",
        "from bpfree.algorithms.pepita import mirroring as work",
        "import bpfree.algorithms.foton",
        "match rule:\n    case Foton():\n        pass",
    ],
)
def test_a_name_would_be_found(text: str) -> None:
    assert list(hits(text))


@pytest.mark.parametrize("text", ['"""FOTON."""', 'baseline = "backprop"', "Backprop()", 'label = "memory of a step"'])
def test_what_may_be_written(text: str) -> None:
    assert not list(hits(text))


def test_every_exception_is_needed() -> None:
    assert set(OTHER_MEANINGS) <= own_fields()
    nodes = [node for path in files() for node in ast.walk(ast.parse(path.read_text()))]
    assert set(OTHER_MEANINGS) <= {name for node in nodes for name in names_of(node)}


def test_the_protocol_is_small() -> None:
    """Eight public methods, four of them to be written; what is done with a rule is a function."""
    public = {name for name in dir(Algorithm) if not name.startswith("_") and callable(getattr(Algorithm, name))}
    assert public == {"traits", "init", "learn", "scores", "phases", "close", "upkeep", "cost"}
    assert Algorithm.__abstractmethods__ == {"traits", "init", "learn", "scores"}
