"""Masks: their share, their mean, and that they depend on batch and block alone."""

from __future__ import annotations

import pytest
import torch

from bpfree.numerics.dropout import consistent_mask
from bpfree.numerics.streams import uniform


def test_share_and_mean() -> None:
    mask = consistent_mask(torch.tensor(7), (100, 50), 0, torch.tensor(0.25), torch.float64)
    assert mask.dtype == torch.float64
    assert mask.unique().tolist() == pytest.approx([0.0, 1 / 0.75])
    assert float(mask.mean()) == pytest.approx(1.0, abs=0.03)


def test_the_same_again_and_another_for_another_block_or_batch() -> None:
    def draw(key: int, block: int) -> torch.Tensor:
        return consistent_mask(torch.tensor(key), (8, 4, 3), block, torch.tensor(0.5), torch.float32)

    assert torch.equal(draw(1, 2), draw(1, 2))
    assert not torch.equal(draw(1, 2), draw(1, 3))
    assert not torch.equal(draw(1, 2), draw(2, 2))


def test_the_stream_of_a_block_is_the_documented_one() -> None:
    """Salt 1 + block: another one would collide with other draws of the batch, or change the masks of a resumed run."""
    key, shape = torch.tensor(3), (6, 5)
    for block in (0, 1, 7):
        mask = consistent_mask(key, shape, block, torch.tensor(0.5), torch.float32)
        assert torch.equal(mask, 2.0 * (uniform(key, shape, salt=1 + block) >= 0.5))
