"""Fixtures of the training floor: a small task, and a scripted validation."""

from __future__ import annotations

import sys
from collections.abc import Callable

import pytest
from scripted_validation import Scripted

from bpfree.data import Dataset
from bpfree.nets import Chain, mlp
from bpfree.testing.bench import blobs


@pytest.fixture
def data() -> Dataset:
    """Four blobs, 168 / 36 / 36 examples, without the test split."""
    return blobs(240).without_test()


@pytest.fixture
def net(data: Dataset) -> Chain:
    return mlp(data.in_shape, (8, 6), data.n_classes)


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Scripted]:
    def put(*values: float) -> Scripted:
        scripted = Scripted(values)
        monkeypatch.setattr(sys.modules["bpfree.train.passes"], "evaluate", scripted)  # the package's name is the function
        return scripted

    return put
