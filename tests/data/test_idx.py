"""The MNIST family: small fake files for every branch, the real ones where BPFREE_DATA says."""

from __future__ import annotations

import dataclasses
import errno
import functools
import gzip
import hashlib
import http.server
import shutil
import struct
import threading
from pathlib import Path

import numpy as np
import pooch
import pytest
import torch

from bpfree.data import load, registry
from bpfree.data.idx import FAMILY, parse_idx
from bpfree.errors import DataError, StorageError
from bpfree.rulesets import Split, standard_split

N_TRAIN, N_TEST = 40, 10


def packed(values: np.ndarray) -> bytes:
    head = bytes((0, 0, 8, values.ndim)) + struct.pack(f">{values.ndim}I", *values.shape)
    return gzip.compress(head + values.astype(np.uint8).tobytes(), mtime=0)


def contents() -> dict[str, bytes]:
    random = np.random.RandomState(0)
    files = {}
    for part, n in (("train", N_TRAIN), ("t10k", N_TEST)):
        files[f"{part}-images-idx3-ubyte.gz"] = packed(random.randint(0, 256, (n, 28, 28)))
        files[f"{part}-labels-idx1-ubyte.gz"] = packed(np.arange(n) % 10)
    return files


@pytest.fixture
def fake(monkeypatch):
    """Files whose checksums the family is made to believe."""
    files = contents()
    sums = {file: hashlib.sha256(content).hexdigest() for file, content in files.items()}
    for name, member in FAMILY.items():
        monkeypatch.setitem(FAMILY, name, dataclasses.replace(member, sha256=sums))
    few = {"mnist": Split(kind="last", validation=8)}
    monkeypatch.setattr(registry, "standard_split", lambda name: few.get(name) or standard_split(name))
    return files


def put(folder: Path, files: dict[str, bytes]) -> Path:
    folder.mkdir(parents=True)
    for file, content in files.items():
        (folder / file).write_bytes(content)
    return folder


def test_mnist_keeps_its_last_images_for_validation(tmp_path, fake):
    put(tmp_path / "mnist", fake)
    data = load("mnist", data_dir=tmp_path)
    assert [data.n(s) for s in ("train", "validation", "test")] == [32, 8, 10]
    assert (data.in_shape, data.n_classes, data.name) == ((1, 28, 28), 10, "mnist")
    raw = np.frombuffer(gzip.decompress(fake["train-images-idx3-ubyte.gz"])[16:], np.uint8).reshape(-1, 1, 28, 28)
    assert np.array_equal(data.splits["validation"].x.numpy(), raw[32:])
    assert load("mnist", data_dir=tmp_path, split_seed=1).split_digest == data.split_digest, "it is fixed"
    (batch,) = data.batches("validation", 8, shuffle=False)
    torch.testing.assert_close(batch.x, (torch.tensor(raw[32:]).float() / 255 - 0.1307) / 0.3081)


def test_fashion_mnist_draws_its_validation_split(tmp_path, fake):
    put(tmp_path / "FashionMNIST" / "raw", fake)  # torchvision's layout
    data = load("fashion-mnist", data_dir=str(tmp_path))
    assert [data.n(s) for s in ("train", "validation", "test")] == [36, 4, 10]
    assert load("fashion-mnist", data_dir=tmp_path, split_seed=1).split_digest != data.split_digest


def test_environment_names_the_root_and_data_dir_goes_before(tmp_path, fake, monkeypatch):
    put(tmp_path / "here" / "mnist", fake)
    monkeypatch.setenv("BPFREE_DATA", str(tmp_path / "here"))
    assert load("mnist").n("test") == 10
    with pytest.raises(DataError, match=r"--data-dir says .*nowhere, which is not a directory"):
        load("mnist", data_dir=tmp_path / "nowhere")
    monkeypatch.setenv("BPFREE_DATA", str(tmp_path / "gone"))
    with pytest.raises(DataError, match=r"BPFREE_DATA says .*gone, which is not a directory"):
        load("mnist")


def test_a_damaged_file_is_named_with_both_sums_and_the_cure(tmp_path, fake):
    folder = put(tmp_path / "mnist", fake)
    file = folder / "t10k-images-idx3-ubyte.gz"
    whole = file.read_bytes()
    file.write_bytes(whole[:-100])
    expected, got = (hashlib.sha256(b).hexdigest() for b in (whole, whole[:-100]))
    with pytest.raises(DataError) as caught:
        load("mnist", data_dir=tmp_path)
    message = str(caught.value)
    assert "\n" not in message
    assert all(part in message for part in (str(file), expected, got, "delete it and get it again"))


