"""Gradients of one convolution block, given the derivative of a loss by its activity: closed form, no autograd.

A block is a convolution and then some of three stages, in any order: activation φ, 2 x 2 pooling, BatchNorm.
Index letters: n example; c, o channel in and out; i, j position; u, v place in the kernel. For any loss ℓ whose derivative
by the block's activity is delta, each stage hands its derivative to the stage before it:

    activation   a = φ(z)                      dz = delta ⊙ φ′(z), from a alone
    pooling      maximum: delta goes to the largest of each window (its first, on a tie); average: a quarter to each
    BatchNorm    y = γ (x − μ) / √(σ² + ε) + β with μ, σ² over n, i, j
                 dγ = Σ delta x̂ ,  dβ = Σ delta ,  dx = γ / √(σ² + ε) (delta − mean(delta) − x̂ mean(delta x̂)),  x̂ = (y − β) / γ

until dz reaches the convolution z[n,o,i,j] = b[o] + Σ W[o,c,u,v] x[n,c,i+u,j+v] (x padded by zeros):

    dW[o,c,u,v] = Σ_nij dz[n,o,i,j] x[n,c,i+u,j+v]     (o, c, k, k)
    db[o]       = Σ_nij dz[n,o,i,j]                    (o,)
    dx          = the transposed convolution of dz     (n, c, h, w)   only where a rule asks for it

``delta`` is a derivative of a *mean* loss, so nothing is divided by n here. Source of the formulas: Ioffe and Szegedy, arXiv
1502.03167, for BatchNorm; the others follow from the definitions.

Each line is torch's own kernel, with two exceptions on a processor: a wide dW is a matrix product
(:mod:`bpfree.numerics.conv_weight`), and average pooling over even edges is passed together with the activation in front of it,
in the place of the activity. Images are brought to the memory layout of the weight, derivatives to that of what they belong to.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor

from bpfree.numerics.activations import ACTIVATIONS, Activation
from bpfree.numerics.conv_weight import by_patches, is_quicker
from bpfree.numerics.handover import Handover, taken
from bpfree.numerics.layout import alike, by_pixels, is_by_pixels

__all__ = ["POOLS", "STAGES", "ConvPlan", "ConvSaved", "Norm", "Statistics", "conv_activity", "conv_gradients"]

POOLS = ("none", "max", "average")
"""Pooling over windows of 2 x 2, step 2; an odd last row or column is dropped, as in torch."""

STAGES = ("activation", "pool", "norm")
"""What may follow the convolution, in the order of arXiv 2303.09728 (convolution, ReLU, pool, BatchNorm)."""

Statistics = Literal["update", "batch", "running"]
"""What BatchNorm divides by: this batch's statistics, moving the running ones (``update``: an ordinary training pass) or not
(``batch``: one more pass over the same examples), or the running ones (``running``: as at evaluation)."""

_aten = torch.ops.aten
_WINDOW, _NO_PADDING, _NO_DILATION = [2, 2], [0, 0], [1, 1]


@dataclass(frozen=True)
class ConvPlan:
    """The structure of a block: what is no tensor.

    Attributes:
        stride, padding: of the convolution, the same in both axes; zeros are padded.
        stages: those of :data:`STAGES` that there are, in their order.
        activation: a name of :data:`bpfree.numerics.activations.ACTIVATIONS`.
        pool: a name of :data:`POOLS`.
        eps, momentum: of BatchNorm.
    """

    stride: int
    padding: int
    stages: tuple[str, ...]
    activation: str
    pool: str
    eps: float = 1e-4
    momentum: float = 0.1


class Norm(NamedTuple):
    """BatchNorm's tensors: γ, β, the running mean and variance, all (o,), and the batches seen (0-D int64)."""

    weight: Tensor
    bias: Tensor
    mean: Tensor
    variance: Tensor
    n_batches: Tensor


