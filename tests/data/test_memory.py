"""What loading costs: the file in memory, and one working copy."""

from __future__ import annotations

import dataclasses
import gzip
import hashlib
import pickle
import struct
import tracemalloc

import numpy as np
import pytest

from bpfree.data import load, registry, standardise
from bpfree.data.cifar import SETS
from bpfree.data.idx import FAMILY
from bpfree.rulesets import Split

N = 6_000
Y = np.arange(N) % 3
SPARE = 2**20
"""Bytes for what does not grow with the examples' size: labels, rows, and what is worked on at a time."""


@pytest.fixture(autouse=True, scope="module")
def _modules_are_loaded(tmp_path_factory):
    """What the first load of a process imports is no part of what loading costs."""
    path = tmp_path_factory.mktemp("first") / "first.npz"
    np.savez(path, x=np.zeros((30, 2)) + np.arange(2), y=np.arange(30) % 3)
    load(path)


def traced(function):
    """What a function returns, and the most bytes that it had at once."""
    tracemalloc.start()
    try:
        value = function()
        return value, tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


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
    data, peak = traced(lambda: load(tmp_path / "big.npz", channels=channels))
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


def packed(values):
    """As MNIST's files are, and about as well compressed."""
    return gzip.compress(struct.pack(f">I{values.ndim}I", 0x800 + values.ndim, *values.shape) + values.tobytes(), 1)


def official_files(name, form):
    """Of a size at which one copy too many is seen: 8,000 grey images, or 1,800 in colour."""
    random = np.random.RandomState(0)
    if name in FAMILY:
        sizes = {"train": 7_000, "t10k": 1_000}
        images = {f"{part}-images-idx3-ubyte.gz": random.randint(0, 16, (n, 28, 28), np.uint8) for part, n in sizes.items()}
        labels = {f"{part}-labels-idx1-ubyte.gz": np.arange(n, dtype=np.uint8) % 10 for part, n in sizes.items()}
        return {file: packed(values) for file, values in (images | labels).items()}
    files, member = {}, SETS[name]
    for file, n in [(file, 1_500 // len(member.train)) for file in member.train] + [(member.test, 300)]:
        pixels, labels = random.randint(0, 256, (n, 3072)).astype(np.uint8), (np.arange(n) % member.n_classes).tolist()
        if form == "python":
            entries = {b"data": pixels, member.labels: labels}
            files[file] = pickle.dumps(entries, protocol=3).replace(b"numpy._core.", b"numpy.core.")
        else:
            first = np.zeros((n, member.n_label_bytes), np.uint8)
            first[:, -1] = labels
            files[f"{file}.bin"] = np.concatenate([first, pixels], axis=1).tobytes()
    return files


@pytest.mark.parametrize(
    ("name", "form"),
    [("mnist", "idx"), *((n, f) for n in ("cifar10", "cifar100") for f in ("python", "binary"))],
)
def test_official_files_cost_what_is_stored_and_one_working_copy(tmp_path, monkeypatch, name, form):
    files = official_files(name, form)
    sums = {file: hashlib.sha256(content).hexdigest() for file, content in files.items()}
    known = FAMILY if name in FAMILY else SETS
    monkeypatch.setitem(known, name, dataclasses.replace(known[name], sha256=sums))
    monkeypatch.setattr(registry, "standard_split", lambda _: Split(kind="last", validation=100))
    folder = tmp_path / (name if name in FAMILY else getattr(SETS[name], form))
    folder.mkdir()
    for file in files:
        (folder / file).write_bytes(files[file])
    files.clear()
    data, peak = traced(lambda: load(name, data_dir=tmp_path))
    stored = sum(examples.x.nbytes + examples.y.nbytes for examples in data.splits.values())
    assert stored > 5 * SPARE
    assert peak <= 2 * stored + SPARE
    assert all(examples.x.numpy().flags.writeable for examples in data.splits.values())
