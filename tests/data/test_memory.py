"""What loading costs: the file in memory, and one working copy."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

from bpfree.data import load, standardise

N = 6_000
Y = np.arange(N) % 3
SPARE = 2**20
"""Bytes for what does not grow with the examples' size: labels, rows, and what is worked on at a time."""


@pytest.mark.parametrize(
    ("shape", "dtype", "stored", "channels"),
    [
        ((256,), "float32", 4, "auto"),
        ((256,), "float64", 4, "auto"),
        ((256,), "uint8", 4, "auto"),
        ((256,), "bool", 4, "auto"),
        ((1, 16, 16), "float32", 4, "first"),
        ((16, 16, 2), "float32", 4, "last"),
        ((32, 32, 3), "uint8", 1, "last"),
    ],
)
def test_loading_costs_the_file_and_one_working_copy(tmp_path, monkeypatch, shape, dtype, stored, channels):
    monkeypatch.setattr(standardise, "_CHUNK", 2**13)  # as small beside this file as the real one beside a large file
    x = np.zeros((N, *shape), dtype)
    x[::2] = 1
    np.savez(tmp_path / "big.npz", x=x, y=Y)
    values = x.size
    del x
    file_bytes = values * np.dtype(dtype).itemsize
    tracemalloc.start()
    try:
        data = load(tmp_path / "big.npz", channels=channels)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert data.n("train") == 4_200
    assert peak <= file_bytes + max(file_bytes, values * stored) + SPARE


def test_chunks_change_no_value(monkeypatch, tmp_path):
    """Up to rounding, the statistics are those of the whole split, whatever is worked on at a time."""
    x = np.random.RandomState(0).standard_normal((300, 3, 5, 5)) * 7 + 1e6
    np.savez(tmp_path / "mine.npz", x=x, y=np.arange(300) % 3)
    whole = load(tmp_path / "mine.npz")
    monkeypatch.setattr(standardise, "_CHUNK", 200)
    parts = load(tmp_path / "mine.npz")
    for split in whole.splits:
        np.testing.assert_allclose(parts.splits[split].x, whole.splits[split].x, atol=2e-6)
