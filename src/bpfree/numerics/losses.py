"""Losses on class scores, and their residuals (derivative of the *mean* loss by the scores), in closed form.

Index letters: n example, c class. Reduction is the mean over the n rows of the batch that is really there, here and
nowhere else, so that a ragged last batch keeps its meaning. Sums are taken in float32 at least.

With weights w (n,), above 0, an example counts as w examples, as in torch's ``cross_entropy(weight=)``: Σₙ wₙ lₙ / Σₙ wₙ, and the
residual of row n is multiplied by wₙ / mean(w). Only the ratios of the weights matter. Without them nothing is computed for them.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = [
    "at_least_float32",
    "cross_entropy",
    "loss_and_residual",
    "one_hot",
    "softmax_residual",
    "weighted_mean",
    "weighted_rows",
]

_aten = torch.ops.aten
_MEAN, _IGNORED = 1, -100
"""torch's number for the mean over the batch, and the label that its losses pass over."""

_FEW_CLASSES = 32
"""Up to here the softmax of scores that lie class after class in memory is taken down the classes, many examples at once; from
some 100 classes on that takes longer than a copy to rows."""

_ONE = {dtype: torch.ones((), dtype=dtype) for dtype in (torch.float32, torch.float64)}
"""The derivative of a loss by itself, on the processor."""


def at_least_float32(tensor: Tensor) -> Tensor:
    """The tensor in float32 if it is narrower (bfloat16, float16), else as it is."""
    return tensor.float() if tensor.dtype in (torch.bfloat16, torch.float16) else tensor


def one_hot(y: Tensor, n_classes: int, dtype: torch.dtype) -> Tensor:
    """Labels (n,) int64 to indicator rows (n, c); unlike ``F.one_hot`` it neither checks nor waits for the device."""
    return (y.unsqueeze(1) == torch.arange(n_classes, device=y.device)).to(dtype)


def weighted_mean(losses: Tensor, weight: Tensor | None) -> Tensor:
    """Mean of losses (n,), each counted ``weight`` (n,) times; 0-D."""
    if weight is None:
        return losses.mean()
    weight = weight.to(losses.dtype)
    return (losses * weight).sum() / weight.sum()


def weighted_rows(rows: Tensor, weight: Tensor | None) -> Tensor:
    """Rows (n, ...) times weight (n,) / mean(weight), in the dtype of ``rows``; ``rows`` itself where there is no weight."""
    if weight is None:
        return rows
    relative = (weight / weight.mean()).to(at_least_float32(rows).dtype)
    return (rows * relative.reshape(-1, *[1] * (rows.dim() - 1))).to(rows.dtype)


def cross_entropy(scores: Tensor, y: Tensor, weight: Tensor | None = None) -> Tensor:
    """Mean of −log softmax(scores)[y], 0-D, in float32 or wider.

    Args:
        scores: (n, c).
        y: (n,) int64.
        weight: (n,), how many times each example counts; None: once.
    """
    if weight is None:
        return F.cross_entropy(at_least_float32(scores), y)
    return weighted_mean(F.cross_entropy(at_least_float32(scores), y, reduction="none"), weight)


def softmax_residual(scores: Tensor, y: Tensor, weight: Tensor | None = None) -> Tensor:
    """∂ cross_entropy / ∂ scores = (softmax(scores) − onehot(y)) / n, (n, c), in the dtype of ``scores``.

    With ``weight`` (n,) row n is multiplied by wₙ / mean(w).
    """
    residual = torch.softmax(at_least_float32(scores), dim=1)
    if residual.device.type == "cpu":  # the same numbers in one operation; on a GPU it is not deterministic by contract
        residual.scatter_(1, y.unsqueeze(1), -1.0, reduce="add")
    else:
        residual.sub_(one_hot(y, scores.shape[1], residual.dtype))
    return weighted_rows(residual.div_(scores.shape[0]), weight).to(scores.dtype)


def loss_and_residual(scores: Tensor, y: Tensor, weight: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """:func:`cross_entropy` and :func:`softmax_residual` of the same scores.

    On a processor, and without weights, they share one logarithm of the softmax: four of torch's kernels, those that its autograd
    would call, instead of six. The residual is the same but for rounding. Scores that are the transpose of a matrix, as those of
    :func:`bpfree.numerics.local.class_scores` are, stay so, and so does their residual.
    """
    if weight is not None or scores.device.type != "cpu":
        return cross_entropy(scores, y, weight), softmax_residual(scores, y, weight)
    wide = at_least_float32(scores)
    down = wide.shape[1] <= _FEW_CLASSES and wide.t().is_contiguous()
    logs = torch.log_softmax(wide.t(), 0).t() if down else torch.log_softmax(wide, 1)
    loss, n = _aten.nll_loss_forward.default(logs, y, None, _MEAN, _IGNORED)
    by_logs = _aten.nll_loss_backward.default(_ONE[logs.dtype], logs, y, None, _MEAN, _IGNORED, n)
    if down:
        residual = _aten._log_softmax_backward_data.default(by_logs.t(), logs.t(), 0, logs.dtype).t()
    else:
        residual = _aten._log_softmax_backward_data.default(by_logs, logs, 1, logs.dtype)
    return loss, residual if logs.dtype == scores.dtype else residual.to(scores.dtype)
