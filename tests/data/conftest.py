"""Fixtures of the data floor: the user's settings kept out, real data where found, small sets to hand."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from bpfree.data import Dataset, from_arrays

_REAL = os.environ.get("BPFREE_DATA")  # read before the fixture below hides it


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test reads the developer's data or cache by accident, or writes there."""
    monkeypatch.delenv("BPFREE_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def real_data() -> Path:
    """The root of the real data sets."""
    if not _REAL:
        pytest.skip("BPFREE_DATA is not set, so there is no real MNIST or CIFAR to read")
    return Path(_REAL)


def make_table(n: int = 100, d: int = 5, classes: int = 4) -> Dataset:
    random = np.random.RandomState(0)
    return from_arrays(random.standard_normal((n, d)), np.arange(n) % classes)


@pytest.fixture
def table() -> Dataset:
    """A table of 100 examples, 5 features, 4 classes."""
    return make_table()


@pytest.fixture
def images() -> Dataset:
    """60 uint8 images (3, 12, 10), 3 classes."""
    random = np.random.RandomState(0)
    return from_arrays(random.randint(0, 256, (60, 3, 12, 10)).astype(np.uint8), np.arange(60) % 3, "images")
