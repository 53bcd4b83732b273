"""Optimiser steps in place on tensors that are given: parameters, gradients, moments, learning rate as a 0-D tensor.

torch's functional optimisers do the arithmetic (their fused kernels: one call for all parameters, no waiting for the
device); a ``torch.optim`` object is not used, because its state appears only at the first step, moves on loading, and lives
outside the module that is saved. Tested equal to ``torch.optim.Adam``, ``AdamW`` and ``SGD``.

Weight decay is decoupled (Loshchilov and Hutter, arXiv 1711.05101: w ← w − lr·wd·w before the step) for every rule and
both optimisers, and is a 0-D tensor too, so that a search over it does not recompile.

The fused kernels walk raw memory: they pair the k-th number in memory of a parameter with the k-th of its gradient and of its
moments. Tensors of one shape but another memory layout would be paired wrongly without a word, and a view with gaps would be
read beyond its end. So shapes and strides are compared first; :func:`same_layout` says what counts as equal.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.optim.adam import adam
from torch.optim.sgd import sgd

__all__ = ["ADAM_BETAS", "ADAM_EPS", "adam_step_", "decay_", "same_layout", "sgd_step_"]

ADAM_BETAS = (0.9, 0.999)
"""Decay rates of Adam's moments: the defaults of Kingma and Ba (arXiv 1412.6980) and of torch."""

ADAM_EPS = 1e-8
"""Added to Adam's denominator, same source."""


def same_layout(one: Tensor, other: Tensor) -> bool:
    """Whether two tensors have the same shape and the same strides; the stride of an axis of length 1 does not matter."""
    if one.shape != other.shape:
        return False
    return all(n == 1 or a == b for n, a, b in zip(one.shape, one.stride(), other.stride(), strict=True))


def _check_layouts(parameters: list[Tensor], **lists: list[Tensor]) -> None:
    """Refuse what a fused kernel would pair wrongly.

    Raises:
        ValueError: lists of unequal length, or a tensor of another shape or other strides than its parameter.
    """
    for name, tensors in lists.items():
        if len(tensors) != len(parameters):
            raise ValueError(f"{len(parameters)} parameters need as many {name}, got {len(tensors)}")
        for k, (parameter, tensor) in enumerate(zip(parameters, tensors, strict=True)):
            if not same_layout(parameter, tensor):
                raise ValueError(
                    f"parameter {k} has shape {tuple(parameter.shape)} and strides {parameter.stride()}, but number {k} of "
                    f"{name} has {tuple(tensor.shape)} and {tensor.stride()}; give it in the layout of the parameter"
                )


def decay_(parameters: list[Tensor], lr: Tensor, weight_decay: Tensor) -> None:
    """w ← (1 − lr · weight_decay) w, in place."""
    torch._foreach_mul_(  # pyright: ignore[reportPrivateImportUsage]  # torch has no public name for it
        parameters, (1.0 - lr * weight_decay).to(parameters[0].dtype)
    )


def adam_step_(
    parameters: list[Tensor],
    gradients: list[Tensor],
    first: list[Tensor],
    second: list[Tensor],
    counts: list[Tensor],
    lr: Tensor,
) -> None:
    """One step of Adam, in place.

    Args:
        parameters, gradients, first, second: lists of equal length, shapes and strides; the moments start at zero and are dense
            (no gaps in memory).
        counts: one 0-D float32 tensor per parameter, the number of steps so far.
        lr: 0-D.

    Raises:
        ValueError: shapes or strides differ.
    """
    _check_layouts(parameters, gradients=gradients, first=first, second=second)
    compiling = torch.compiler.is_compiling()  # torch does not trace its fused kernels; a compiler fuses the formula itself
    adam(
        parameters,
        gradients,
        first,
        second,
        [],
        counts,
        fused=not compiling,
        foreach=compiling,
        capturable=compiling,
        amsgrad=False,
        beta1=ADAM_BETAS[0],
        beta2=ADAM_BETAS[1],
        lr=lr,
        weight_decay=0.0,
        eps=ADAM_EPS,
        maximize=False,
    )


def sgd_step_(parameters: list[Tensor], gradients: list[Tensor], velocity: list[Tensor], lr: Tensor, momentum: float) -> None:
    """One step of stochastic gradient descent with heavy-ball momentum: v ← μ v + g; w ← w − lr v, in place.

    Raises:
        ValueError: shapes or strides differ.
    """
    _check_layouts(parameters, gradients=gradients, velocity=velocity)
    compiling = torch.compiler.is_compiling()
    sgd(
        parameters,
        gradients,
        list(velocity),
        fused=not compiling,
        foreach=compiling,
        weight_decay=0.0,
        momentum=momentum,
        lr=lr,  # pyright: ignore[reportArgumentType]  # a 0-D tensor is taken, as by torch.optim.SGD
        dampening=0.0,
        nesterov=False,
        maximize=False,
    )
