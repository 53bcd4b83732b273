"""Data sets by name."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from bpfree.data import load, names
from bpfree.errors import UnknownNameError, UsageError


def test_names():
    assert names() == ("digits", "synthetic", "mnist", "fashion-mnist", "cifar10", "cifar100")


@pytest.mark.parametrize(("asked", "offer"), [("minst", "mnist"), ("cifar-10", "cifar10"), ("fashion_mnist", "fashion-mnist")])
def test_unknown_names_are_met_with_the_nearest(asked, offer):
    with pytest.raises(UnknownNameError, match=rf"unknown data set '{asked}'; did you mean .*{offer}"):
        load(asked)


def test_nothing_near():
    with pytest.raises(UnknownNameError, match=r"unknown data set ''; known: cifar10, "):
        load("")


@pytest.mark.parametrize("spec", ["table.tsv", Path("table.xlsx"), Path("digits"), "m.PT"])
def test_files_of_another_kind(spec):
    with pytest.raises(
        UsageError,
        match=r"cannot read .*: bpfree reads .npz, .csv and .parquet files, pairs of .npy, folders of images and .tar shards; np",
    ):
        load(spec)


def test_a_file_without_a_suffix(tmp_path):
    (tmp_path / "data").write_text("1,2")
    with pytest.raises(UsageError, match=r"bpfree reads .npz, .csv and .parquet files"):
        load(str(tmp_path / "data"))


def test_options_where_there_are_none():
    with pytest.raises(UsageError, match=r"data set digits takes no options, got 'n=5'; only synthetic does"):
        load("digits:n=5")


@pytest.mark.parametrize("seed", [-1, 2**32])
def test_split_seed(seed):
    with pytest.raises(UsageError, match="the seed of a split"):
        load("digits", split_seed=seed)


def test_suffix_in_capitals(tmp_path):
    np.savez(tmp_path / "a.npz", x=np.random.rand(9, 2), y=np.arange(9) % 3)
    (tmp_path / "a.npz").rename(tmp_path / "A.NPZ")
    assert load(str(tmp_path / "A.NPZ")).n_classes == 3
