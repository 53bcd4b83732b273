"""Losses on class scores, and their residuals (derivative of the *mean* loss by the scores), in closed form.

Index letters: n example, c class. Reduction is the mean over the n rows of the batch that is really there, here and
nowhere else, so that a ragged last batch keeps its meaning. Sums are taken in float32 at least.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["at_least_float32", "cross_entropy", "one_hot", "softmax_residual"]


def at_least_float32(tensor: Tensor) -> Tensor:
    """The tensor in float32 if it is narrower (bfloat16, float16), else as it is."""
    return tensor.float() if tensor.dtype in (torch.bfloat16, torch.float16) else tensor


def one_hot(y: Tensor, n_classes: int, dtype: torch.dtype) -> Tensor:
    """Labels (n,) int64 to indicator rows (n, c); unlike ``F.one_hot`` it neither checks nor waits for the device."""
    return (y.unsqueeze(1) == torch.arange(n_classes, device=y.device)).to(dtype)


def cross_entropy(scores: Tensor, y: Tensor) -> Tensor:
    """Mean of −log softmax(scores)[y]; scores (n, c), y (n,) int64; returns a 0-D tensor in float32 or wider."""
    return F.cross_entropy(at_least_float32(scores), y)


def softmax_residual(scores: Tensor, y: Tensor) -> Tensor:
    """∂ cross_entropy / ∂ scores = (softmax(scores) − onehot(y)) / n, (n, c), in the dtype of ``scores``."""
    residual = torch.softmax(at_least_float32(scores), dim=1)
    if residual.device.type == "cpu":  # the same numbers in one operation; on a GPU it is not deterministic by contract
        residual.scatter_(1, y.unsqueeze(1), -1.0, reduce="add")
    else:
        residual.sub_(one_hot(y, scores.shape[1], residual.dtype))
    return residual.div_(scores.shape[0]).to(scores.dtype)
