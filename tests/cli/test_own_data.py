"""The user's own file on the command line: the order of channels, own splits, new examples for a model."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from bpfree import data, rulesets
from bpfree.bench.preparation import other_splits, prepare
from bpfree.errors import RulesetError

from .conftest import Outcome

Command = Callable[..., Outcome]

Y = np.arange(60) % 3
TRAIN = ("train", "mono-forward", "--net", "mlp:1x8", "--max-passes", "2", "--batch-size", "16")


def images(*shape: int) -> np.ndarray:
    """Of each class another shade."""
    return (np.random.RandomState(0).randint(0, 60, (60, *shape)) + 80 * Y.reshape(-1, *[1] * len(shape))).astype(np.uint8)


def record(bpfree: Command, *options: str) -> tuple[dict, str]:
    outcome = bpfree(*TRAIN, *options, "--json")
    assert outcome.code == 0, outcome.err
    return json.loads(outcome.out), outcome.err


def test_channels_last_are_said_in_one_line_and_overruled(bpfree: Command, tmp_path: Path) -> None:
    x = images(6, 6, 4)
    np.savez(tmp_path / "mine.npz", x=x, y=Y)
    of_rule, said = record(bpfree, "--dataset", "mine.npz", "--out", "A")
    (line,) = [line for line in said.splitlines() if "channels" in line]
    assert line.startswith("bpfree: warning: mine.npz: x with examples of shape (6, 6, 4) is read as 4 channels of 6 x 6")
    first, said = record(bpfree, "--dataset", "mine.npz", "--channels", "first", "--out", "B")
    assert "channels" not in said
    last, said = record(bpfree, "--dataset", "mine.npz", "--channels", "last", "--out", "C")
    assert "channels" not in said
    assert last["split"] == of_rule["split"] == data.from_arrays(np.moveaxis(x, 3, 1), Y).split_digest
    assert first["split"] == data.from_arrays(x, Y, channels="first").split_digest != last["split"]


def test_what_can_be_both_is_refused_before_anything_is_written(bpfree: Command, tmp_path: Path) -> None:
    np.savez(tmp_path / "mine.npz", x=images(20, 1, 1), y=Y)
    outcome = bpfree(*TRAIN, "--dataset", "mine.npz", "--out", "R")
    assert outcome.code == 2
    assert "say --channels first or --channels last" in outcome.one_line()
    assert "did you mean last" in bpfree(*TRAIN, "--dataset", "mine.npz", "--channels", "lest", "--out", "R").one_line()
    assert not (tmp_path / "R").exists()


def test_a_model_reads_new_examples_in_the_order_of_its_own(bpfree: Command, tmp_path: Path) -> None:
    x = images(6, 6, 4)
    np.savez(tmp_path / "mine.npz", x=x, y=Y)
    record(bpfree, "--dataset", "mine.npz", "--channels", "last", "--out", "R")
    answers = []
    for name, new, options in (
        ("last", x, ()),
        ("first", np.moveaxis(x, 3, 1), ()),
        ("told", np.moveaxis(x, 3, 1), ("--channels", "first")),
    ):
        np.savez(tmp_path / f"{name}.npz", x=new)
        outcome = bpfree("predict", "R/model.safetensors", "--data", f"{name}.npz", *options)
        assert outcome.code == 0, outcome.err
        answers.append([row["p0"] for row in csv.DictReader(io.StringIO(outcome.out))])
    assert answers[0] == answers[1] == answers[2]
    wrong = bpfree("predict", "R/model.safetensors", "--data", "last.npz", "--channels", "first")
    assert "takes examples of shape (4, 6, 6), got (6, 6, 4)" in wrong.one_line()


def own(tmp_path: Path) -> dict[str, np.ndarray]:
    x = np.random.RandomState(0).standard_normal((60, 5)) + 3 * Y[:, None]
    rows = {"train": slice(0, 36), "validation": slice(36, 48), "test": slice(48, 60)}
    arrays = {f"{what}_{split}": values[part] for split, part in rows.items() for what, values in (("x", x), ("y", Y))}
    np.savez(tmp_path / "own.npz", **arrays)
    return arrays


def test_own_splits_are_trained_and_recorded(bpfree: Command, tmp_path: Path) -> None:
    arrays = own(tmp_path)
    seen, _ = record(bpfree, "--dataset", "own.npz", "--out", "R")
    assert seen["split"] == data.from_arrays(**arrays).split_digest
    assert round(seen["test_accuracy"] * 12) == pytest.approx(seen["test_accuracy"] * 12), "12 test examples"


def test_further_split_seeds_of_own_splits_are_refused(tmp_path: Path) -> None:
    own(tmp_path)
    rules = rulesets.load("quick").with_changes({"split_seeds": 2, "batch_size": 16})
    path = str(tmp_path / "own.npz")
    setting = prepare(rules, path, "mlp:1x4", data.load(path).device)
    with pytest.raises(RulesetError, match=r"own.npz comes with its own splits, which no seed changes; use one split seed"):
        other_splits(setting, path)


@pytest.mark.filterwarnings("default::bpfree.train.ShortBudgetWarning")  # which the project's settings ignore
def test_a_budget_that_is_too_short_to_learn_is_said_once_with_one_that_is_not(bpfree: Command, tmp_path: Path) -> None:
    own(tmp_path)
    compare = ("compare", "--arms", "backprop,mono-forward", "--net", "mlp:1x2", "--trials", "1", "--seeds", "1")
    short = bpfree(*compare, "--dataset", "own.npz", "--batch-size", "36", "--max-passes", "2", "--out", "R")
    (line,) = [line for line in short.err.splitlines() if "too few" in line]
    assert line == (
        "bpfree: warning: own.npz: 36 training examples in batches of 36 give 2 steps in 2 passes, too few to learn at usual "
        "learning rates; give --max-passes 600 (600 steps)"
    )
    assert "too few" not in bpfree(*TRAIN, "--dataset", "own.npz", "--out", "S", "--quiet").err
