"""Spatial goodness: its gradient, its grids, its locality."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from local_reference import NETS, assert_same, batch_of, by_autograd, stepped
from torch import Tensor

from bpfree.algorithms import SpatialGoodness, State
from bpfree.algorithms.spatial_goodness import grids
from bpfree.nets import Chain, build
from bpfree.numerics.spatial import spatial_goodness

BATCH = batch_of(7)


@pytest.mark.parametrize("maths", ["auto", "autograd"])
@pytest.mark.parametrize("kind", list(NETS))
def test_gradient_is_that_of_the_local_losses(kind: str, maths: str) -> None:
    def loss(net: Chain, state: State) -> Tensor:
        x, total = BATCH.x, torch.zeros((), dtype=torch.float64)
        for k, (block, grid) in enumerate(zip(net, grids(net), strict=True)):
            x = block(x.detach())
            total = total + F.cross_entropy(spatial_goodness(x, grid) @ state.slot(k).projection.t(), BATCH.y)
        return total

    bench, gradients, _ = stepped(SpatialGoodness(maths=maths), NETS[kind](), BATCH)
    assert_same(gradients, by_autograd(loss, bench))


def test_every_block_of_maps_gives_about_as_many_numbers() -> None:
    net = build("mf-cnn4", (1, 28, 28), 10)
    assert grids(net) == [3, 2, 1, 1]  # round(sqrt(512 / (64, 128, 256, 512))): 2.83, 2, 1.41, 1
    state = SpatialGoodness().init(net, torch.Generator().manual_seed(0))
    assert [state.slot(k).projection.shape[1] for k in range(4)] == [576, 512, 256, 512]


def test_a_grid_is_never_finer_than_the_map() -> None:
    net = build("mf-cnn4", (1, 16, 16), 10)
    assert all(grid <= min(block.out_shape[1:]) for grid, block in zip(grids(net), net, strict=True))