def test_a_missing_file_is_named(tmp_path, fake):
    (put(tmp_path / "mnist", fake) / "train-labels-idx1-ubyte.gz").unlink()
    with pytest.raises(DataError, match=r"train-labels-idx1-ubyte.gz is missing; put .* there, or move"):
        load("mnist", data_dir=tmp_path)


def test_a_file_that_is_a_directory(tmp_path, fake):
    file = put(tmp_path / "mnist", fake) / "train-labels-idx1-ubyte.gz"
    file.unlink()
    file.mkdir()
    with pytest.raises(DataError, match=r"cannot read .*train-labels-idx1-ubyte.gz \(Is a directory\)"):
        load("mnist", data_dir=tmp_path)


def test_images_and_labels_of_different_lengths(tmp_path, fake, monkeypatch):
    fake["train-labels-idx1-ubyte.gz"] = packed(np.arange(7))
    put(tmp_path / "mnist", fake)
    sums = {file: hashlib.sha256(content).hexdigest() for file, content in fake.items()}
    monkeypatch.setitem(FAMILY, "mnist", dataclasses.replace(FAMILY["mnist"], sha256=sums))
    with pytest.raises(DataError, match=r"has 40 images, .* has 7 labels; get both"):
        load("mnist", data_dir=tmp_path)


def _packed(content: bytes) -> bytes:
    """Compressed the same every time: what is packed here names a test, and two test processes must agree on names."""
    return gzip.compress(content, mtime=0)


@pytest.mark.parametrize(
    ("content", "match"),
    [
        (packed(np.zeros((2, 3, 3)))[:-12], r"f.gz cannot be unpacked \(.*\); delete it and get it again"),
        (b"not gzip", r"f.gz cannot be unpacked"),
        (b"", r"f.gz is not an IDX file .* begins with nothing"),
        (_packed(b""), r"f.gz is not an IDX file .* begins with nothing"),
        (packed(np.zeros(9)), r"with 3 axes: it begins with 00000801, not 00000803; .*exchanged"),
        (_packed(b"\0\0\x0d\x03" + bytes(12)), r"begins with 00000d03, not 00000803"),
        (_packed(b"\0\0\x08\x03" + bytes(5)), r"is not an IDX file"),
        (_packed(b"\0\0\x08\x03" + struct.pack(">3I", 2, 3, 3) + bytes(17)), r"holds 17 bytes where"),
        (
            _packed(b"\0\0\x08\x03" + struct.pack(">3I", *[2**32 - 1] * 3) + bytes(17)),
            r"holds 17 bytes",
        ),
    ],
)
def test_files_that_are_no_idx_files(content, match):
    with pytest.raises(DataError, match=match) as caught:
        parse_idx(content, 3, "f.gz")
    assert "\n" not in str(caught.value)


def test_parse_idx():
    values = np.arange(24).reshape(2, 3, 4)
    parsed = parse_idx(packed(values), 3, "f")
    assert np.array_equal(parsed, values)
    assert parsed.flags.writeable


# --- download ---


def retrieving(files: dict[str, bytes], calls: list[str], fails: tuple[str, ...] = ()):
    def retrieve(url, known_hash, fname, path):
        calls.append(url)
        if any(part in url for part in fails):
            raise ConnectionError("no route to host")
        assert known_hash == f"sha256:{hashlib.sha256(files[fname]).hexdigest()}"
        Path(path).mkdir(parents=True, exist_ok=True)
        (Path(path) / fname).write_bytes(files[fname])

    return retrieve


def test_download_into_the_cache_once(tmp_path, fake, monkeypatch):
    calls: list[str] = []
    monkeypatch.setattr(pooch, "retrieve", retrieving(fake, calls))
    first = load("mnist", data_dir=tmp_path)  # the root is there but does not hold this set
    assert len(calls) == 4
    assert (Path(pooch.os_cache("bpfree")) / "mnist" / "t10k-labels-idx1-ubyte.gz").is_file()
    assert load("mnist", download=False).split_digest == first.split_digest
    assert len(calls) == 4


def test_the_next_mirror_is_tried(fake, monkeypatch):
    calls: list[str] = []
    monkeypatch.setattr(pooch, "retrieve", retrieving(fake, calls, fails=("ossci",)))
    assert load("mnist").n("test") == 10
    assert len(calls) == 8


