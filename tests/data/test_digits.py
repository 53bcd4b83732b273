"""The embedded digits."""

from __future__ import annotations

import numpy as np
import torch
from sklearn import datasets

from bpfree.data import load


def test_sizes_classes_and_note():
    data = load("digits")
    assert (data.name, data.n_classes, data.in_shape) == ("digits", 10, (1, 8, 8))
    assert [data.n(s) for s in ("train", "validation", "test")] == [1077, 360, 360]
    assert "1,077 training and 360 test images" in data.note
    assert "bpfree compare --dataset mnist" in data.note
    assert "\n" not in data.note


def test_splits_are_a_stratified_partition():
    data = load("digits")
    rows = np.concatenate([data.splits[s].x.flatten(1).numpy() for s in data.splits])
    everything = datasets.load_digits().images.reshape(-1, 64).astype(np.uint8)
    assert sorted(map(bytes, rows)) == sorted(map(bytes, everything))
    for split, n in (("train", 1077), ("validation", 360), ("test", 360)):
        share = data.splits[split].y.bincount(minlength=10) / n
        torch.testing.assert_close(share, torch.full((10,), 0.1), atol=0.005, rtol=0)


def test_standardised_by_the_training_split():
    data = load("digits")
    (batch,) = data.batches("train", 1077)
    assert abs(float(batch.x.mean())) < 1e-5
    assert abs(float(batch.x.std(correction=0)) - 1) < 1e-5


def test_seed_of_the_split():
    assert load("digits").split_digest == load("digits").split_digest
    assert load("digits", split_seed=1).split_digest != load("digits").split_digest


def test_the_split_is_pinned():
    """If this fails, records of other versions are of another split: say so in the change log under Rules."""
    assert load("digits").split_digest.startswith("79de5b42")
