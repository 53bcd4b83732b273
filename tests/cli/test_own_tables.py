"""Files of tables, pairs of .npy and labels of any kind: learned, named in what comes back, refused in one line."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from bpfree import data, rulesets
from bpfree.bench.preparation import other_splits, prepare
from bpfree.errors import RulesetError
from bpfree.models import load

from .conftest import Outcome

Command = Callable[..., Outcome]

N = 90
CLASS = np.arange(N) % 3
FRAME: Any = pd.DataFrame({
    "size": CLASS * 4.0 + np.random.RandomState(0).standard_normal(N),
    "colour": np.array(["red", "blue"])[CLASS % 2],
    "species": np.array(["ant", "mole", "wolf"])[CLASS],
    "part": np.array(["train", "train", "test"])[np.arange(N) // 3 % 3],
})  # fmt: skip
TRAIN = ("train", "backprop", "--set", "lr=0.05", "--net", "mlp:1x8", "--max-passes", "6", "--batch-size", "8", "--out", "R")
COMPARE = ("compare", "--arms", "backprop,pepita", "--net", "mlp:1x8", "--max-passes", "2", "--trials", "1", "--seeds", "1",
           "--batch-size", "16", "--out", "R")  # fmt: skip


@pytest.fixture
def files(bpfree: Command, tmp_path: Path) -> Command:
    """The command in a directory with files of the same examples."""
    FRAME.to_csv(tmp_path / "t.csv", index=False)
    FRAME.drop(columns="part").to_parquet(tmp_path / "t.parquet")
    FRAME[["colour", "size"]].to_csv(tmp_path / "new.csv", index=False)
    np.save(tmp_path / "x.npy", FRAME[["size"]].to_numpy())
    np.save(tmp_path / "y.npy", np.array([3, 7, 9])[CLASS])
    np.savez(tmp_path / "named.npz", x=FRAME[["size"]].to_numpy(), y=FRAME["species"].to_numpy().astype(str))
    return bpfree


@pytest.mark.filterwarnings("default::bpfree.train.ShortBudgetWarning")  # which the project's settings ignore
def test_a_table_is_learned_and_its_classes_come_back(files: Command, tmp_path: Path) -> None:
    outcome = files(*TRAIN, "--dataset", "t.csv", "--target", "species", "--split-column", "part", "--json")
    assert outcome.code == 0, outcome.err
    made = json.loads(outcome.out)
    expected = data.from_table(FRAME, "species", split_column="part")
    assert (made["split"], made["dataset"], made["n_test"]) == (expected.split_digest, "t.csv", 30)
    assert made["by_class"]["labels"] == ["ant", "mole", "wolf"]
    assert "t.csv: 51 training examples in batches of 8 give 42 steps in 6 passes, too few to learn" in outcome.err
    assert "give --max-passes" in outcome.err
    answers = list(csv.DictReader(io.StringIO(files("predict", "R/model.safetensors", "--data", "new.csv").out)))
    assert list(answers[0]) == ["example", "class", "p_ant", "p_mole", "p_wolf"]
    assert [row["class"] for row in answers] == load(tmp_path / "R" / "model.safetensors").predict(FRAME).tolist()
    assert np.mean([row["class"] for row in answers] == FRAME["species"]) > 0.9, "by chance a third"
    (first, *_) = json.loads(files("predict", "R/model.safetensors", "--data", "new.csv", "--json").out)
    assert first["class"] == answers[0]["class"]
    assert {name: f"{value:.6g}" for name, value in first["probabilities"].items()} == {
        name: answers[0][f"p_{name}"] for name in ("ant", "mole", "wolf")
    }
    scored = files("predict", "R/model.safetensors", "--data", "t.csv", "--target", "species")
    right = np.mean([row["class"] for row in answers] == FRAME["species"])
    assert scored.err == f"accuracy {100 * right:.2f} % of 90 examples\n"
    assert list(csv.DictReader(io.StringIO(scored.out))) == answers
    FRAME.assign(species="cat").to_csv(tmp_path / "cats.csv", index=False)
    unseen = files("predict", "R/model.safetensors", "--data", "cats.csv", "--target", "species")
    assert (unseen.code, unseen.out) == (2, "")
    assert "cats.csv: column 'species' has label 'cat', but training has the labels 'ant', 'mole', 'wolf'" in unseen.one_line()
    shown = files(*TRAIN, "--dataset", "t.csv", "--target-column", "species", "--split-column", "part").out
    ant = f"{100 * made['by_class']['recall'][0]:.2f}"
    assert f"recall by class ant: {ant}, mole: " in shown


def test_split_seeds_divide_a_table_anew() -> None:
    table = data.Table(FRAME.drop(columns="part"), "species")
    rules = rulesets.load("quick").with_changes({"split_seeds": 2, "batch_size": 16})
    setting = prepare(rules, table, "mlp:1x4", torch.device("cpu"))
    (other,) = other_splits(setting, table)
    expected = [data.from_table(table.source, "species", split_seed=seed).split_digest for seed in (0, 1)]
    assert [setting.data.split_digest, other.data.split_digest] == expected
    assert setting.data.classes == other.data.classes == ("ant", "mole", "wolf")
    own = data.Table(FRAME.assign(part=np.array(["train", "test", "validation"])[np.arange(N) // 30]), "species", "part")
    with pytest.raises(RulesetError, match=r"table comes with its own splits, which no seed changes"):
        other_splits(prepare(rules, own, "mlp:1x4", torch.device("cpu")), own)


@pytest.mark.parametrize(
    ("dataset", "classes"), [("x.npy,y.npy", ["3", "7", "9"]), (".", ["3", "7", "9"]), ("named.npz", ["ant", "mole", "wolf"])]
)
def test_arrays_with_labels_of_any_kind(files: Command, dataset: str, classes: list[str]) -> None:
    assert files(*TRAIN, "--dataset", dataset, "--quiet").code == 0
    answers = list(csv.DictReader(io.StringIO(files("predict", "R/model.safetensors", "--data", "x.npy").out)))
    assert sorted({row["class"] for row in answers}) == classes
    assert np.mean([row["class"] for row in answers] == np.array(classes)[CLASS]) > 0.9
    prefix = "p" if classes[0].isdigit() else "p_"
    assert list(answers[0])[2:] == [f"{prefix}{name}" for name in classes]


def test_other_commands_read_tables(files: Command) -> None:
    outcome = files("tune", "backprop", "--dataset", "t.csv", "--target", "species", "--net", "mlp:1x4", "--trials", "1",
                    "--max-passes", "1", "--batch-size", "16")  # fmt: skip
    assert outcome.code == 0, outcome.err
    counted = files("measure", "flops", "--dataset", "t.csv", "--target-column", "species", "--net", "mlp:1x4",
                    "--arms", "backprop", "--batch-size", "8", "--json")  # fmt: skip
    assert counted.code == 0, counted.err


TABLE = ("--dataset", "t.csv", "--target", "species")
BAD: list[tuple[tuple[str, ...], str]] = [
    (("--dataset", "t.csv"), "t.csv: which column holds the labels? say --target-column COLUMN"),
    (
        ("--dataset", "t.csv", "--target", "kind"),
        "t.csv has no column 'kind' to be the target; it has: 'size', 'colour', 'species'",
    ),
    ((*TABLE, "--split-column", "share"), "t.csv has no column 'share' to be the split column"),
    ((*TABLE, "--channels", "last"), "channels last was asked, but a table has no images"),
    (("--dataset", "absent.csv", "--target", "species"), "there is no file absent.csv; check the path"),
    (("--dataset", "digits", "--target-column", "species"), "--target-column species was asked, but digits is no .csv"),
    (("--dataset", "x.npy"), "x.npy is not a pair of .npy files"),
    (("--dataset", "x.npy,absent.npy"), "there is no file absent.npy"),
    (("--dataset", "sub"), "the folder sub has no x.npy and no y.npy"),
    (("--dataset", "lost.csv", "--target", "species"), "lost.csv has missing values, by column: 'size' 2"),
    (("--dataset", "picture.csv", "--target", "species"), "picture.csv is not text in UTF-8"),
]


@pytest.mark.parametrize("command", [TRAIN, COMPARE], ids=["train", "compare"])
@pytest.mark.parametrize(("options", "words"), BAD, ids=[" ".join(options) for options, _ in BAD])
def test_bad_input_is_one_line_and_writes_nothing(
    files: Command, tmp_path: Path, command: tuple[str, ...], options: tuple[str, ...], words: str
) -> None:
    (tmp_path / "sub").mkdir()
    FRAME.assign(size=[None, None, *FRAME["size"][2:]]).to_csv(tmp_path / "lost.csv", index=False)
    (tmp_path / "picture.csv").write_bytes(b"\x89PNG\0\0")
    before = sorted(tmp_path.rglob("*"))
    outcome = files(*command, *options)
    assert outcome.code == 2
    assert words in outcome.one_line()
    assert outcome.out == ""
    assert sorted(tmp_path.rglob("*")) == before


def test_target_of_compare_is_an_accuracy_or_a_column(files: Command) -> None:
    refused = files(*COMPARE, "--dataset", "t.csv", "--target-column", "species", "--target", "most")
    assert "--target must be an accuracy above 0 and at most 1, such as 0.95, got 'most'" in refused.one_line()
    assert "which column holds the labels" in files(*COMPARE, "--dataset", "t.csv", "--target", "0.9").one_line()
    assert "must be an accuracy" in files(*COMPARE, "--dataset", "named.npz", "--target", "species").one_line()
    two = files(*TRAIN, "--dataset", "t.csv", "--target", "size", "--target-column", "species")
    assert "--target size and --target-column species name two columns; give one" in two.one_line()


NEW: list[tuple[pd.DataFrame, str]] = [
    (FRAME[["size"]], "new.csv has no column 'colour', which was learned from; it has: 'size'"),
    (
        FRAME.assign(colour="pink"),
        "new.csv: column 'colour' has 'pink' (90 rows with such values), but training had 'blue', 'red'",
    ),
    (FRAME.assign(size=None), "new.csv has missing values, by column: 'size' 90"),
    (FRAME.assign(size="much"), "new.csv: column 'size' must hold numbers"),
    (FRAME[:0], "new.csv has column names but no rows; give at least one example"),
]


def test_new_rows_that_do_not_fit_are_one_line(files: Command, tmp_path: Path) -> None:
    assert files(*TRAIN, "--dataset", "t.parquet", "--target", "species", "--quiet").code == 0
    for frame, words in NEW:
        frame.to_csv(tmp_path / "new.csv", index=False)
        outcome = files("predict", "R/model.safetensors", "--data", "new.csv")
        assert (outcome.code, outcome.out) == (2, "")
        assert words in outcome.one_line()
