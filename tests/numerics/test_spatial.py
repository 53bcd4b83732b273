"""Spatial goodness: grid sizes, and the gradient for maps, tokens and units."""

from __future__ import annotations

import pytest
import torch

from bpfree.numerics.spatial import grid_size, spatial_goodness, spatial_goodness_gradient


@pytest.mark.parametrize(
    ("channels", "most", "side", "expected"),
    [(512, 512, 4, 1), (64, 512, 14, 3), (128, 512, 7, 2), (32, 512, 3, 3), (1, 900, 5, 5)],
)
def test_grid_size(channels: int, most: int, side: int, expected: int) -> None:
    assert grid_size(channels, most, side, side) == expected


@pytest.mark.parametrize(
    ("shape", "grid"), [((3, 4, 6, 6), 3), ((3, 4, 7, 5), 3), ((3, 4, 5, 5), 1), ((3, 6, 8), 1), ((3, 8), 1)]
)
def test_gradient_equals_autograd(shape: tuple[int, ...], grid: int) -> None:
    a = torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).requires_grad_()
    g = spatial_goodness(a, grid)
    cotangent = torch.randn(g.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    (expected,) = torch.autograd.grad(g, a, cotangent)
    torch.testing.assert_close(spatial_goodness_gradient(a.detach(), cotangent, grid), expected, rtol=1e-12, atol=1e-12)


def test_one_patch_of_maps_is_the_mean_square() -> None:
    a = torch.randn(2, 3, 4, 4)
    torch.testing.assert_close(spatial_goodness(a, 1), a.square().mean((2, 3)))
