"""``--net module:function`` and ``--dataset module:function``: the user's own code, run where the user asked for it."""

from __future__ import annotations

import csv
import io
import json
import pickle
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from bpfree import rulesets
from bpfree.bench import Setting
from bpfree.bench.preparation import prepare
from bpfree.bench.worker import packed
from bpfree.meter import Meter

from .conftest import Outcome

Command = Callable[..., Outcome]

CODE = """
import numpy as np
from torch import nn

def make(in_shape, n_classes):
    return nn.Sequential(nn.Linear(in_shape[0], 8), nn.GELU(), nn.Linear(8, n_classes))

def wider(in_shape, n_classes):
    return nn.Sequential(nn.Linear(in_shape[0], 9), nn.GELU(), nn.Linear(9, n_classes))

class Staged(nn.Module):
    def __init__(self, n, n_classes):
        super().__init__()
        self.stem, self.head = nn.Linear(n, 8), nn.Linear(7, n_classes)
        self.body = nn.Sequential(nn.GELU(), nn.Linear(8, 7), nn.Tanh())

    def forward(self, x):
        return self.head(self.body(self.stem(x)))

def staged(in_shape, n_classes):
    return Staged(in_shape[0], n_classes), ["stem", "body", "head"]

def unlisted(in_shape, n_classes):
    return Staged(in_shape[0], n_classes), ["stem", "head"]

def load():
    y = np.arange(90) % 3
    return np.random.default_rng(0).normal(size=(90, 6)) + 2 * np.eye(3, 6)[y], y

def splits():
    x, y = load()
    return {"x_train": x[:60], "y_train": y[:60], "x_test": x[60:], "y_test": y[60:]}

def broken(in_shape, n_classes):
    raise RuntimeError("no such thing")

def other(in_shape, n_classes):
    return make((7,), n_classes)

def more(in_shape, n_classes):
    return make(in_shape, n_classes + 1)

number = 3
"""

TRAIN = ("train", "backprop", "--max-passes", "2", "--batch-size", "16")


@pytest.fixture
def own(bpfree: Command, tmp_path: Path) -> Iterator[str]:
    """The name of a module in the working directory, another in each test."""
    name = f"own_{abs(hash(tmp_path)) % 10**8}"
    (tmp_path / f"{name}.py").write_text(CODE)
    yield name
    sys.modules.pop(name, None)


@pytest.mark.parametrize("form", ["{}", "./{}.py"], ids=["module", "file"])
def test_a_net_and_data_of_ones_own_are_trained_and_predict(bpfree: Command, own: str, form: str, tmp_path: Path) -> None:
    place = form.format(own)
    outcome = bpfree(*TRAIN, "--net", f"{place}:make", "--dataset", f"{place}:load", "--out", "R", "--json")
    assert outcome.code == 0, outcome.err
    record = json.loads(outcome.out)
    assert (record["net"], record["dataset"]) == (f"{place}:make", f"{place}:load")
    np.savez(tmp_path / "new.npz", x=np.zeros((2, 6)))
    refused = bpfree("predict", "R/model.safetensors", "--data", "new.npz")
    assert "a function that is not run for a file; give its net" in refused.one_line()
    answers = bpfree("predict", "R/model.safetensors", "--data", "new.npz", "--net", f"{place}:make")
    assert answers.code == 0, answers.err
    assert len(list(csv.DictReader(io.StringIO(answers.out)))) == 2


def test_a_module_with_its_stages_is_a_net(bpfree: Command, own: str) -> None:
    outcome = bpfree(*TRAIN, "--net", f"{own}:staged", "--dataset", f"{own}:load", "--out", "R", "--json")
    assert outcome.code == 0, outcome.err
    assert json.loads(outcome.out)["n_params"] == 6 * 8 + 8 + 8 * 7 + 7 + 7 * 3 + 3
    refused = bpfree(*TRAIN, "--net", f"{own}:unlisted", "--dataset", f"{own}:load", "--out", "S")
    assert "the stages leave out the parameter 'body.1.weight' of the net" in refused.one_line()


