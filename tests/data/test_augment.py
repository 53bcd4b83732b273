"""Crop and flip: a window of the padded image, perhaps mirrored, drawn by the batch's key; training only."""

from __future__ import annotations

import pytest
import torch
from torch.nn.functional import pad

from bpfree.data import Dataset
from bpfree.data.augment import augment
from bpfree.data.order import batches_ahead, grouped
from bpfree.errors import UnknownNameError, UsageError
from bpfree.numerics.streams import stream_key


def key(*parts: int) -> torch.Tensor:
    return torch.tensor(stream_key(*parts))


def test_each_image_is_a_window_of_its_padded_self():
    x = torch.randint(1, 256, (40, 3, 7, 6), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    result = augment(x, key(1), "crop-flip")
    assert result.shape == x.shape
    assert result.dtype == torch.uint8
    padded = pad(x, (4,) * 4)
    found = []
    for i in range(len(x)):
        windows = {
            (top, left, flip): (w.flip(2) if flip else w)
            for top in range(9)
            for left in range(9)
            for flip in (False, True)
            for w in [padded[i, :, top : top + 7, left : left + 6]]
        }
        places = [place for place, window in windows.items() if torch.equal(window, result[i])]
        assert places, f"image {i} is no window of itself"
        found.append(places[0])
    assert len({place[0] for place in found}) > 5
    assert len({place[1] for place in found}) > 5
    assert 8 <= sum(place[2] for place in found) <= 32


def test_offsets_and_flips_are_even():
    """One lit pixel in the middle shows where every window was cut: all 81 places occur evenly."""
    n, size = 20_000, 9
    x = torch.zeros(n, 1, size, size)
    x[:, :, 4, 4] = 1.0
    place = (augment(x, key(7), "crop-flip") == 1).flatten(1).int().argmax(1)
    counts = place.bincount(minlength=81).double()
    expected = n / 81
    assert ((counts - expected) ** 2 / expected).sum() < 80 + 5 * (2 * 80) ** 0.5  # chi-square, five deviations


def test_same_key_same_draw_other_key_other_draw():
    x = torch.rand(16, 1, 8, 8)
    assert torch.equal(augment(x, key(1, 2), "crop-flip"), augment(x, key(1, 2), "crop-flip"))
    assert not torch.equal(augment(x, key(1, 2), "crop-flip"), augment(x, key(1, 3), "crop-flip"))


def test_none_is_the_default_and_changes_nothing(images: Dataset):
    x = torch.rand(2, 1, 4, 4)
    assert augment(x, key(0), "none") is x
    assert images.augmentation == "none"
    for one, other in zip(images.batches("train", 9), images.augmented("none").batches("train", 9), strict=True):
        assert torch.equal(one.x, other.x)


def test_only_training_batches_are_augmented_alike_for_every_arm(images: Dataset):
    one, other = images.augmented("crop-flip"), images.augmented("crop-flip")
    for split, changed in (("train", True), ("validation", False), ("test", False)):
        for a, b, plain in zip(
            one.batches(split, 7, seed=2),
            other.batches(split, 7, seed=2),
            images.batches(split, 7, seed=2),
            strict=True,
        ):
            assert torch.equal(a.x, b.x)
            assert torch.equal(a.y, plain.y)
            assert torch.equal(a.x, plain.x) is not changed
    first, second = (next(one.batches("train", 7, pass_index=p, shuffle=False)).x for p in (0, 1))
    assert not torch.equal(first, second), "another pass, another draw"


def test_padding_is_black_before_normalisation(images: Dataset):
    """A padded pixel is what a pixel of value 0 becomes, as in torchvision's order of transforms."""
    x = next(images.augmented("crop-flip").batches("train", 40)).x
    norm = images.normalisation
    assert norm is not None
    black = float(-norm.shift.flatten()[0] * norm.factor.flatten()[0])
    assert float(x.min()) == pytest.approx(black, rel=1e-5)
    assert float((x - black).abs().lt(1e-5).float().mean()) > 0.1


def test_a_table_cannot_be_cropped(table: Dataset):
    with pytest.raises(UsageError, match=r"needs images .* arrays have shape \(5,\); choose .* 'none'"):
        table.augmented("crop-flip")
    assert table.augmented("none").n("train") == table.n("train")


def test_unknown_augmentation(images: Dataset):
    with pytest.raises(UnknownNameError, match=r"unknown augmentation 'crop'; did you mean crop-flip"):
        images.augmented("crop")


@pytest.mark.parametrize("n_ahead", [2, 3, 100])
@pytest.mark.parametrize("augmentation", ["none", "crop-flip"])
@pytest.mark.parametrize("shuffle", [True, False])
def test_batches_made_ahead_are_those_made_one_by_one(
    images: Dataset, monkeypatch: pytest.MonkeyPatch, augmentation: str, shuffle: bool, n_ahead: int
):
    """As on a GPU, where a batch alone is too small; with a smaller last batch, and without one."""
    n = images.n("train")
    for size in (n // 7, n // 4 if n % 4 == 0 else n // 5, n):
        singly = list(images.augmented(augmentation).batches("train", size, seed=3, pass_index=1, shuffle=shuffle))
        with monkeypatch.context() as patch:
            patch.setattr("bpfree.data.dataset.batches_ahead", lambda *_: n_ahead)
            together = list(images.augmented(augmentation).batches("train", size, seed=3, pass_index=1, shuffle=shuffle))
        assert len(together) == len(singly)
        for one, other in zip(singly, together, strict=True):
            assert torch.equal(one.x, other.x)
            assert torch.equal(one.y, other.y)
            assert torch.equal(one.key, other.key)
            assert other.x.is_contiguous()


def test_how_many_batches_are_made_ahead():
    """16 MiB of 128 CIFAR images: ten batches; on a processor 1 MiB; one where a batch is larger."""
    of_cifar = 128 * 3072 * 4
    assert batches_ahead(torch.device("cuda"), of_cifar) == 10
    assert batches_ahead(torch.device("cuda"), 100 * of_cifar) == 1
    assert batches_ahead(torch.device("cpu"), of_cifar) == 1
    of_digits = 64 * 64 * 4
    assert batches_ahead(torch.device("cpu"), of_digits) == 64
    assert batches_ahead(torch.device("cpu"), of_digits // 2 + 4) == 1  # the second would begin within a line of the cache


@pytest.mark.parametrize(
    ("n_batches", "first", "at_once", "of_one_size", "groups"),
    [
        (7, 0, 3, False, [(0, 3), (3, 6), (6, 7)]),
        (7, 0, 3, True, [(0, 3), (3, 6), (6, 7)]),
        (6, 0, 3, False, [(0, 3), (3, 6)]),
        (6, 0, 3, True, [(0, 3), (3, 5), (5, 6)]),
        (6, 2, 9, False, [(2, 6)]),
        (6, 2, 9, True, [(2, 5), (5, 6)]),
        (6, 5, 9, True, [(5, 6)]),
        (1, 0, 1, True, [(0, 1)]),
        (6, 6, 3, False, []),
    ],
)
def test_groups_cover_the_batches_once(
    n_batches: int, first: int, at_once: int, of_one_size: bool, groups: list[tuple[int, int]]
):
    """In their order; where something is drawn for an example by its place, the last batch, which may be smaller, is alone."""
    assert grouped(n_batches, first, at_once, of_one_size=of_one_size) == groups
