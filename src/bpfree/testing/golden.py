"""Golden trajectories: five steps of a rule in float64, written down once, compared ever after.

A change of a formula, of an initialisation or of the order of draws shows here, wanted or not. Write them again with

    python -m bpfree.testing.golden DIR                                    every file of DIR, from its name
    python -m bpfree.testing.golden DIR mono-forward:schedule=staged ...   these rules, new files or old
    python -m bpfree.testing.golden DIR my_package.rule:MyRule:beta=2 ...  likewise, of a package that is not installed

where DIR is the folder ``golden`` beside the test file (it is made if need be), and say in the change why the numbers moved.
"""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from bpfree.algorithms import Algorithm, make, names, params, parse, rule_class
from bpfree.errors import BpfreeError, UsageError
from bpfree.files import write_atomic, writing
from bpfree.functions import function_named, is_function_text
from bpfree.nets import DenseBlock
from bpfree.testing.bench import RuleOnNet, chain
from bpfree.text import key_values

__all__ = ["SIZES", "TOLERANCE", "differences", "file_name", "label", "main", "trajectory", "words_of", "write"]

SIZES = (6, 6, 6, 6, 3)
"""Examples in each of the five steps; the last batch is ragged."""

TOLERANCE = 1e-10
"""Largest difference that another machine's rounding explains, in float64."""


def label(algorithm: Algorithm) -> str:
    """Name and everything that is not a default, such as ``mono-forward,schedule=staged``."""
    changed = [
        f"{field.name}={getattr(algorithm, field.name)}"
        for field in dataclasses.fields(algorithm)
        if getattr(algorithm, field.name) != field.default
    ]
    return ",".join([algorithm.name, *changed])


def file_name(algorithm: Algorithm) -> str:
    """The file of a rule's trajectory, such as ``mono-forward,schedule=staged.json``."""
    return label(algorithm) + ".json"


def trajectory(algorithm: Algorithm) -> dict[str, Any]:
    """Losses of five steps (in each phase), and what was learned at the end, as JSON values."""
    net = chain(DenseBlock, (2, 3), (5, 4), 3).double()
    bench = RuleOnNet.start(algorithm, net, seed=0)
    losses = [loss.tolist() for loss in bench.all_phases(SIZES)]
    scores = algorithm.scores(bench.net, bench.state, bench.batch(2, 99).x, bench.last_phase)
    return {
        "algorithm": algorithm.name,
        "params": params(algorithm),
        "losses": losses,
        "scores": scores.tolist(),
        "learned": {name: value.tolist() for name, value in bench.parameters()},
    }


def differences(stored: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """Where two trajectories differ by more than :data:`TOLERANCE`, one line each."""
    lines = []
    for key in ("losses", "scores"):
        lines += _compare(key, stored[key], now[key])
    if set(stored["learned"]) != set(now["learned"]):
        return [*lines, f"learned: {sorted(stored['learned'])} became {sorted(now['learned'])}"]
    for name, values in stored["learned"].items():
        lines += _compare(name, values, now["learned"][name])
    return lines


def _compare(name: str, stored: Any, now: Any) -> list[str]:
    if name == "losses":
        if len(stored) != len(now):
            return [f"losses: {len(stored)} steps became {len(now)}"]
        return [
            line for k, (a, b) in enumerate(zip(stored, now, strict=True)) for line in _compare(f"loss of step {k + 1}", a, b)
        ]
    before, after = torch.tensor(stored, dtype=torch.float64), torch.tensor(now, dtype=torch.float64)
    if before.shape != after.shape:
        return [f"{name}: shape {tuple(before.shape)} became {tuple(after.shape)}"]
    worst = float((before - after).abs().max())
    return [] if worst <= TOLERANCE else [f"{name}: differs by {worst:.3g}"]


def write(algorithm: Algorithm, folder: Path) -> Path:
    """Write the trajectory of a rule, in a new folder if need be; returns its file."""
    path = folder / file_name(algorithm)
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    lines = [f"{json.dumps(key)}: {json.dumps(value)}" for key, value in trajectory(algorithm).items()]
    write_atomic(path, "{\n" + ",\n".join(lines) + "\n}\n")  # a line for each key: a change shows what moved
    return path


def words_of(algorithm: Algorithm) -> str:
    """How the command names a rule: by its name where it is registered, else by its class."""
    name, *options = label(algorithm).split(",")
    kind = type(algorithm)
    if name not in names() or rule_class(name) is not kind:
        name = f"{kind.__module__}:{kind.__qualname__}"
    return ":".join([name, *options])


def _parse(words: str) -> Algorithm:
    name, *pairs = words.split(":")
    if name in names() or not pairs or not is_function_text(f"{name}:{pairs[0]}"):
        return make(name, key_values(pairs, form="NAME:key=value:key=value", where=repr(words)))
    rule = function_named(f"{name}:{pairs[0]}")
    if not (isinstance(rule, type) and issubclass(rule, Algorithm)):
        raise UsageError(f"{name}:{pairs[0]} is no class derived from bpfree.algorithms.Algorithm")
    options = key_values(pairs[1:], form="MODULE:CLASS:key=value", where=repr(words))
    return rule(**parse(rule.name, rule, options))


def main(arguments: Sequence[str]) -> int:
    """The command; returns its exit code."""
    if not arguments or arguments[0].startswith("-"):
        print(__doc__)  # noqa: T201  # a command's help
        return 2
    folder = Path(arguments[0])
    rules = arguments[1:] or [path.stem.replace(",", ":") for path in sorted(folder.glob("*.json"))]
    if not rules:
        print(f"{folder} holds no trajectories; name rules behind it, such as mono-forward", file=sys.stderr)  # noqa: T201
        return 2
    try:
        for algorithm in [_parse(words) for words in rules]:
            print(f"wrote {write(algorithm, folder)}")  # noqa: T201  # a command's result
    except BpfreeError as error:
        print(error, file=sys.stderr)  # noqa: T201
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
