"""Negatives: never the true label, drawn as they should be, the same from the same key."""

from __future__ import annotations

import pytest
import torch

from bpfree.numerics.negatives import hard_labels, hybrid_images, smooth_masks, wrong_labels
from bpfree.numerics.streams import stream_key, uniform

KEY = torch.tensor(stream_key(1, 2, 3))


@pytest.mark.parametrize("n_classes", [2, 3, 10])
def test_never_the_true_label(n_classes: int) -> None:
    y = torch.arange(5000) % n_classes
    sharp = 200.0 * torch.nn.functional.one_hot(y, n_classes).float()  # all probability on the true class
    for labels in (wrong_labels(y, n_classes, KEY), *(hard_labels(s, y, KEY) for s in (sharp, -sharp, 0 * sharp))):
        assert (labels != y).all()
        assert labels.min() >= 0 and labels.max() < n_classes
        assert labels.dtype == torch.int64


def test_hard_labels_follow_the_probabilities_of_the_wrong_classes() -> None:
    scores = torch.tensor([3.0, 1.0, 0.0, -1.0]).expand(40000, 4)
    labels = hard_labels(scores, torch.zeros(40000, dtype=torch.int64), KEY)
    expected = torch.softmax(torch.tensor([-torch.inf, 1.0, 0.0, -1.0]), 0)
    torch.testing.assert_close(labels.bincount(minlength=4) / 40000, expected, rtol=0, atol=0.01)


def test_equal_scores_give_uniform_wrong_labels() -> None:
    labels = hard_labels(torch.zeros(30000, 4), torch.full((30000,), 2), KEY)
    torch.testing.assert_close(labels.bincount(minlength=4) / 30000, torch.tensor([1, 1, 0, 1]) / 3, rtol=0, atol=0.01)


def test_masks_are_smooth_halves() -> None:
    masks = smooth_masks(KEY, 200, 28, 20, torch.float32)
    assert masks.shape == (200, 1, 28, 20)
    assert set(masks.unique().tolist()) == {0.0, 1.0}
    assert abs(float(masks.mean()) - 0.5) < 0.03
    changes = (masks[:, :, 1:] != masks[:, :, :-1]).float().mean()
    assert changes < 0.2  # random bits would change half of the time


def test_masks_are_bits_blurred_six_times_along_both_axes() -> None:
    """Each blur is [1/4, 1/2, 1/4], pixels beyond the border being those of the border; salt 1."""
    blurred = (uniform(KEY, (40, 9, 7), salt=1, dtype=torch.float64) < 0.5).double()
    for _ in range(6):
        for axis in (1, 2):
            size = blurred.shape[axis]
            before, after = ([min(max(place + shift, 0), size - 1) for place in range(size)] for shift in (-1, 1))
            sides = (blurred.index_select(axis, torch.tensor(places)) for places in (before, after))
            blurred = 0.5 * blurred + 0.25 * sum(sides)
    clear = (blurred - 0.5).abs() > 1e-5  # float32 may round to the other side
    assert clear.float().mean() > 0.99
    masks = smooth_masks(KEY, 40, 9, 7, torch.float64).squeeze(1)
    assert torch.equal(masks[clear], (blurred > 0.5).double()[clear])


def test_hybrids_mix_two_different_images() -> None:
    n = 50
    x = torch.arange(n).float().reshape(n, 1, 1, 1).expand(n, 2, 12, 12)
    hybrids = hybrid_images(x, KEY)
    for k, hybrid in enumerate(hybrids):
        found = set(hybrid.unique().tolist())
        assert len(found) <= 2
        assert torch.equal(hybrid[0], hybrid[1])  # one mask for all channels
        assert len(found - {float(k)}) <= 1
    own = hybrids == x
    assert 0.4 < float(own.float().mean()) < 0.6
    assert torch.equal(hybrids, hybrid_images(x, KEY))
    assert not torch.equal(hybrids, hybrid_images(x, KEY + 1))


@pytest.mark.parametrize("index", range(20))
def test_of_two_images_each_is_mixed_with_the_other_one(index: int) -> None:
    key = torch.tensor(stream_key(5, index))
    x = torch.tensor([1.0, 2.0]).reshape(2, 1, 1, 1).expand(2, 1, 12, 12)
    mask = smooth_masks(key, 2, 12, 12, torch.float32)
    assert 0 < float(mask.mean()) < 1
    assert torch.equal(hybrid_images(x, key), mask * x + (1 - mask) * x.flip(0))


def test_a_batch_of_one_has_no_partner() -> None:
    x = torch.randn(1, 1, 8, 8)
    assert torch.equal(hybrid_images(x, KEY), x)