class ConvSaved(NamedTuple):
    """What :func:`conv_gradients` needs, and frees stage by stage.

    Attributes:
        x: (n, c, h, w), the block's input.
        stages: per stage: (activity,), (input, indices), (input,), or (input, mean, spread), where spread is
            1 / √(σ² + ε) of the batch, or the running variance.
        by_batch: whether BatchNorm divided by this batch's statistics.
    """

    x: Tensor
    stages: list[tuple[Tensor, ...]]
    by_batch: bool


def conv_activity(
    x: Tensor, weight: Tensor, bias: Tensor | None, norm: Norm | None, plan: ConvPlan, statistics: Statistics
) -> tuple[Tensor, ConvSaved]:
    """The block's activity, and what its gradients need.

    Args:
        x: (n, c, h, w).
        weight: (o, c, k, k). bias: (o,) or None.
        norm: where ``plan.stages`` has ``"norm"``; its running statistics move if ``statistics`` is ``"update"``.
    """
    stride, padding = [plan.stride] * 2, [plan.padding] * 2
    if is_by_pixels(weight):
        x = by_pixels(x)  # once: each of the convolution's kernels would copy it
    a = _aten.convolution(x, weight, bias, stride, padding, _NO_DILATION, False, _NO_PADDING, 1)
    stages: list[tuple[Tensor, ...]] = []
    for stage in plan.stages:
        if stage == "activation":
            by_name = ACTIVATIONS[plan.activation]
            a = by_name.apply(a) if a.requires_grad else by_name.apply_(a)  # no other stage needs its output later
            stages.append((a,))
        elif stage == "pool":
            a, saved = _pooled(a, plan.pool)
            stages.append(saved)
        else:
            assert norm is not None  # the block's constructor makes one exactly where the plan has this stage
            a, saved = _normalised(a, norm, plan, statistics)
            stages.append(saved)
    return a, ConvSaved(x, stages, statistics != "running")


def _pooled(x: Tensor, pool: str) -> tuple[Tensor, tuple[Tensor, ...]]:
    if pool == "max":
        a, indices = _aten.max_pool2d_with_indices(x, _WINDOW, _WINDOW)
        return a, (x, indices)
    return _aten.avg_pool2d(x, _WINDOW, _WINDOW), (x,)


def _normalised(x: Tensor, norm: Norm, plan: ConvPlan, statistics: Statistics) -> tuple[Tensor, tuple[Tensor, ...]]:
    if statistics == "running":
        a, _, _ = _aten.native_batch_norm(x, *norm[:4], False, plan.momentum, plan.eps)
        return a, (x, norm.mean, norm.variance)
    running = (norm.mean, norm.variance) if statistics == "update" else (None, None)
    if statistics == "update":
        norm.n_batches.add_(1)  # as torch's own module counts
    a, mean, invstd = _aten.native_batch_norm(x, norm.weight, norm.bias, *running, True, plan.momentum, plan.eps)
    return a, (x, mean, invstd)


def conv_gradients(
    saved: ConvSaved,
    delta: Tensor | Handover,
    weight: Tensor,
    norm_weight: Tensor | None,
    plan: ConvPlan,
    *,
    bias: bool,
    need_input: bool,
) -> tuple[list[Tensor], Tensor | None]:
    """Gradients by [weight, bias, γ, β] (those that there are), and by x if ``need_input``.

    Args:
        saved: its stages are used up.
        delta: derivative of the mean loss by the activity, in the activity's shape; written over where it is handed over.
        norm_weight: γ, where there is BatchNorm.
        bias: whether the convolution has one.
    """
    of_norm: list[Tensor] = []
    derivative, writable = taken(delta)
    by_name = ACTIVATIONS[plan.activation]
    stages = list(plan.stages)
    while stages:
        stage, values = stages.pop(), saved.stages.pop()
        laid_out = alike(derivative, values[0])
        derivative, writable = laid_out, writable or laid_out is not derivative
        if stage == "activation":
            derivative = (by_name.gradient_ if writable else by_name.gradient)(derivative, values[0])
        elif stage == "pool" and _in_one_sweep(plan, stages, values[0]):
            stages.pop()
            derivative = _spread_over(derivative, saved.stages.pop()[0], by_name)
        elif stage == "pool":
            derivative = _unpooled(derivative, values, plan.pool)
        else:
            derivative, *of_norm = _unnormalised(derivative, values, norm_weight, plan, saved.by_batch)
        writable = not torch.is_grad_enabled()  # made here
        del values  # freed before the next stage makes its derivative
    derivative = alike(derivative, saved.x)
    by_input, by_weight, by_bias = _of_convolution(derivative, saved.x, weight, plan, bias=bias, need_input=need_input)
    return [by_weight, *([] if by_bias is None else [by_bias]), *of_norm], by_input if need_input else None


