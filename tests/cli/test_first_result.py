"""How soon a command answers: what needs no torch does not import it. Modules are counted, not seconds."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from bpfree import catalogue, data, nets
from bpfree.algorithms import registry
from bpfree.bench import suites
from bpfree.cli.options import RuleOptions
from bpfree.errors import BpfreeError
from bpfree.testing.catalogue import as_text, content

SCRIPT = """
import contextlib, io, json, sys
import bpfree
seen = {"import bpfree": (0, "", sorted(sys.modules))}
from bpfree.cli import run
for command in json.loads(sys.argv[1]):
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = run(command.split())
    seen[command] = (code, err.getvalue(), sorted(sys.modules))
print(json.dumps(seen))
"""
"""Runs commands one after another in one process: what one of them imports stays for those behind it."""

HEAVY = {"torch", "scipy", "altair", "vl_convert", "optuna", "sklearn", "pandas", "sqlalchemy"}

HELP = ("--version", "--help")
"""They come first: nothing was imported before them. (typer reads the types of one command's options by pydantic.)"""

NOT_FOR_HELP = {"rich", "pydantic", "yaml", "numpy", "importlib.metadata", "bpfree.rulesets", "bpfree.bench"}
NOT_FOR_LISTS = {"rich", "yaml", "numpy", "bpfree.rulesets", "bpfree.bench", "bpfree.algorithms"}

COMMANDS = (
    *HELP,
    "compare --help",
    "measure flops --help",
    "cite mono-forward forward-forward",
    "list",
    "list rules --json",
    "list rulesets",
    "list rulesets quick",
    "list --json",
    "reproduce --list",
    "reproduce spyra2025 --list",
    "reproduce mf2025 --list --json",
)

ERRORS = {
    "compare --bogus": "No such option",
    "cite nothing": "unknown algorithm 'nothing'",
    "list nothing": "unknown thing to list",
    "train monoforward": "unknown algorithm 'monoforward'",
    "train backprop --set learning=1": "unknown hyper-parameter of backprop 'learning'",
    "train backprop --set lr=-1": "backprop: lr must be a finite number above 0, got -1.0",
    "train mono-forward --set schedule=half": "mono-forward: schedule must be one of",
    "tune pepita:lr=x": "pepita: lr must be",
    "compare --arms backprop,foo": "unknown algorithm 'foo'",
    "compare --dataset mnits": "unknown data set 'mnits'",
    "compare --dataset digits:n=3": "data set digits takes no options",
    "compare --dataset my.csv": "there is no file my.csv",
    "compare --dataset absent.npz": "there is no file absent.npz",
    "compare --net mpl:2x8": "unknown net 'mpl'",
    "compare --net mlp:2xfoo": "cannot read the net 'mlp:2xfoo'; write mlp:DEPTHxWIDTH",
    "compare --net mlp:0x8": "has a depth or width below 1",
    "compare --net mlp": "cannot read the net 'mlp'",
    "train backprop --net cnn3:4-x": "write whole numbers of at least 1, such as cnn3",
    "train backprop --net vit:depth=0": "depth must be a whole number of at least 1, got '0'",
    "train backprop --net vit:3": "the net 'vit:3' takes no '3'",
    "train backprop --net mlp:2x8:activatoin=tanh": "unknown option 'activatoin'; known: activation",
    "train backprop --net mlp:2x8:": "has nothing behind a colon",
    "compare --country POLAND": "a country is given by its two or three letters: POL for POLAND",
    "doctor --country XYZ": "unknown country 'XYZ'",
    "reproduce": "name a suite: foton2025",
    "export a.safetensors --to a.xyz": "a.xyz says no format; use --format onnx or --format torch",
    "export a.safetensors --to a.onnx --format coreml": "unknown format 'coreml'",
    "export absent --to a.onnx": "absent cannot be read as a model",
    "compare --ruleset quik": "unknown ruleset 'quik'",
    "compare --seeds 0": "--seeds must be at least 1",
    "compare --max-passes 0": "budget.max_passes",
    "compare --target 7": "--target must be an accuracy",
    "compare --device tpu": "unknown device 'tpu'",
    "train backprop --device mps": "device 'mps' is not supported",
    "tune backprop --ruleset legacy-2025": "only for `bpfree reproduce`",
    "measure flops --arms foo": "unknown algorithm 'foo'",
    "measure memory --net mpl:2": "unknown net 'mpl'",
    "measure inference absent": "absent cannot be read as a model",
    "predict absent --data x.npz": "absent cannot be read as a model",
    "predict a.safetensors --data absent.npz": "there is no file absent.npz; check the path",
    "analyse alignment --rule foo": "unknown algorithm 'foo'",
    "report absent": "absent is not a directory",
    "reproduce nothing": "unknown suite 'nothing'",
}


def test_what_needs_no_torch_imports_none(tmp_path: Path) -> None:
    """One process of two seconds for all commands."""
    commands = json.dumps([*COMMANDS, *ERRORS])
    (tmp_path / "a.safetensors").touch()
    made = subprocess.run([sys.executable, "-c", SCRIPT, commands], cwd=tmp_path, text=True, capture_output=True, check=False)
    assert made.returncode == 0, made.stderr
    seen = json.loads(made.stdout)
    for command, (code, error, modules) in seen.items():
        assert HEAVY & set(modules) == set(), command
        assert code == (2 if command in ERRORS else 0), (command, error)
        assert ERRORS.get(command, "") in error and error.count("\n") == (command in ERRORS)
    for command in ("import bpfree", *HELP):
        assert NOT_FOR_HELP & set(seen[command][2]) == set(), command
    for command in COMMANDS:
        assert NOT_FOR_LISTS & set(seen[command][2]) == set(), command
    assert [path.name for path in tmp_path.iterdir()] == ["a.safetensors"]


def test_the_catalogue_is_that_of_the_code() -> None:
    assert catalogue.FILE.read_text() == as_text(content()), "make it again: python -m bpfree.testing.catalogue"


def test_the_catalogue_is_read_as_the_code_has_it() -> None:
    for name, entry in catalogue.rules().items():
        fields = dataclasses.fields(registry()[name])
        assert entry.defaults == {field.name: field.default for field in fields}
        assert entry.ranges == {field.name: field.metadata["range"] for field in fields}
    assert {*catalogue.rules(), *catalogue.other_rules()} == set(registry())
    assert catalogue.nets() == nets.describe()
    assert catalogue.datasets() == data.describe()
    assert list(catalogue.suites()) == list(suites.names())


@pytest.mark.parametrize(
    "text",
    [
        *("mlp:2x8", "mlp:8-4:activation=tanh", "mlp:ax8", "mlp:0x8", "mlp:8-0", "mlp", "mlp:2x8:", "mlp:2x8:depth=3"),
        *("cnn3:4-x", "cnn3", "lenet5:3", "pepita-conv:4-4", "vit:depth=x", "vit:heads=1:heads=2", "mixer:words", "resnet8:0"),
        "patches:overlap=-1",
    ],
)
def test_texts_of_nets_are_refused_as_by_building_them(text: str) -> None:
    def answer(check: Callable[..., object], *arguments: object) -> str:
        try:
            check(text, *arguments)
        except BpfreeError as error:
            return f"{type(error).__name__} {error}"
        return "taken"

    assert answer(catalogue.check_net) == answer(nets.build, (3, 32, 32), 10)


@pytest.mark.parametrize(
    "text",
    [
        "digits",
        "mnist",
        "synthetic:n=50",
        "mnits",
        "digits:x",
        "a.csv",
        "a.npz",
        "synthetic.npz",
        "a.mat",
        "x.npy",
        "x.npy,y.npy",
        ".",
        "",
    ],
)
def test_data_sets_are_refused_as_by_their_package(text: str) -> None:
    def answer(check: object) -> str:
        try:
            check(text)  # pyright: ignore[reportCallIssue]
        except BpfreeError as error:
            return f"{type(error).__name__} {error}"
        return "taken"

    assert answer(catalogue.check_dataset) == answer(data.check_name)


def test_every_option_that_changes_a_ruleset_is_looked_at() -> None:
    from bpfree.cli import early

    assert set(RuleOptions.__dataclass_fields__) - {"ruleset"} <= set(early._RULES)
