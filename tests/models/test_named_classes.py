"""Names of classes and columns of a table travel with the model, and come back in what it predicts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file, save_file

from bpfree import data, nets
from bpfree.algorithms import make
from bpfree.errors import DataError
from bpfree.models import load, read_header
from bpfree.rulesets import Patience
from bpfree.train import FitResult, fit

N = 60
CLASS = np.arange(N) % 3
NAMES = ("ant", "mole", "wolf")
FRAME = pd.DataFrame({
    "size": CLASS * 4.0 + np.random.RandomState(0).standard_normal(N),
    "colour": np.array(["red", "blue"])[CLASS % 2],
    "species": np.array(NAMES)[CLASS],
})  # fmt: skip


def trained(dataset: data.Dataset) -> FitResult:
    return fit(
        make("backprop", {"lr": 0.05}),
        nets.mlp(dataset.in_shape, (8,), dataset.n_classes),
        dataset,
        Patience(None, 8),
        batch_size=8,
    )


@pytest.fixture(scope="module")
def result() -> FitResult:
    return trained(data.from_table(FRAME, "species"))


def test_a_table_in_and_names_out(result: FitResult, tmp_path: Path) -> None:
    answers = result.predict(FRAME)
    assert isinstance(answers, np.ndarray)
    assert (answers == FRAME["species"]).mean() > 0.9, "by chance a third"
    model = load(result.save(tmp_path / "model.safetensors"))
    assert (model.classes, model.columns) == (NAMES, result.data.columns)
    assert np.array_equal(model.predict(FRAME[["colour", "size"]]), answers)
    assert np.array_equal(np.array(NAMES)[np.asarray(model.predict_proba(FRAME)).argmax(1)], answers)
    columns = result.data.columns
    assert columns is not None
    encoded = columns.encode(FRAME, "t")
    assert np.array_equal(model.predict(encoded), answers)
    assert np.array_equal(model.predict(torch.from_numpy(encoded)), answers)
    with pytest.raises(DataError, match=r"column 'colour' has 'pink' \(60 rows"):
        model.predict(FRAME.assign(colour="pink"))


def test_whole_numbers_stay_numbers(tmp_path: Path) -> None:
    x, labels = FRAME[["size"]].to_numpy(copy=True), np.array([7, 3, 9])[CLASS]
    outcome = trained(data.from_arrays(x, labels))
    model = load(outcome.save(tmp_path / "model.safetensors"))
    assert (model.classes, model.columns) == ((3, 7, 9), None)
    answers = model.predict(x)
    assert isinstance(answers, np.ndarray)
    assert answers.dtype == np.int64
    assert (answers == labels).mean() > 0.9
    of_tensor = model.predict(torch.from_numpy(x))
    assert isinstance(of_tensor, torch.Tensor)
    assert of_tensor.tolist() == outcome.predict(x).tolist() == answers.tolist()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"classes": ["ant", "mole"]}, "3 classes need as many names, all different, got 2"),
        ({"classes": ["ant", "ant", "mole"]}, "3 classes need as many names"),
        ({"classes": [1.5, 2, 3]}, "damaged header .classes"),
        ({"columns": {"target": "y", "columns": [{"name": "size"}]}}, r"shape \(3,\) cannot come from 1 features of a table"),
        ({"columns": {"columns": []}}, "damaged header .columns.target"),
    ],
    ids=str,
)
def test_a_header_whose_parts_do_not_fit_is_refused(
    changes: dict[str, Any], words: str, result: FitResult, tmp_path: Path
) -> None:
    path = result.save(tmp_path / "model.safetensors")
    header = json.loads(read_header(path).model_dump_json()) | changes
    save_file(load_file(path), path, metadata={"bpfree-model": json.dumps(header)})
    with pytest.raises(DataError, match=words) as raised:
        load(path)
    assert "\n" not in str(raised.value)
