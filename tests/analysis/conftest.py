"""Model files of tiny nets on the embedded digits."""

from __future__ import annotations

from pathlib import Path

import pytest

from bpfree import data, nets
from bpfree.algorithms import make
from bpfree.data import Dataset
from bpfree.models import save
from bpfree.train import Patience, initialise, training

NET = "mlp:4-4"


@pytest.fixture(scope="session")
def digits() -> Dataset:
    """Without the test split, as a landscape gets them."""
    return data.load("digits").without_test()


@pytest.fixture(scope="session")
def model_files(tmp_path_factory: pytest.TempPathFactory, digits: Dataset) -> dict[str, Path]:
    """``backprop-0`` and the like: two rules with two seeds each, one pass old."""
    folder = tmp_path_factory.mktemp("models")
    files = {}
    for name in ("backprop", "mono-forward"):
        for seed in (0, 1):
            rule, net = make(name, {"lr": 0.01}), nets.build(NET, digits.in_shape, digits.n_classes)
            state = initialise(rule, net, seed)
            list(training(rule, net, digits, Patience(None, max_passes=1), seed=seed, state=state))
            files[f"{name}-{seed}"] = folder / f"{name}-{seed}.safetensors"
            save(files[f"{name}-{seed}"], rule, net, state, spec=NET, data=digits, val_accuracy=0.5, seed=seed)
    return files
