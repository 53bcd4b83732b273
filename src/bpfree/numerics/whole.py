"""The bits of a tensor as whole numbers: to compare them (NaN is itself, 0 is not −0), or to take sums that are exact."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["same_bits", "whole_numbers"]

_OF_WIDTH = {1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int64}
"""By bytes of a number."""


def whole_numbers(tensor: Tensor) -> Tensor:
    """One integer for each number (size,), in a number format of at most 8 bytes; a view where the memory allows it."""
    flat = tensor.detach().reshape(-1)
    flat = flat if flat.stride() == (1,) else flat.clone(memory_format=torch.contiguous_format)
    return flat.view(_OF_WIDTH[flat.element_size()])


def same_bits(one: Tensor, other: Tensor) -> bool:
    """Whether two tensors have the same shape, number format and bits."""
    return one.shape == other.shape and one.dtype == other.dtype and torch.equal(whole_numbers(one), whole_numbers(other))
