"""Examples that stay in their files: the batches are those of the same data in memory, and little memory is taken."""

from __future__ import annotations

import pickle
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from bpfree.data import Dataset, TestSplitError, from_arrays, load
from bpfree.data import storage as storage_module
from bpfree.data.mapping import is_mapped, place_of, release, reopened
from bpfree.data.npy import load_pair, read_npy
from bpfree.data.streamed import Streamed
from bpfree.errors import DataError, UsageError

N = 90
RANDOM = np.random.RandomState(0)
KINDS = {
    "table": RANDOM.standard_normal((N, 5)) * [1, 1e6, 1, 1, 0] + 7,
    "pixels": RANDOM.randint(0, 256, (N, 1, 6, 6)).astype(np.uint8),
    "channels last": RANDOM.randint(0, 256, (N, 6, 6, 3)).astype(np.uint8),
    "float images": RANDOM.standard_normal((N, 2, 4, 4)).astype(np.float32),
    "bools": RANDOM.randint(0, 2, (N, 3)).astype(bool),
}
Y = RANDOM.permutation(np.arange(N) % 3)


def write(folder: Path, x: np.ndarray, y: np.ndarray = Y) -> str:
    np.save(folder / "x.npy", x)
    np.save(folder / "y.npy", y)
    return f"{folder}/x.npy,{folder}/y.npy"


def pair(folder: Path, kind: str) -> tuple[Dataset, Dataset]:
    """In memory, and in files."""
    spec, channels = write(folder, KINDS[kind]), "last" if kind == "channels last" else "auto"
    return tuple(load_pair(spec, channels=channels, data_in=data_in) for data_in in ("memory", "files"))


def same(one: Dataset, other: Dataset, split: str = "train", **options) -> int:
    """How many batches two data sets have, all of them equal."""
    count = 0
    for a, b in zip(one.batches(split, 16, **options), other.batches(split, 16, **options), strict=True):
        assert torch.equal(a.x, b.x)
        assert a.x.is_contiguous()
        assert b.x.is_contiguous()
        assert torch.equal(a.y, b.y)
        assert torch.equal(a.key, b.key)
        assert (a.weight is None and b.weight is None) or torch.equal(a.weight, b.weight)
        count += 1
    return count


@pytest.mark.parametrize("kind", KINDS)
def test_batches_are_those_of_the_data_in_memory(tmp_path, kind):
    memory, files = pair(tmp_path, kind)
    assert isinstance(files, Streamed)
    assert not isinstance(memory, Streamed)
    assert (memory.data_digest, memory.note, memory.name) == (files.data_digest, files.note, files.name)
    for pass_index in (0, 1):
        assert same(memory, files, pass_index=pass_index, seed=3) == 5
    for split in ("validation", "test"):
        assert same(memory, files, split, shuffle=False) == 1


def test_views_are_those_of_the_data_in_memory(tmp_path):
    memory, files = pair(tmp_path, "pixels")
    assert same(memory.limited(40), files.limited(40), pass_index=2) == 3
    assert memory.limited(40).data_digest == files.limited(40).data_digest
    assert same(memory.weighted("balanced").augmented("crop-flip"), files.weighted("balanced").augmented("crop-flip")) == 5
    assert same(memory.to("cpu", torch.float64), files.to("cpu", torch.float64)) == 5
    assert same(memory, files, first=2) == 3
    assert same(memory.shared(1, 2), files.shared(1, 2)) == 3
    with pytest.raises(TestSplitError):
        files.without_test().batches("test", 4)
    assert "test" not in files.without_test().rows
    with pytest.raises(UsageError, match=r"cannot limit x.npy to 2 training examples"):
        files.limited(2)


def test_another_process_reads_the_same(tmp_path):
    _, files = pair(tmp_path, "channels last")
    packed = pickle.dumps(files.limited(40))
    other = pickle.loads(packed)
    assert same(files.limited(40), other) == 3
    assert not np.may_share_memory(other.rows["train"]._x, files.rows["train"]._x)
    x = np.moveaxis(read_npy(tmp_path / "x.npy"), 3, 1)
    place = place_of(x)
    assert np.array_equal(reopened(place), x)
    assert place.shape == (N, 3, 6, 6)


def test_a_sample_stands_for_the_whole(tmp_path):
    memory, files = pair(tmp_path, "pixels")
    stored = files.stored()
    assert type(stored) is Dataset
    assert torch.equal(stored.splits["train"].x, memory.splits["train"].x)
    assert files.n("train") == memory.n("train")
    assert files.device == torch.device("cpu")


def test_where_data_are_kept(tmp_path, monkeypatch):
    """By itself the memory decides: more than half of what is free is too much."""
    spec = write(tmp_path, KINDS["pixels"])
    assert not isinstance(load(spec), Streamed)
    assert isinstance(load(spec, data_in="files"), Streamed)

    class Scarce:
        available = 2 * KINDS["pixels"].nbytes - 1

    monkeypatch.setattr(storage_module.psutil, "virtual_memory", Scarce)
    assert isinstance(load(spec), Streamed)
    assert isinstance(load(tmp_path), Streamed)
    assert not isinstance(load(spec, data_in="memory"), Streamed)
    Scarce.available += 1
    assert not isinstance(load(spec), Streamed)
    with pytest.raises(UsageError, match=r"arrays cannot stay in files: only .npy files"):
        from_arrays(KINDS["pixels"], Y, data_in="files")
    with pytest.raises(UsageError, match="unknown place of the data 'disk'; known: auto, files, memory"):
        load(spec, data_in="disk")