def _of_convolution(
    dz: Tensor, x: Tensor, weight: Tensor, plan: ConvPlan, *, bias: bool, need_input: bool
) -> tuple[Tensor | None, Tensor, Tensor | None]:
    """dx, dW and db (None where they are not asked for)."""
    kernel = weight.shape[2]
    if not is_quicker(dz, x, kernel):
        by_input, by_weight, by_bias = _by_kernel(dz, x, weight, plan, [need_input, True, bias])
        return by_input, by_weight, by_bias if bias else None
    by_weight = by_patches(dz, x, kernel, plan.stride, plan.padding)
    by_bias = dz.permute(0, 2, 3, 1).flatten(0, 2).sum(0) if bias else None
    by_input = _by_kernel(dz, x, weight, plan, [True, False, False])[0] if need_input else None
    return by_input, by_weight, by_bias


def _by_kernel(dz: Tensor, x: Tensor, weight: Tensor, plan: ConvPlan, wanted: list[bool]) -> tuple[Any, Any, Any]:
    """By the input, the weight and the bias: those that are wanted."""
    stride, padding = [plan.stride] * 2, [plan.padding] * 2
    biases = [weight.shape[0]] if wanted[2] else None
    return _aten.convolution_backward(dz, x, weight, biases, stride, padding, _NO_DILATION, False, _NO_PADDING, 1, wanted)


def _in_one_sweep(plan: ConvPlan, before: list[str], x: Tensor) -> bool:
    """Whether average pooling and the activation in front of it are passed at once: all of x lies in a window."""
    even = x.shape[2] % 2 == x.shape[3] % 2 == 0
    return plan.pool == "average" and before[-1:] == ["activation"] and even and not torch.is_grad_enabled()


def _spread_over(delta: Tensor, a: Tensor, activation: Activation) -> Tensor:
    """φ′(z) times a quarter of each window's delta, in the place of the activity a, which nothing else reads."""
    n, c, height, width = delta.shape
    windows = a.view(n, c, height, 2, width, 2)
    activation.gradient_over_(delta.mul(0.25).view(n, c, height, 1, width, 1), windows)
    return a


def _unpooled(delta: Tensor, values: tuple[Tensor, ...], pool: str) -> Tensor:
    if pool == "max":
        x, indices = values
        return _aten.max_pool2d_with_indices_backward(delta, x, _WINDOW, _WINDOW, _NO_PADDING, _NO_DILATION, False, indices)
    return _aten.avg_pool2d_backward(delta, values[0], _WINDOW, _WINDOW, _NO_PADDING, False, True, None)


def _unnormalised(
    delta: Tensor, values: tuple[Tensor, ...], weight: Tensor | None, plan: ConvPlan, by_batch: bool
) -> tuple[Tensor, Tensor, Tensor]:
    x, mean, spread = values
    # of the running statistics the kernel wants the variance, of the batch's the reciprocal deviation: in other places
    statistics = (None, None, mean, spread) if by_batch else (mean, spread, None, None)
    return _aten.native_batch_norm_backward(delta, x, weight, *statistics, by_batch, plan.eps, [True, True, True])
