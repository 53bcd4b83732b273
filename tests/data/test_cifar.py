"""CIFAR: fake files in both official forms, the restricted unpickler, real ones where BPFREE_DATA says."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import os
import pickle
import tarfile
from pathlib import Path

import numpy as np
import pooch
import pytest
import torch

from bpfree.data import load
from bpfree.data.cifar import SETS, parse_binary, parse_pickle
from bpfree.errors import DataError

N = 20


def pickled(entries: dict) -> bytes:
    """As the official files are: byte strings for keys, numpy under its old name."""
    return pickle.dumps(entries, protocol=3).replace(b"numpy._core.", b"numpy.core.")


def batch(seed: int, n_classes: int) -> tuple[np.ndarray, list[int]]:
    random = np.random.RandomState(seed)
    return random.randint(0, 256, (N, 3072)).astype(np.uint8), random.randint(0, n_classes, N).tolist()


def contents(name: str) -> dict[str, bytes]:
    member = SETS[name]
    files = {}
    for seed, file in enumerate((*member.train, member.test)):
        pixels, labels = batch(seed, member.n_classes)
        files[file] = pickled({b"batch_label": b"x", member.labels: labels, b"data": pixels, b"filenames": [b"a"] * N})
        rows = [bytes([0] * (member.n_label_bytes - 1) + [y]) + x.tobytes() for x, y in zip(pixels, labels, strict=True)]
        files[f"{file}.bin"] = b"".join(rows)
    return files


@pytest.fixture(params=["cifar10", "cifar100"])
def name(request):
    return request.param


@pytest.fixture
def fake(name, monkeypatch):
    """Files whose checksums the set is made to believe."""
    files = contents(name)
    sums = {file: hashlib.sha256(content).hexdigest() for file, content in files.items()}
    monkeypatch.setitem(SETS, name, dataclasses.replace(SETS[name], sha256=sums))
    return files


def put(folder: Path, files: dict[str, bytes], binary: bool) -> Path:
    folder.mkdir()
    for file, content in files.items():
        if file.endswith(".bin") == binary:
            (folder / file).write_bytes(content)
    return folder


def test_both_forms_give_the_same_set(tmp_path, name, fake):
    for form, binary in (("python", False), ("binary", True)):
        (tmp_path / form).mkdir()
        put(tmp_path / form / getattr(SETS[name], form), fake, binary)
    one, other = (load(name, data_dir=tmp_path / form) for form in ("python", "binary"))
    assert one.split_digest == other.split_digest
    n = N * len(SETS[name].train)
    assert [one.n(s) for s in ("train", "validation", "test")] == [n - n // 10, n // 10, N]
    assert (one.in_shape, one.n_classes, one.name) == ((3, 32, 32), SETS[name].n_classes, name)
    pixels, labels = batch(len(SETS[name].train), SETS[name].n_classes)
    assert np.array_equal(one.splits["test"].x.flatten(1).numpy(), pixels), "channels, rows, columns, as stored"
    assert one.splits["test"].y.tolist() == labels
    assert load(name, data_dir=tmp_path / "python", split_seed=1).split_digest != one.split_digest


def test_normalised_by_channel(tmp_path, name, fake):
    put(tmp_path / SETS[name].python, fake, False)
    (x,) = (b.x for b in load(name, data_dir=tmp_path).batches("test", N, shuffle=False))
    raw = torch.tensor(batch(len(SETS[name].train), 10)[0]).reshape(N, 3, 32, 32).double() / 255
    mean, std = (torch.tensor(v).double()[:, None, None] for v in (SETS[name].mean, SETS[name].std))
    torch.testing.assert_close(x.double(), (raw - mean) / std, atol=1e-5, rtol=1e-5)


def test_a_damaged_or_missing_file_is_named(tmp_path, name, fake):
    folder = put(tmp_path / SETS[name].python, fake, False)
    file = folder / SETS[name].test
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(DataError, match=rf"{file} is not the official file: sha256 should be .* delete it"):
        load(name, data_dir=tmp_path)
    file.unlink()
    with pytest.raises(DataError, match=rf"{file} is missing; put"):
        load(name, data_dir=tmp_path)


class Bomb:
    def __reduce__(self):
        return (os.system, ("echo code ran",))


@pytest.mark.parametrize(
    ("content", "match"),
    [
        (pickled({b"labels": Bomb()}), r"f is not a batch of CIFAR images \(it asks for posix.system\)"),
        (pickled({b"labels": [np.float64(1)]}), r"it asks for numpy.*scalar"),
        (pickle.dumps({b"labels": bytearray(b"x")}, 3), r"it asks for builtins.bytearray"),
        (b"", r"not a batch of CIFAR images"),
        (b"hello", r"not a batch of CIFAR images"),
        (pickled({b"data": np.zeros((2, 3072), np.uint8)}), r"not a batch of CIFAR images \(b'labels'\)"),
        (pickled([1, 2]), r"not a batch of CIFAR images"),
        (
            pickled({b"data": np.zeros((2, 3072), np.uint8), b"labels": [1]}),
            r"one row of 3072 bytes for each label",
        ),
        (pickled({b"data": np.zeros((1, 3072)), b"labels": [1]}), r"one row of 3072 bytes"),
        (pickled({b"data": [[0] * 3072], b"labels": [1]}), r"one row of 3072 bytes"),
        (pickled({b"data": np.zeros((1, 3072), np.uint8), b"labels": ["a"]}), r"not a batch of CIFAR images"),
    ],
)
def test_the_unpickler_admits_arrays_and_nothing_else(content, match, capfd):
    with pytest.raises(DataError, match=match):
        parse_pickle(io.BytesIO(content), b"labels", "f")
    assert "code ran" not in capfd.readouterr().out


@pytest.mark.parametrize("content", [b"", bytes(3072), bytes(3073 * 2 - 1)])
def test_binary_of_a_wrong_length(content):
    with pytest.raises(DataError, match=rf"f has {len(content)} bytes, not a multiple of 3073"):
        parse_binary(content, 1, "f")


# --- download ---


def archive_of(folder: str, files: dict[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as tar:
        for file, content in files.items():
            member = tarfile.TarInfo(f"{folder}/{file}")
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return stream.getvalue()


def served(monkeypatch, archive: bytes) -> list[str]:
    calls: list[str] = []

    def retrieve(url, known_hash, fname, path):
        calls.append(url)
        Path(path).mkdir(parents=True, exist_ok=True)
        (Path(path) / fname).write_bytes(archive)

    monkeypatch.setattr(pooch, "retrieve", retrieve)
    return calls


def test_download_unpacks_checks_and_drops_the_archive(name, fake, monkeypatch):
    calls = served(monkeypatch, archive_of(SETS[name].python, fake))
    digest = load(name).split_digest
    cache = Path(pooch.os_cache("bpfree")) / name
    assert sorted(p.name for p in cache.iterdir()) == sorted((*SETS[name].train, SETS[name].test))
    assert load(name, download=False).split_digest == digest
    assert len(calls) == 1
    assert calls[0].endswith(SETS[name].archive)


@pytest.mark.parametrize("wrong", ["another folder", "damaged", "cut off"])
def test_an_archive_that_holds_something_else(name, fake, monkeypatch, wrong):
    if wrong == "damaged":
        fake[SETS[name].test] += b"x"
    folder = "elsewhere" if wrong == "another folder" else SETS[name].python
    archive = archive_of(folder, fake)
    served(monkeypatch, archive[: len(archive) // 2] if wrong == "cut off" else archive)
    with pytest.raises(DataError, match=r"cannot be unpacked|is not the official file") as caught:
        load(name)
    assert "\n" not in str(caught.value)


# --- the real ones ---


@pytest.mark.parametrize(("real", "classes"), [("cifar10", 10), ("cifar100", 100)])
def test_real(real_data, real, classes):
    data = load(real, data_dir=real_data, download=False)
    assert [data.n(s) for s in ("train", "validation", "test")] == [45_000, 5_000, 10_000]
    assert data.splits["test"].y.bincount().tolist() == [10_000 // classes] * classes
    pixels = torch.cat([data.splits[s].x for s in ("train", "validation")]).double() / 255
    mean = torch.tensor(SETS[real].mean).double()
    torch.testing.assert_close(pixels.mean((0, 2, 3)), mean, atol=2e-4, rtol=0)
    assert next(data.augmented("crop-flip").batches("train", 128)).x.shape == (128, 3, 32, 32)


def test_real_binary_checksums(real_data, name):
    """The official binary files hold the same images in the same order: they can be made from the pickles."""
    member = SETS[name]
    for file in (*member.train, member.test):
        content = (real_data / member.python / file).read_bytes()
        pixels, labels = parse_pickle(io.BytesIO(content), member.labels, file)
        columns = [labels.astype(np.uint8)[:, None]]
        if member.n_label_bytes == 2:
            columns.insert(0, parse_pickle(io.BytesIO(content), b"coarse_labels", file)[1].astype(np.uint8)[:, None])
        made = np.concatenate([*columns, pixels.reshape(len(labels), -1)], axis=1).tobytes()
        assert hashlib.sha256(made).hexdigest() == member.sha256[f"{file}.bin"]
