"""Goodness as a vector: mean squared activity of each channel over the patches of a grid, and its derivative.

Index letters: n example, k channel, (p, q) patch, (h, w) position. For maps a (n, k, h, w) and a grid of P x P patches

    gₙₖₚ = mean over the positions of patch p of aₙₖ²          (n, k P²)
    ∂ℓ/∂a = 2 a ⊙ (∂ℓ/∂g spread evenly over the positions of its patch)

Tokens (n, t, k) are a map with one patch, the mean over tokens; units (n, k) are maps of one position. Patches are those of
torch's adaptive average pooling: where P does not divide the height they overlap by one row.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from bpfree.numerics.losses import at_least_float32

__all__ = ["grid_size", "spatial_goodness", "spatial_goodness_gradient"]


def grid_size(channels: int, most_channels: int, height: int, width: int) -> int:
    """Patches along each side, max(1, round(√(C_max / C))), and no more than there are positions.

    So early blocks, which have few channels, keep more of the place: every block gives about C_max numbers.
    """
    return min(max(1, round((most_channels / channels) ** 0.5)), height, width)


def spatial_goodness(activity: Tensor, grid: int) -> Tensor:
    """g of maps (n, k, h, w) on a grid, of tokens (n, t, k) or of units (n, k); in float32 or wider."""
    squares = at_least_float32(activity).square()
    if activity.dim() == 4:
        return F.adaptive_avg_pool2d(squares, grid).flatten(1)
    return squares.mean(1) if activity.dim() == 3 else squares.flatten(1)


def spatial_goodness_gradient(activity: Tensor, gradient: Tensor, grid: int) -> Tensor:
    """Transpose of the derivative of :func:`spatial_goodness` at ``activity``, applied to ``gradient`` (n, k P²)."""
    a = at_least_float32(activity)
    gradient = gradient.to(a.dtype)
    if activity.dim() == 4:
        by_patch = gradient.reshape(*a.shape[:2], grid, grid)
        spread = torch.ops.aten._adaptive_avg_pool2d_backward(by_patch, a)
    elif activity.dim() == 3:
        spread = gradient.unsqueeze(1) / a.shape[1]
    else:
        spread = gradient.reshape(a.shape)
    return (2.0 * a).mul_(spread).to(activity.dtype)
