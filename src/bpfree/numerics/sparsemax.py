"""Sparsemax and its loss: the projection of scores onto the simplex, which sets small probabilities to exactly zero.

Index letters: n example, c class. With the scores of a row sorted downwards, z₍₁₎ ≥ z₍₂₎ ≥ …:

    k* = max { k : 1 + k z₍ₖ₎ > Σⱼ≤ₖ z₍ⱼ₎ } ,   τ = (Σⱼ≤ₖ* z₍ⱼ₎ − 1) / k* ,   p = max(z − τ, 0)
    loss = ½ + ½ Σ_{p>0} (z² − τ²) − z_y ,      ∂loss/∂z = p − onehot(y)

Source: Martins and Astudillo, From Softmax to Sparsemax, arXiv 1602.02068, algorithm 1 and equation 22. Sums are taken in
float32 at least. Probabilities and loss do not change when a number is added to a row, so the largest score is subtracted first:
sums of large scores would round away the 1. A row with NaN or +∞ gives NaN and a loss that is not finite.
"""

from __future__ import annotations

import torch
from torch import Tensor

from bpfree.numerics.losses import at_least_float32, one_hot, weighted_mean, weighted_rows

__all__ = ["sparsemax", "sparsemax_loss", "sparsemax_residual"]


def _shifted(scores: Tensor) -> Tensor:
    """Scores in float32 or wider, less the largest of their row."""
    z = at_least_float32(scores)
    return z - z.amax(1, keepdim=True)


def _threshold(z: Tensor) -> Tensor:
    """τ of each row, (n, 1)."""
    ordered = z.sort(dim=1, descending=True).values
    sums = ordered.cumsum(1)
    rank = torch.arange(1, z.shape[1] + 1, device=z.device, dtype=z.dtype)
    support = (1 + rank * ordered > sums).sum(1, keepdim=True)  # k*; the condition holds for a prefix, and for k = 1
    support = support.clamp_min(1)  # it holds nowhere in a row with NaN
    return (sums.gather(1, support - 1) - 1) / support.to(z.dtype)


def sparsemax(scores: Tensor) -> Tensor:
    """Probabilities (n, c): the point of the simplex nearest to each row of ``scores``, in its dtype."""
    z = _shifted(scores)
    return (z - _threshold(z)).clamp_min(0).to(scores.dtype)


def sparsemax_loss(scores: Tensor, y: Tensor, weight: Tensor | None = None) -> Tensor:
    """Mean sparsemax loss of scores (n, c) and labels y (n,) int64; 0-D, at least 0, in float32 or wider.

    ``weight`` (n,) is how many times each example counts, see :mod:`bpfree.numerics.losses`.
    """
    z = _shifted(scores)
    tau = _threshold(z)
    inside = torch.where(z > tau, z.square() - tau.square(), 0).sum(1)
    return weighted_mean(0.5 + 0.5 * inside - z.gather(1, y.unsqueeze(1)).squeeze(1), weight)


def sparsemax_residual(scores: Tensor, y: Tensor, weight: Tensor | None = None) -> Tensor:
    """∂ sparsemax_loss / ∂ scores = (sparsemax(scores) − onehot(y)) / n, (n, c), in the dtype of ``scores``."""
    probabilities = sparsemax(at_least_float32(scores))
    residual = (probabilities - one_hot(y, scores.shape[1], probabilities.dtype)) / scores.shape[0]
    return weighted_rows(residual, weight).to(scores.dtype)
