"""Similarity matching: the examples of a batch should resemble each other as their labels do.

Index letters: n, m examples, i feature. With centred rows x̃ = x − mean over i, their lengths r and directions u = x̃ / (r + ε):

    R = U Uᵀ                             similarity of two examples, the correlation of their features (n, m)
    S = 1 for equal labels, −1/(K − 1) otherwise: R of the one-hot labels
    loss = Σₙₘ (R − S)² / n²
    dU = 4 (R − S) U / n²
    dx̃ = dU / (r + ε) − x̃ (x̃ · dU) / (r (r + ε)²) ,   dx = dx̃ − mean over i of dx̃

For maps (channels, height, width), x is the standard deviation of each channel over its positions. The loss couples the
examples of a batch: it is a mean over pairs. With weights w (n,) a pair counts wₙ wₘ times.

Source: Nøkland and Eidnes, arXiv 1901.06656, section 3, and its released code.
"""

from __future__ import annotations

import torch
from torch import Tensor

from bpfree.numerics.losses import at_least_float32, weighted_rows

__all__ = ["EPS", "label_similarity", "similarity_loss_and_gradient", "spread", "spread_gradient"]

EPS = 1e-8
"""Added to a length before dividing (released code)."""


def label_similarity(y: Tensor, n_classes: int, dtype: torch.dtype) -> Tensor:
    """S (n, n): correlation of the one-hot rows of labels y (n,)."""
    same = (y.unsqueeze(0) == y.unsqueeze(1)).to(dtype)
    other = -1.0 / (n_classes - 1)
    return same.mul_(1.0 - other).add_(other)


def similarity_loss_and_gradient(features: Tensor, target: Tensor, weight: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """The loss (0-D, float32 or wider) and its derivative by ``features`` (n, i), in their dtype.

    A row whose features are all equal has no direction; its derivative is 0.
    """
    dtype, n = features.dtype, features.shape[0]
    x = at_least_float32(features)
    centred = x - x.mean(1, keepdim=True)
    del x, features  # each tensor is freed, or written over, after its last use
    length = centred.square().sum(1, keepdim=True).sqrt()
    u = centred / (length + EPS)
    error = (u @ u.t()).sub_(target)
    del target
    if weight is None:
        loss = error.square().mean()
    else:
        counted = weighted_rows(weighted_rows(error, weight).t(), weight)  # the error is symmetric
        loss, error = (error * counted).mean(), counted
    du = (error @ u).mul_(4.0 / n**2)
    del u, error
    along = (centred * du).sum(1, keepdim=True)
    safe = length.clamp_min(torch.finfo(centred.dtype).tiny)
    dx = du.div_(length + EPS).sub_(centred.div_(safe).mul_(along).div_((length + EPS).square()))
    dx.sub_(dx.mean(1, keepdim=True)).masked_fill_(length <= 0, 0)
    return loss, dx.to(dtype)


def spread(maps: Tensor) -> Tensor:
    """Standard deviation of each channel over its positions, (n, channels, height, width) to (n, channels)."""
    flat = at_least_float32(maps).flatten(2)
    return flat.std(2)


def spread_gradient(maps: Tensor, gradient: Tensor) -> Tensor:
    """Transpose of the derivative of :func:`spread` at ``maps``, applied to ``gradient`` (n, channels); shape of ``maps``.

    A channel that is constant has no derivative; 0 is taken.
    """
    flat = at_least_float32(maps).flatten(2)
    centred = flat - flat.mean(2, keepdim=True)
    deviation = flat.std(2, keepdim=True)
    factor = torch.where(deviation > 0, gradient.unsqueeze(2) / ((flat.shape[2] - 1) * deviation), 0)
    return (factor * centred).reshape(maps.shape).to(maps.dtype)
