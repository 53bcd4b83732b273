"""The user's arrays: what is accepted, how it is standardised, and one clear line for what is not."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from bpfree.data import from_arrays, load
from bpfree.data.splits import stratified_split
from bpfree.errors import DataError

RANDOM = np.random.RandomState(0)
X = RANDOM.standard_normal((60, 4))
Y = np.arange(60) % 3


def refused(x, y, match: str) -> str:
    with pytest.raises(DataError, match=match) as caught:
        from_arrays(x, y, name="mine")
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith("mine")
    return message


def saved(path: Path, **arrays) -> Path:
    np.savez(path, **arrays)
    return path


# --- what is accepted ---


def test_npz_round_trip(tmp_path):
    data = load(str(saved(tmp_path / "mine.npz", x=X, y=Y)))
    assert (data.name, data.n_classes, data.in_shape) == ("mine.npz", 3, (4,))
    assert [data.n(s) for s in ("train", "validation", "test")] == [42, 9, 9]
    assert data.split_digest == from_arrays(X, Y).split_digest, "the digest is of the data, not of its name"
    assert data.split_digest == load(tmp_path / "mine.npz").split_digest, "a Path will do"
    assert load(tmp_path / "mine.npz", split_seed=1).split_digest != data.split_digest


def test_floats_are_standardised_by_the_training_split():
    x = X * [1.0, 1e3, 1e-3, 0.0] + [0.0, 1.6e9, -5.0, 7.7]  # a time stamp, a small scale, a constant
    data = from_arrays(x, Y)
    train = data.splits["train"].x
    assert train.dtype == torch.float32
    torch.testing.assert_close(train.mean(0), torch.zeros(4), atol=1e-6, rtol=0)
    torch.testing.assert_close(train.std(0, correction=0), torch.tensor([1.0, 1.0, 1.0, 0.0]), atol=1e-5, rtol=0)
    assert data.splits["test"].x.mean(0)[:3].abs().max() > 1e-4, "the test split had no say"
    assert not data.splits["test"].x[:, 3].any(), "a constant feature becomes 0"


def test_float_images_are_standardised_by_channel():
    x = RANDOM.standard_normal((60, 2, 5, 5)) * np.array([3.0, 0.1])[:, None, None] + 9
    train = from_arrays(x, Y).splits["train"].x
    torch.testing.assert_close(train.mean((0, 2, 3)), torch.zeros(2), atol=1e-5, rtol=0)
    torch.testing.assert_close(train.std((0, 2, 3), correction=0), torch.ones(2), atol=1e-5, rtol=0)


@pytest.mark.parametrize("shape", [(60, 6, 5), (60, 1, 6, 5)])
def test_pixels_stay_uint8_and_share_one_mean_and_deviation(shape):
    x = RANDOM.randint(0, 256, shape).astype(np.uint8)
    data = from_arrays(x, Y)
    assert data.splits["train"].x.dtype == torch.uint8
    raw = data.splits["train"].x.double() / 255
    (batch,) = data.to("cpu", torch.float64).batches("train", data.n("train"), shuffle=False)
    torch.testing.assert_close(batch.x, (raw - raw.mean()) / raw.std(correction=0))


def test_pixels_that_are_all_alike_become_zero():
    (batch,) = from_arrays(np.full((9, 4, 4), 200, np.uint8), np.arange(9) % 3).batches("train", 3)
    assert batch.x.abs().max() < 1e-4


@pytest.mark.parametrize("dtype", ["uint8", "int64"])
def test_a_table_of_small_counts_is_standardised_by_feature_whatever_its_type(dtype):
    """Divided by 255 and by one deviation, a column of counts 0 to 3 would be drowned by one of counts 0 to 200."""
    x = np.stack([RANDOM.randint(0, 4, 60), RANDOM.randint(0, 200, 60)], axis=1)
    data = from_arrays(x.astype(dtype), Y)
    train = data.splits["train"].x
    assert train.dtype == torch.float32
    torch.testing.assert_close(train.std(0, correction=0), torch.ones(2), atol=1e-5, rtol=0)
    assert torch.equal(train, from_arrays(x, Y).splits["train"].x)


@pytest.mark.parametrize(
    ("given", "in_shape"),
    [
        ((60, 8, 9), (1, 8, 9)),
        ((60, 3, 8, 9), (3, 8, 9)),
        ((60, 8, 9, 3), (3, 8, 9)),
        ((60, 8, 9, 1), (1, 8, 9)),
        ((60, 13, 8, 8), (13, 8, 8)),
    ],
)
def test_shapes(given, in_shape):
    x = RANDOM.randint(0, 256, given).astype(np.uint8)
    data = from_arrays(x, Y)
    assert data.in_shape == in_shape
    stored = torch.cat([data.splits[s].x for s in data.splits]).double().sum()
    assert float(stored) == x.sum()


def test_the_shape_of_a_table():
    assert from_arrays(X, Y).in_shape == (4,)


def test_channels_last_moves_the_right_axis():
    x = np.zeros((60, 4, 5, 3), np.uint8)
    x[..., 2] = 9
    assert (from_arrays(x, Y, channels="last").splits["train"].x[:, 2] == 9).all()


@pytest.mark.parametrize("dtype", ["bool", "int8", "int64", "uint16", "float16", "float64", ">f4"])
def test_types_of_x(dtype):
    data = from_arrays((X > 0).astype(dtype), Y)
    assert data.splits["train"].x.dtype == torch.float32
    assert data.splits["train"].x.isfinite().all()


@pytest.mark.parametrize("dtype", ["uint8", "int16", "int64", "uint64"])
def test_types_of_labels(dtype):
    assert from_arrays(X, Y.astype(dtype)).n_classes == 3


def test_bool_labels_are_two_classes():
    assert from_arrays(X, Y > 0).n_classes == 2


def test_lists_and_torch_tensors():
    digest = from_arrays(X, Y).split_digest
    assert from_arrays(X.tolist(), Y.tolist()).split_digest == digest
    assert from_arrays(torch.tensor(X, requires_grad=True), torch.tensor(Y)).split_digest == digest
    assert from_arrays(torch.tensor(X).bfloat16(), torch.tensor(Y)).in_shape == (4,)


def test_the_arrays_are_copied():
    x = RANDOM.randint(0, 256, (60, 4)).astype(np.uint8)
    data = from_arrays(x, Y)
    before = data.splits["train"].x.clone()
    x[:] = 0
    assert torch.equal(data.splits["train"].x, before)


def test_digest_sees_data_labels_and_split_but_not_the_name():
    other_x, other_y = X.copy(), Y.copy()
    other_x[0, 0] += 1e-9
    other_y[[0, 1]] = other_y[[1, 0]]
    digests = [
        from_arrays(X, Y).split_digest,
        from_arrays(other_x, Y).split_digest,
        from_arrays(X, other_y).split_digest,
        from_arrays(X, Y, split_seed=1).split_digest,
    ]
    assert len(set(digests)) == 4
    assert from_arrays(X, Y, name="other").split_digest == digests[0]


# --- what is refused ---


@pytest.mark.parametrize(
    ("x", "y", "match"),
    [
        (X[:50], Y, r"x has 50 examples and y has 60 labels; give one label for each"),
        (X[:0], Y[:0], r"is empty: x has shape \(0, 4\)"),
        (X[:, :0], Y, r"is empty: x has shape \(60, 0\)"),
        (1.0, 2, r"is empty: x has shape \(\)"),
        (X, np.eye(3)[Y], r"y must have shape \(n,\), got \(60, 3\); give y.argmax\(axis=1\)"),
        (X, Y[:, None], r"got \(60, 1\); give y.ravel\(\)"),
        (X, Y.astype(float), r"labels must be whole numbers or strings, got float64; y.astype\(int\) .*y.astype\(str\)"),
        (X, Y * 0, r"all 60 labels are 0; give examples of at least two classes"),
        (X[:7], np.array([0, 0, 0, 0, 0, 1, 1]), r"class 1 has 2 examples, and at least 3"),
        (X[:, 0], Y, r"x must have 2 axes .* got shape \(60,\); give x.reshape\(-1, 1\)"),
        (X.reshape(60, 2, 2, 1, 1), Y, r"got shape \(60, 2, 2, 1, 1\); give x.reshape\(len\(x\), -1\)"),
        (X.astype(complex), Y, r"x must hold numbers, got complex128"),
        (X.astype(str), Y, r"x must hold numbers, got <U"),
        (X.astype(object), Y, r"x must hold numbers, got object"),
        ([[1, 2], [3]], [0, 1], r"x is not one rectangular array .*make its rows equally long"),
        (np.where(X > 2, np.inf, X), Y, r"x has \d+ values that are NaN or infinite"),
        (X * 1e305, Y, r"x has values too large to standardise \(up to .*rescale them"),
    ],
)
def test_refused(x, y, match):
    refused(x, y, match)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_not_finite(bad):
    x = X.astype(np.float32)
    x[17, 2] = bad
    x[40] = bad
    refused(x, Y, r"x has 5 values that are NaN or infinite, the first in example 17; fill them in")


def file_refused(path: Path, match: str) -> None:
    with pytest.raises(DataError, match=match) as caught:
        load(str(path))
    assert "\n" not in str(caught.value)
    assert path.name in str(caught.value)


def test_missing_file(tmp_path):
    file_refused(tmp_path / "no.npz", r"there is no file .*no.npz; check the path, or write it with: np.savez")


def test_a_directory(tmp_path):
    (tmp_path / "dir.npz").mkdir()
    file_refused(tmp_path / "dir.npz", "there is no file")


def test_npz_without_x_or_y(tmp_path):
    file_refused(saved(tmp_path / "a.npz", X=X, y=Y), r"has no array x, only: X, y; write it with: np.savez")
    file_refused(saved(tmp_path / "b.npz", x=X), r"has no array y, only: x;")
    file_refused(saved(tmp_path / "c.npz"), r"has no array x and no array y, only: nothing;")


@pytest.mark.parametrize("content", [b"", b"hello", b"PK\x03\x04", b"\x93NUMPY\x01\x00"])
def test_not_a_zip(tmp_path, content):
    path = tmp_path / "text.npz"
    path.write_bytes(content)
    file_refused(path, r"is not a .npz file .*write it with: np.savez")


class Bomb:
    """Unpickling it would raise in this process."""

    def __reduce__(self):
        return (exec, ("raise SystemExit('code ran')",))


def test_a_pickled_array_is_refused_and_not_unpickled(tmp_path):
    path = saved(tmp_path / "bomb.npz", x=np.array([Bomb()] * 60, dtype=object), y=Y)
    file_refused(path, r"x in .* holds Python objects, .*unpickling runs code.*np.stack")


def test_a_damaged_archive(tmp_path):
    path = tmp_path / "damaged.npz"
    np.savez_compressed(path, x=X, y=Y)
    content = bytearray(path.read_bytes())
    content[200:260] = bytes(60)
    path.write_bytes(content)
    file_refused(path, r"cannot read .* it is damaged or too large")


def test_a_head_that_claims_more_than_any_memory(tmp_path):
    path = tmp_path / "huge.npz"
    head = b"{'descr': '<f8', 'fortran_order': False, 'shape': (10000000000000000,), }"
    head += b" " * (117 - len(head)) + b"\n"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x.npy", b"\x93NUMPY\x01\x00" + len(head).to_bytes(2, "little") + head)
        archive.writestr("y.npy", b"")
    file_refused(path, r"cannot (be )?read|cannot be read")


def test_new_values_in_the_other_splits_change_nothing_of_the_training_split():
    """Neither pixels nor floats are normalised by what training may not see."""
    for x in (RANDOM.randint(0, 200, (60, 6)).astype(np.uint8), RANDOM.standard_normal((60, 6))):
        plain = from_arrays(x, Y)
        seen = {row.tobytes() for row in x[_training_rows()]}
        other = np.where([[row.tobytes() in seen] for row in x], x, x + x.dtype.type(50))
        moved = from_arrays(other, Y)
        batches = [next(each.batches("train", each.n("train"), shuffle=False)).x for each in (plain, moved)]
        assert torch.equal(*batches)
        test = [next(each.batches("test", each.n("test"), shuffle=False)).x for each in (plain, moved)]
        assert not torch.allclose(*test)


def _training_rows() -> np.ndarray:
    return stratified_split(Y, (0.15, 0.15), 0, name="t")["train"]
