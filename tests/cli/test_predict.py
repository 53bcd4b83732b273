"""``bpfree predict``: the classes that the model gives, as CSV and as JSON; a file that does not fit is one line."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from bpfree import data
from bpfree.models import load

from .conftest import Outcome

Command = Callable[..., Outcome]


@pytest.fixture
def model(bpfree: Command, tmp_path: Path) -> Path:
    """Trained on digits."""
    train = ("train", "mono-forward", "--dataset", "digits", "--net", "mlp:1x16", "--max-passes", "2", "--set", "lr=0.01")
    assert bpfree(*train, "--out", "R", "--quiet").code == 0
    return tmp_path / "R" / "model.safetensors"


def test_classes_and_probabilities_of_new_examples(bpfree: Command, model: Path, tmp_path: Path) -> None:
    digits = data.load("digits")
    batch = next(digits.batches("test", digits.n("test"), shuffle=False))
    expected = load(model).normalised_scores(batch.x).argmax(1).tolist()
    np.savez(tmp_path / "new.npz", x=digits.splits["test"].x[:, 0].numpy())  # (n, 8, 8), without labels
    outcome = bpfree("predict", str(model), "--data", "new.npz")
    assert outcome.code == 0
    rows = list(csv.DictReader(io.StringIO(outcome.out)))
    assert [int(row["class"]) for row in rows] == expected
    assert [row["example"] for row in rows] == [str(k) for k in range(len(expected))]
    assert sum(float(rows[0][f"p{k}"]) for k in range(10)) == pytest.approx(1.0, abs=1e-4)
    answers = json.loads(bpfree("predict", str(model), "--data", "new.npz", "--json").out)
    assert [row["class"] for row in answers] == expected
    assert max(answers[0]["probabilities"]) == answers[0]["probabilities"][expected[0]]


BAD = {
    "another shape": ({"x": np.zeros((3, 5, 5), np.uint8)}, "takes examples of shape (1, 8, 8), got (1, 5, 5)"),
    "no pixels": ({"x": np.zeros((3, 8, 8), np.float32)}, "give uint8"),
    "no x": ({"y": np.zeros(3)}, "has no array x"),
    "not a number": ({"x": np.full((3, 8, 8), np.nan)}, "NaN"),
    "empty": ({"x": np.zeros((0, 8, 8), np.uint8)}, "is empty"),
    "objects": ({"x": np.array([object()] * 3)}, "Python objects"),
}


@pytest.mark.parametrize("case", BAD)
def test_examples_that_do_not_fit_are_one_line(bpfree: Command, model: Path, tmp_path: Path, case: str) -> None:
    arrays, words = BAD[case]
    np.savez(tmp_path / "new.npz", **arrays)
    outcome = bpfree("predict", str(model), "--data", "new.npz")
    assert outcome.code == 2
    assert words in outcome.one_line()
    assert outcome.out == ""


def test_a_model_without_finite_scores_predicts_nothing(bpfree: Command, model: Path, tmp_path: Path) -> None:
    with safe_open(model, framework="pt") as file:
        header = json.loads(file.metadata()["bpfree-model"])
    del header["crc32"]  # as an older bpfree wrote it
    broken = {name: tensor * np.inf if "output" in name else tensor for name, tensor in load_file(model).items()}
    save_file(
        {name: tensor.nan_to_num(np.inf) for name, tensor in broken.items()}, model, metadata={"bpfree-model": json.dumps(header)}
    )
    np.savez(tmp_path / "new.npz", x=np.ones((3, 8, 8), np.uint8))
    outcome = bpfree("predict", str(model), "--data", "new.npz")
    assert outcome.code == 2
    assert "scores are NaN or infinite for 3 of 3 examples" in outcome.one_line()
    assert outcome.out == ""


def test_a_missing_file_is_one_line(bpfree: Command, model: Path) -> None:
    assert "there is no file absent.npz" in bpfree("predict", str(model), "--data", "absent.npz").one_line()
    assert "cannot be read as a model" in bpfree("predict", "absent", "--data", "absent.npz").one_line()
