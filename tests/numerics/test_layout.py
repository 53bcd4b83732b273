"""How images lie in memory."""

from __future__ import annotations

import torch

from bpfree.numerics.layout import alike, by_pixels, is_by_pixels


def test_pixel_after_pixel_is_told_from_channel_after_channel() -> None:
    x = torch.randn(2, 3, 4, 5)
    pixels = by_pixels(x)
    assert is_by_pixels(pixels) and not is_by_pixels(x)
    assert torch.equal(pixels, x) and by_pixels(pixels) is pixels
    assert pixels.permute(0, 2, 3, 1).is_contiguous()


def test_what_lies_both_ways_or_is_no_image_is_in_the_default_layout() -> None:
    for x in (torch.randn(2, 1, 4, 5), torch.randn(2, 3, 1, 1), torch.randn(2, 3), torch.randn(2, 3, 4)):
        assert not is_by_pixels(x)
    assert not is_by_pixels(by_pixels(torch.randn(2, 3, 4, 5))[..., ::2])  # gaps


def test_one_is_brought_to_the_layout_of_the_other() -> None:
    x, pixels = torch.randn(2, 3, 4, 5), by_pixels(torch.randn(2, 3, 4, 5))
    assert is_by_pixels(alike(x, pixels)) and torch.equal(alike(x, pixels), x)
    assert alike(pixels, x) is pixels and alike(x, x) is x
