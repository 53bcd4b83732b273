"""Synthetic data: deterministic, nearly balanced, learnable, of any size."""

from __future__ import annotations

import pytest
import torch

from bpfree.data import load
from bpfree.data.synthetic import Synthetic, parse_synthetic
from bpfree.errors import DataError, UnknownNameError, UsageError


def test_defaults_are_written_out_in_the_name():
    data = load("synthetic")
    assert data.name == "synthetic:n=5000:inputs=64:classes=10:hidden=32:seed=0"
    assert load(data.name).split_digest == data.split_digest
    assert sum(data.n(s) for s in data.splits) == 5000


def test_deterministic_in_its_arguments():
    one, same = load("synthetic:n=200:classes=3"), load("synthetic:classes=3:n=200")
    assert torch.equal(one.splits["train"].x, same.splits["train"].x)
    digests = {load(f"synthetic:n=200:{o}").split_digest for o in ("classes=3", "classes=3:seed=1", "classes=4")}
    assert len(digests) == 3
    assert load("synthetic:n=200:classes=3", split_seed=1).split_digest not in digests


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("classes", [2, 10])
def test_classes_are_nearly_balanced(classes, seed):
    y = load(f"synthetic:n=4000:classes={classes}:seed={seed}").splits["train"].y
    share = y.bincount(minlength=classes) * classes / len(y)
    assert share.min() > 0.5
    assert share.max() < 1.6


def test_images():
    data = load("synthetic:n=100:inputs=3x8x6:classes=2")
    assert data.in_shape == (3, 8, 6)
    assert next(data.batches("train", 5)).x.shape == (5, 3, 8, 6)


def test_learnable_by_least_squares():
    data = load("synthetic:n=3000:inputs=16:classes=3")
    train, test = data.splits["train"], data.splits["test"]
    targets = torch.nn.functional.one_hot(train.y, 3).float()
    weights = torch.linalg.lstsq(train.x, targets).solution
    assert ((test.x @ weights).argmax(1) == test.y).float().mean() > 0.7


def test_parse():
    assert parse_synthetic("") == Synthetic()
    assert parse_synthetic("seed=7:inputs=1x2x3") == Synthetic(seed=7, inputs=(1, 2, 3))


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ("n=0", "n must be a whole number from 1, got '0'"),
        ("n=many", "n must be a whole number from 1, got 'many'"),
        ("n=1.5", "n must be"),
        ("n", "cannot read 'n' in synthetic:n; write synthetic:n=5000:inputs=64"),
        ("classes=1", "classes must be a whole number from 2"),
        ("seed=-1", "seed must be a whole number from 0"),
        ("inputs=3x8", "inputs must be a whole number from 1 or CxHxW, got '3x8'"),
        ("inputs=0x8x8", "inputs must be"),
        ("n=²", "n must be"),
        ("seed=4294967296", r"from 0 to 2\*\*32 - 1"),
    ],
)
def test_bad_values(options, match):
    with pytest.raises(UsageError, match=match):
        load(f"synthetic:{options}")


def test_unknown_option():
    with pytest.raises(UnknownNameError, match="unknown option of synthetic 'input'; did you mean inputs"):
        load("synthetic:input=3")


def test_too_few_for_the_classes():
    with pytest.raises(DataError, match=r"20 examples are too few for 10 classes .* say to n=500"):
        load("synthetic:n=20")
