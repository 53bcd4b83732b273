"""What people hand over as arrays: read with its meaning, or refused by name with the cure."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import scipy.sparse
import torch

from bpfree.data import from_arrays, load, load_examples
from bpfree.errors import DataError

X = np.random.RandomState(0).randint(-9, 9, (30, 4)).astype(np.float64)
Y = np.arange(30) % 3
PLAIN = from_arrays(X, Y)

FRAME = pd.DataFrame(X, columns=list("abcd"))
LATER = pd.Timestamp("2020-01-01") + pd.to_timedelta(np.arange(30), "D")


def mixed(**columns) -> pd.DataFrame:
    return FRAME.assign(**columns)


def on_disk(path, x) -> np.ndarray:
    np.save(path, x)
    return np.load(path, mmap_mode="r")


def locked(x: np.ndarray) -> np.ndarray:
    x = x.copy()
    x.flags.writeable = False
    return x


@pytest.mark.parametrize(
    "given",
    [
        X.tolist(),
        tuple(map(tuple, X)),
        list(X),
        X.astype(">f8"),
        X.astype(np.longdouble),
        X.astype(np.float16),
        X.astype(">i2"),
        np.asfortranarray(X),
        np.repeat(X, 2, axis=1)[:, ::2],
        X[::-1][::-1],
        locked(X),
        X.view(np.ndarray).view(type("Sub", (np.ndarray,), {})),
        np.asmatrix(X),
        np.ma.array(X, mask=np.zeros_like(X)),
        torch.tensor(X, requires_grad=True),
        torch.tensor(X).bfloat16(),
        torch.tensor(X).T.contiguous().T,
        [torch.tensor(row, requires_grad=True) for row in X],
        [torch.tensor(row) for row in X],
        FRAME,
        FRAME.convert_dtypes(),
        FRAME.astype({"a": "Int64", "b": "float32", "c": "Float64", "d": "int8"}),
        FRAME.astype(pd.SparseDtype("float64", 0.0)),
    ],
    ids=lambda given: type(given).__name__,
)
def test_read_with_the_same_values(given):
    data = from_arrays(given, Y)
    assert data.in_shape == (4,)
    for split in data.splits:
        assert torch.equal(data.splits[split].x, PLAIN.splits[split].x)
        assert torch.equal(data.splits[split].y, PLAIN.splits[split].y)


def test_memory_mapped_and_read_only(tmp_path):
    data = from_arrays(on_disk(tmp_path / "x.npy", X), on_disk(tmp_path / "y.npy", Y))
    assert data.data_digest == PLAIN.data_digest
    pixels = on_disk(tmp_path / "p.npy", np.arange(30 * 25, dtype=np.uint8).reshape(30, 5, 5))
    stored = from_arrays(pixels, Y).splits["train"].x
    stored.zero_()  # a copy of its own, which can be written
    assert pixels.any()


def test_a_table_with_a_bool_column_is_read_as_0_and_1():
    data = from_arrays(mixed(d=FRAME["d"] > 0), Y)
    assert data.data_digest == from_arrays(np.column_stack([X[:, :3], X[:, 3] > 0]), Y).data_digest


@pytest.mark.parametrize(
    "labels",
    [
        Y.tolist(),
        Y.astype(">i4"),
        Y.astype(np.uint64),
        locked(Y),
        torch.tensor(Y),
        [torch.tensor(label) for label in Y],
        pd.Series(Y),
        pd.Series(Y, dtype="Int64"),
        pd.Series(Y, dtype="category"),
        np.ma.array(Y, mask=False),
    ],
    ids=lambda given: type(given).__name__,
)
def test_labels_read_with_the_same_values(labels):
    assert from_arrays(X, labels).data_digest == PLAIN.data_digest


def structured() -> np.ndarray:
    return np.zeros(30, dtype=[("height", "f4"), ("weight", "f4")])


class Unreadable:
    """As the array of a device that numpy cannot reach."""

    def __array__(self, dtype=None, copy=None):
        raise TypeError("Implicit conversion to a NumPy array is not allowed.")


def holed(value) -> np.ndarray:
    x = X.astype(object)
    x[7, 1] = value
    return x


@pytest.mark.parametrize(
    ("given", "match"),
    [
        (scipy.sparse.csr_matrix(X), r"x is a sparse matrix \(csr_matrix\); give x.toarray\(\)"),
        (scipy.sparse.coo_array(X), r"x is a sparse matrix \(coo_array\); give x.toarray\(\)"),
        ([scipy.sparse.csr_matrix(row) for row in X], r"x is a list of sparse matrices"),
        (np.ma.array(X, mask=X == 1), r"x is a masked array with \d+ masked values; fill them in"),
        ([np.ma.array(row, mask=row == 1) for row in X], r"x is a masked array with \d+ masked values"),
        (torch.tensor(X).to_sparse(), r"x is a torch tensor of layout torch.sparse_coo; give its .to_dense\(\)"),
        (torch.empty(30, 4, device="meta"), r"x is a torch tensor on the meta device"),
        (torch.tensor(X).to(torch.float8_e4m3fn), r"x is a torch tensor of type float8_e4m3fn.*\.float\(\)"),
        ([torch.zeros(3), torch.zeros(4)], r"x is not one rectangular array .*equally long"),
        ([[1, 2], [3]], r"x is not one rectangular array .*equally long"),
        (structured(), r"x must hold numbers, got a structured type with the fields height, weight; give .*to_unstructured"),
        (X + 1j, r"x must hold numbers, got complex128; .*x.real, x.imag"),
        (torch.tensor(X + 1j).conj(), r"x must hold numbers, got complex128"),
        (X.astype(str), r"x must hold numbers, got <U\d+; .*x.astype\(np.float32\); encode words"),
        (X.astype(bytes), r"x must hold numbers, got \|S\d+; .*encode words"),
        ([["red", "1"]] * 30, r"x must hold numbers, got <U3; .*encode words"),
        (np.array([LATER] * 4).T.astype("M8[D]"), r"x must hold numbers, got datetime64\[D\]; .*x - x.min\(\)"),
        (X.astype("m8[s]"), r"x must hold numbers, got timedelta64\[s\]; give it as a number: x / np.timedelta64"),
        (X.astype("V8"), r"x must hold numbers, got \|V8; give x.astype\(np.float32\)"),
        (X.astype(object), r"x must hold numbers, got object; all are numbers: give x.astype\(np.float64\)"),
        (holed(None), r"got object; the first that is no number is None in example 7: fill it in"),
        (holed("n/a"), r"got object; the first that is no number is 'n/a' in example 7"),
        (np.array([*X, None], dtype=object)[:30], r"got object; its rows are arrays of their own: give np.stack\(list\(x\)\)"),
        (mixed(d="red"), r"x has columns that are no numbers: 'd' \(.*\); drop them, or encode them"),
        (mixed(d=LATER), r"x has columns that are no numbers: 'd' \(datetime64.*\)"),
        (mixed(d=pd.Series(["u", "v", "w"] * 10, dtype="category")), r"columns that are no numbers: 'd' \(category\)"),
        (
            mixed(a=pd.array([None, *range(29)], dtype="Int64")),
            r"x has 1 values that are NaN or infinite, the first in example 0",
        ),
        ({"a": 1}, r"x is a dict, not an array"),
        (None, r"train needs both examples and labels; give x, y"),
        ("x.npy", r"x is a str, not an array"),
        ((row for row in X), r"x is a generator, not an array"),
        (set(range(30)), r"x is a set, not an array"),
        (Unreadable(), r"x is a Unreadable, which numpy cannot read as an array \(Implicit conversion .*\); give a numpy array"),
        (torch.utils.data.TensorDataset(torch.tensor(X)), r"x is a TensorDataset of torch; give its examples and its labels"),
    ],
    ids=lambda given: type(given).__name__,
)
def test_examples_refused_by_name(given, match):
    with pytest.raises((DataError, ValueError), match=match) as caught:
        from_arrays(given, Y, "mine")
    assert str(caught.value).startswith("mine")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("labels", "match"),
    [
        (np.ma.array(Y, mask=Y == 1), r"y is a masked array with 10 masked values"),
        (Y.astype(np.float16), r"labels must be whole numbers or strings, got float16; y.astype\(int\) if"),
        (np.where(Y == 1, None, Y), r"y has 10 missing labels; drop those examples"),
        (pd.Series(["u", None, "w"] * 10), r"y has 10 missing labels; drop those examples"),
        (np.array(["u", "", "w"] * 10), r"y has 10 missing labels; drop those examples"),
        (np.array(["u", 1, "w"] * 10, dtype=object), r"all of one kind, got int, str; name the classes: y.astype\(str\)"),
        (np.array([2**70, 1, 2] * 10, dtype=object), r"whole numbers beyond 64 bits; name the classes: y.astype\(str\)"),
        (np.array([b"u", b"\xff", b"w"] * 10), r"bytes that are no text in UTF-8 .*; give strings"),
        (pd.Series([None, *Y[1:]], dtype="Int64"), r"labels must be whole numbers or strings, got float64"),
        (LATER, r"got datetime64.*; name the classes: y.astype\(str\)"),
        (Y + 0j, r"got complex128; name the classes: y.astype\(str\)"),
        (scipy.sparse.csr_array(np.eye(3)[Y]), r"y is a sparse matrix \(csr_array\); give y.toarray\(\)"),
    ],
    ids=lambda given: type(given).__name__,
)
def test_labels_refused_by_name(labels, match):
    with pytest.raises(DataError, match=match) as caught:
        from_arrays(X, labels, "mine")
    assert "\n" not in str(caught.value)


def test_rows_of_pandas_in_another_order_than_their_labels():
    labels = pd.Series(Y)
    with pytest.raises(DataError, match=r"the same index in another order, .*give y.loc\[x.index\]"):
        from_arrays(FRAME, labels.sample(frac=1, random_state=0))
    shuffled = FRAME.sample(frac=1, random_state=0)
    assert from_arrays(shuffled, labels.loc[shuffled.index]).n("train") == PLAIN.n("train")
    assert from_arrays(FRAME, labels.set_axis(range(100, 130))).data_digest == PLAIN.data_digest, "other labels: by place"


@pytest.mark.parametrize("dtype", [">f4", ">u2", "longdouble", "bool", "float16", "uint32"])
def test_new_examples_of_each_type(tmp_path, dtype):
    np.savez(tmp_path / "new.npz", x=np.abs(X).astype(dtype))
    examples = load_examples(tmp_path / "new.npz")
    assert torch.equal(examples.double(), torch.from_numpy(np.abs(X).astype(dtype).astype(np.float64)))


def test_a_sparse_matrix_in_a_file(tmp_path):
    for kind in (scipy.sparse.csr_matrix, scipy.sparse.coo_matrix):
        scipy.sparse.save_npz(tmp_path / "sparse.npz", kind(X))
        with pytest.raises(DataError, match=r"holds a sparse matrix of scipy; write it with: .*toarray\(\)"):
            load(tmp_path / "sparse.npz")