def test_a_comparison_with_own_splits(bpfree: Command, own: str) -> None:
    options = ("--trials", "1", "--max-passes", "1", "--seeds", "1", "--batch-size", "16")
    data = ("--net", f"{own}:make", "--dataset", f"{own}:splits")
    outcome = bpfree("compare", "--arms", "backprop,mono-forward", *data, *options, "--out", "R", "--json")
    assert outcome.code == 0, outcome.err
    (table,) = json.loads(outcome.out)["tables"]
    assert (table["net"], table["dataset"]) == (f"{own}:make", f"{own}:splits")
    sys.modules[own].make = sys.modules[own].wider
    changed = bpfree("compare", "--arms", "backprop,mono-forward", *data, *options, "--out", "R")
    assert "with 83 parameters, and now it makes a net with 93; choose another --out DIR" in changed.one_line()


def test_another_process_makes_the_net_too(bpfree: Command, own: str) -> None:
    """What a process of a search is sent names the function; it imports the module itself."""
    device = torch.device("cpu")
    setting = prepare(rulesets.load("quick"), f"{own}:load", f"{own}:make", device, meter=Meter(device))
    sent: Setting
    sent, threads = pickle.loads(packed(setting, 3))
    assert threads == 3
    del sys.modules[own]
    assert [block.out_shape for block in sent.build_net()] == [(8,)]


@pytest.mark.parametrize("command", ["flops", "training"])
def test_costs_of_a_net_of_ones_own(bpfree: Command, own: str, command: str) -> None:
    more = ("--seconds", "0.01", "--max-seconds", "0.02") if command == "training" else ()
    outcome = bpfree(
        "measure", command, "--net", f"{own}:make", "--dataset", f"{own}:load", "--arms", "backprop", "--batch-size", "9", *more
    )
    assert outcome.code == 0, outcome.err


@pytest.mark.parametrize(
    ("option", "text", "words"),
    [
        ("--net", "{}:maek", "unknown function in {}: 'maek'; did you mean make"),
        ("--net", "{}:number", "is a int, not a function"),
        ("--net", "{}:broken", "raised RuntimeError: no such thing"),
        ("--net", "{}:other", "cannot take examples of (6,): its linear map takes 7 features"),
        ("--net", "nowhere:make", "unknown net 'nowhere'; known: "),
        ("--net", "nowhere:make", "there is no module nowhere for 'nowhere:make'; run where it is, or write the path"),
        ("--net", "{}:more", "has 4 classes, but the data have examples of (6,) and 3 classes; build it from the arguments"),
        ("--net", "./nowhere.py:make", "there is no file nowhere.py for './nowhere.py:make'"),
        ("--dataset", "{}:number", "is a int, not a function"),
        ("--dataset", "{}:make", "{}:make() raised TypeError"),
        ("--dataset", "nowhere:load", "unknown data set 'nowhere'; known: "),
        ("--dataset", "mnits:load", "did you mean mnist or digits? Or, for data of your own: there is no module mnits"),
    ],
)
def test_what_is_wrong_with_ones_own_code_is_one_line(
    bpfree: Command, own: str, option: str, text: str, words: str, tmp_path: Path
) -> None:
    chosen = {"--net": f"{own}:make", "--dataset": f"{own}:load"} | {option: text.format(own)}
    outcome = bpfree(*TRAIN, *(word for pair in chosen.items() for word in pair), "--out", "R")
    assert outcome.code == 2
    assert words.format(own) in outcome.one_line()
    assert not (tmp_path / "R").exists()


def test_a_module_that_does_not_run_is_told_with_its_line(bpfree: Command, tmp_path: Path) -> None:
    (tmp_path / "wrong.py").write_text("import numpy\n1 / 0\n")
    line = bpfree(*TRAIN, "--net", "./wrong.py:make", "--dataset", "synthetic:n=60:inputs=6:classes=3", "--out", "R").one_line()
    assert "importing wrong.py for './wrong.py:make' raised ZeroDivisionError: division by zero" in line
    assert "wrong.py, line 2" in line


def test_the_name_of_a_family_is_never_a_module(bpfree: Command, tmp_path: Path) -> None:
    (tmp_path / "mlp.py").write_text("def make(in_shape, n_classes):\n    raise SystemExit\n")
    assert "cannot read the net 'mlp:make'" in bpfree(*TRAIN, "--net", "mlp:make", "--out", "R").one_line()