def test_values_that_cannot_be_standardised_are_refused_in_files_too(tmp_path):
    x = KINDS["table"].copy()
    x[:, 0] = np.arange(N)
    spec = write(tmp_path, x)
    training = load_pair(spec).splits["validation"]
    x[0, 1] = 1e300
    for data_in in ("memory", "files"):
        with pytest.raises(DataError, match="too large to standardise"):
            load_pair(write(tmp_path, x), data_in=data_in)
    assert len(training.y) == 12


def test_an_example_outside_training_that_overflows(tmp_path):
    """Finite in the file, infinite once it is divided by the deviation of the training split and kept in single precision."""
    arrays = {
        "x": np.arange(60.0).reshape(30, 2) * 1e-3,
        "y": np.arange(30) % 2,
        "x_test": np.array([[1e300, 0.0], [0.0, 1.0]]),
        "y_test": np.arange(2),
    }
    for key, values in arrays.items():
        np.save(tmp_path / f"{key}.npy", values)
    for data_in in ("memory", "files"):
        with pytest.raises(DataError, match=r"too large to standardise \(up to 1e\+300\)"):
            load(tmp_path, data_in=data_in)


def test_parts_of_processes_are_the_whole_without_overlap():
    data = from_arrays(np.arange(200.0)[:, None], np.arange(200) % 2).limited(135)
    whole = list(data.batches("train", 30, seed=1))
    parts = [data.shared(rank, 3) for rank in range(3)]
    assert [part.n("train") for part in parts] == [45, 45, 45]
    of_parts = [list(part.batches("train", 10, seed=1)) for part in parts]
    for k, batch in enumerate(whole):
        together = torch.cat([part[k].x for part in of_parts])
        assert sorted(together.flatten().tolist()) == sorted(batch.x.flatten().tolist())
    uneven = [data.shared(rank, 4) for rank in range(4)]
    assert [part.n("train") for part in uneven] == [34, 34, 34, 33]
    assert sum(len(b.y) for part in uneven for b in part.batches("train", 16)) == 135
    assert uneven[3].n("validation") == data.n("validation")
    ordered = torch.cat([b.x for b in uneven[1].batches("train", 16, shuffle=False)])
    assert torch.equal(ordered, torch.cat([b.x for b in data.batches("train", 135, shuffle=False)])[1::4])
    for rank, world in ((2, 2), (-1, 2), (0, 136)):
        with pytest.raises(UsageError, match=rf"rank {rank} of {world} processes cannot share arrays"):
            data.shared(rank, world)


def test_batches_from_the_middle_of_a_pass(table):
    whole = list(table.batches("train", 16, seed=1, pass_index=2))
    rest = list(table.batches("train", 16, seed=1, pass_index=2, first=3))
    assert len(rest) == len(whole) - 3
    for one, other in zip(whole[3:], rest, strict=True):
        assert torch.equal(one.x, other.x)
        assert torch.equal(one.key, other.key)


def status_bytes(key: str) -> int:
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(f"{key}:"))
    return int(line.split()[1]) * 1024


def mapped_bytes() -> int:
    """Of files, in the resident set."""
    return status_bytes("RssFile")


def peak_bytes() -> int:
    """Of the resident set, since the last call of :func:`forget_peak`."""
    return status_bytes("VmHWM")


def forget_peak() -> int:
    """The resident set now, which is the peak from here on."""
    Path("/proc/self/clear_refs").write_text("5")
    return peak_bytes()


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="elsewhere the system alone decides what stays in memory")
def test_what_was_read_is_given_back(tmp_path, monkeypatch):
    """A file of 96 MiB is read as a whole, by blocks when it is loaded and by rows for batches; little of it is in memory."""
    monkeypatch.setattr("bpfree.data.streamed.SAMPLE_BYTES", 2**20)
    x = np.zeros((1536, 64, 32, 32), np.uint8)
    x[::2] = 1
    spec = write(tmp_path, x, np.arange(len(x)) % 2)
    del x
    load_pair(spec, data_in="files", channels="first")  # once, so that what loading imports is there
    before = forget_peak()
    data = load_pair(spec, data_in="files", channels="first")
    assert peak_bytes() - before < 40 * 2**20
    before, most, n = mapped_bytes(), 0, 0
    for batch in data.batches("train", 32):
        most, n = max(most, mapped_bytes()), n + len(batch.y)
    assert n == data.n("train")
    assert most - before < 24 * 2**20  # of 67 MiB that were read
    mapped = read_npy(tmp_path / "x.npy")
    assert is_mapped(mapped[3:])
    before = forget_peak()
    float(mapped.sum())
    assert peak_bytes() - before > 90 * 2**20
    release(mapped[5])
    assert forget_peak() - before < 16 * 2**20
