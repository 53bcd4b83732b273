"""Dropout masks from the stream of a batch: the same for every pass over that batch, and on every device."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from bpfree.numerics.streams import uniform

__all__ = ["consistent_mask"]

_SALT = 1
"""Masks of block k are drawn at salt 1 + k."""


def consistent_mask(key: Tensor, shape: Sequence[int], block: int, dropout: Tensor, dtype: torch.dtype) -> Tensor:
    """1 / (1 − dropout) with probability 1 − dropout, else 0.

    Args:
        key: of the batch.
        shape: of the activity, examples first: an entry's mask depends on its place in the batch.
        block: index of the block.
        dropout: 0-D, below 1.
    """
    keep = uniform(key, shape, salt=_SALT + block, by_row=True) >= dropout
    return keep.to(dtype).div_((1.0 - dropout).to(dtype))
