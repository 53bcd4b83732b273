"""How images (n, c, h, w) lie in memory: channel after channel, torch's default, or pixel after pixel (channels-last).

Values and shapes are the same in both. A kernel that is given tensors of both layouts copies one of them, or walks memory slowly;
so a derivative is brought to the layout of the activity that it belongs to.
"""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["alike", "by_pixels", "is_by_pixels"]


def is_by_pixels(x: Tensor) -> bool:
    """Whether images lie pixel after pixel, and not in the default layout as well (one channel, or one pixel)."""
    return x.dim() == 4 and not x.is_contiguous() and x.is_contiguous(memory_format=torch.channels_last)


def by_pixels(x: Tensor) -> Tensor:
    """Images (n, c, h, w) pixel after pixel: themselves, or a copy."""
    return x.contiguous(memory_format=torch.channels_last)


def alike(x: Tensor, like: Tensor) -> Tensor:
    """``x`` pixel after pixel if ``like``, of the same shape, lies so: itself, or a copy. Else itself."""
    return by_pixels(x) if is_by_pixels(like) else x