def test_no_network_says_where_to_put_the_files(fake, monkeypatch):
    monkeypatch.setattr(pooch, "retrieve", retrieving(fake, [], fails=("http",)))
    with pytest.raises(DataError) as caught:
        load("fashion-mnist")
    message = str(caught.value)
    assert "\n" not in message
    assert "cannot download fashion-mnist (ConnectionError" in message
    assert "folder fashion-mnist/" in message
    assert "--data-dir DIR or BPFREE_DATA" in message


def test_a_download_with_another_checksum_is_refused(fake, monkeypatch):
    def retrieve(*args, **kwargs):
        raise ValueError("SHA256 hash of downloaded file does not match")

    monkeypatch.setattr(pooch, "retrieve", retrieve)
    with pytest.raises(DataError, match=r"cannot download mnist \(ValueError from https"):
        load("mnist")


def test_no_download_allowed(tmp_path):
    with pytest.raises(DataError, match=r"mnist is not in .*; put the official files in a folder mnist/ .*--data-dir"):
        load("mnist", download=False)
    with pytest.raises(DataError, match=rf"mnist is not in {tmp_path} nor in "):
        load("mnist", data_dir=tmp_path, download=False)


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "full"), PermissionError("Pooch could not create data cache folder")])
def test_a_cache_that_cannot_be_written(fake, monkeypatch, error):
    def retrieve(*args, **kwargs):
        raise error

    monkeypatch.setattr(pooch, "retrieve", retrieve)
    with pytest.raises(StorageError, match=r"cannot write .*XDG_CACHE_HOME.*--data-dir DIR"):
        load("mnist")


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def mirror(tmp_path, fake, monkeypatch):
    """The fake files behind a real server on this machine, fetched by pooch itself."""
    folder = put(tmp_path / "served", fake)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    handler = functools.partial(Quiet, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        mirrors = (f"http://127.0.0.1:{server.server_port}/",)
        monkeypatch.setitem(FAMILY, "mnist", dataclasses.replace(FAMILY["mnist"], mirrors=mirrors))
        yield folder
        server.shutdown()


def test_a_real_download(mirror):
    digest = load("mnist").split_digest
    shutil.rmtree(mirror)
    assert load("mnist").split_digest == digest, "the second time it comes from the cache"


def test_a_real_mirror_that_serves_something_else_or_nothing(mirror):
    file = mirror / "t10k-labels-idx1-ubyte.gz"
    file.write_bytes(b"something else")
    with pytest.raises(DataError, match=r"cannot download mnist \(ValueError from http"):
        load("mnist")
    assert not (Path(pooch.os_cache("bpfree")) / "mnist" / file.name).exists()
    file.unlink()
    with pytest.raises(DataError, match=r"cannot download mnist \(HTTPError from http"):
        load("mnist")


def test_a_real_mirror_that_does_not_answer(mirror, monkeypatch):
    closed = dataclasses.replace(FAMILY["mnist"], mirrors=("http://127.0.0.1:9/",))  # the discard port
    monkeypatch.setitem(FAMILY, "mnist", closed)
    with pytest.raises(DataError, match=r"cannot download mnist \(ConnectionError .*put the official files"):
        load("mnist")


def test_a_real_cache_that_is_a_file(mirror, tmp_path):
    (tmp_path / "cache").write_text("in the way")
    with pytest.raises(StorageError, match=r"cannot write .*XDG_CACHE_HOME"):
        load("mnist")


# --- the real ones ---


@pytest.mark.parametrize(
    ("name", "sizes", "mean", "std"),
    [
        ("mnist", [50_000, 10_000, 10_000], 0.1307, 0.3081),
        ("fashion-mnist", [54_000, 6_000, 10_000], 0.2860, 0.3530),
    ],
)
def test_real(real_data, name, sizes, mean, std):
    data = load(name, data_dir=real_data, download=False)
    assert [data.n(s) for s in ("train", "validation", "test")] == sizes
    pixels = torch.cat([data.splits[s].x for s in ("train", "validation")]).double() / 255
    assert float(pixels.mean()) == pytest.approx(mean, abs=1e-4), "the published constants are of all 60,000"
    assert float(pixels.std()) == pytest.approx(std, abs=1e-4)
    assert data.splits["test"].y.bincount().tolist()[:3] == ([980, 1135, 1032] if name == "mnist" else [1000] * 3)
    assert sum(len(b.y) for b in data.batches("train", 128)) == sizes[0]
    if name == "mnist":
        assert data.splits["train"].y[:5].tolist() == [5, 0, 4, 1, 9]
