"""Pairs of ``.npy`` files and folders of them: the same data set as the arrays give, nothing unpickled."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from bpfree.data import from_arrays, load, load_examples
from bpfree.data.npy import read_npy
from bpfree.errors import DataError, UsageError

X = np.random.RandomState(0).standard_normal((30, 2)).astype(np.float32)
Y = np.arange(30) % 3


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    np.save(tmp_path / "x.npy", X)
    np.save(tmp_path / "y.npy", Y)
    return tmp_path


def test_a_pair_is_the_arrays(folder):
    np.save(folder / "labels.npy", np.array(["b", "a", "c"])[Y])
    assert load(f"{folder}/x.npy,{folder}/y.npy", split_seed=2).data_digest == from_arrays(X, Y, split_seed=2).data_digest
    named = load(f"{folder}/x.npy,{folder}/labels.npy")
    assert (named.name, named.classes) == ("x.npy", ("a", "b", "c"))


def test_a_folder_is_the_arrays(folder):
    data = load(folder)
    assert data.data_digest == load(str(folder)).data_digest == from_arrays(X, Y).data_digest
    assert data.name == f"{folder.name}.npy"
    np.save(folder / "note.npy", X)  # not one of the names: left alone
    assert load(folder).data_digest == data.data_digest
    np.save(folder / "x_test.npy", X[:6])
    np.save(folder / "y_test.npy", Y[:6])
    assert load(folder).data_digest == from_arrays(X, Y, x_test=X[:6], y_test=Y[:6]).data_digest


def test_files_are_mapped(folder):
    assert isinstance(read_npy(folder / "x.npy"), np.memmap)


def test_new_examples(folder):
    assert np.array_equal(load_examples(folder / "x.npy", (2,)).numpy(), X)


def objects(folder: Path) -> str:
    np.save(folder / "x.npy", np.array([[1], "a"], dtype=object), allow_pickle=True)
    return str(folder)


def cut_off(folder: Path) -> str:
    whole = (folder / "x.npy").read_bytes()
    (folder / "x.npy").write_bytes(whole[:-9])
    return f"{folder}/x.npy,{folder}/y.npy"


def text(folder: Path) -> str:
    (folder / "x.npy").write_text("1,2\n")
    return str(folder)


def archive(folder: Path) -> str:
    np.savez(folder / "a.npz", x=X)
    (folder / "a.npz").rename(folder / "x.npy")
    return str(folder)


def without_labels(folder: Path) -> str:
    (folder / "y.npy").unlink()
    return str(folder)


def misspelt(folder: Path) -> str:
    np.save(folder / "x_tets.npy", X)
    return str(folder)


def empty(folder: Path) -> str:
    (folder / "nothing").mkdir()
    return str(folder / "nothing")


@pytest.mark.parametrize(
    ("spec", "match"),
    [
        (objects, r"x in .*x.npy holds Python objects, which bpfree does not load"),
        (cut_off, r"x.npy cannot be read as a .npy file \(damaged, cut off"),
        (text, r"x.npy cannot be read as a .npy file"),
        (archive, r"x.npy is a .npz file, though it is called .npy; rename it"),
        (without_labels, r"the folder .* has no y.npy, only: x.npy; write them with"),
        (misspelt, r"has an array x_tets, which bpfree does not read; it reads: x, y, "),
        (empty, r"has no x.npy and no y.npy, only: no .npy file;"),
        (
            lambda folder: f"{folder}/x.npy,{folder}/z.npy",
            r"there is no file .*z.npy; check the path, or write it with: np.save\(",
        ),
        (lambda folder: f"{folder}/y.npy,{folder}/x.npy", r"y must have shape \(n,\), got \(30, 2\)"),
    ],
)
def test_refused_in_one_line(folder, spec, match):
    with pytest.raises(DataError, match=match) as caught:
        load(spec(folder))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("spec", ["x.npy", "x.npy,y.npy,z.npy", "x.npz,y.npy"])
def test_what_is_no_pair(spec):
    with pytest.raises(UsageError, match=r"is not a pair of .npy files, .*; give a pair, --dataset x.npy,y.npy, or a folder"):
        load(spec)
