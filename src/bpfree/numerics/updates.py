"""Optimiser steps in place on tensors that are given: parameters, gradients, moments, learning rate as a 0-D tensor.

torch's functional optimisers do the arithmetic (their fused kernels: one call for all parameters, no waiting for the
device); a ``torch.optim`` object is not used, because its state appears only at the first step, moves on loading, and lives
outside the module that is saved. Tested equal to ``torch.optim.Adam``, ``AdamW`` and ``SGD``.

Weight decay is decoupled (Loshchilov and Hutter, arXiv 1711.05101: w ← w − lr·wd·w before the step) for every rule and
both optimisers, and is a 0-D tensor too, so that a search over it does not recompile. On a processor Adam's fused kernel does it
in the same sweep over the weights, with the same bits as :func:`decay_`.

The fused kernels walk raw memory: they pair the k-th number in memory of a parameter with the k-th of its gradient and of its
moments. Tensors of one shape but another memory layout would be paired wrongly without a word, and a view with gaps would be
read beyond its end. So shapes and strides are compared first; :func:`same_layout` says what counts as equal.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.optim.adam import adam
from torch.optim.sgd import sgd

from bpfree.numerics.host import host_number, on_host, update_by_host

__all__ = ["ADAM_BETAS", "ADAM_EPS", "adam_step_", "decay_", "same_layout", "sgd_step_"]

ADAM_BETAS = (0.9, 0.999)
"""Decay rates of Adam's moments: the defaults of Kingma and Ba (arXiv 1412.6980) and of torch."""

ADAM_EPS = 1e-8
"""Added to Adam's denominator, same source."""

_DECAYED_BY_KERNEL = (torch.float32, torch.float64)
"""Number formats in which the kernel that decays rounds as :func:`decay_` and the one that does not."""


def same_layout(one: Tensor, other: Tensor) -> bool:
    """Whether two tensors have the same shape and the same strides; the stride of an axis of length 1 does not matter."""
    if one.shape != other.shape:
        return False
    if one.stride() == other.stride():
        return True
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


@lru_cache(maxsize=256)
def _kernel_decay(lr: float, weight_decay: float, single: bool) -> float:
    """The weight decay with which the fused kernel, which takes 1 − lr·wd in double precision, has the factor of :func:`decay_`.

    Args:
        single: the factor is computed in float32.
    """
    if not single or lr == 0.0:
        return weight_decay
    factor = np.float32(1.0) - np.float32(lr) * np.float32(weight_decay)
    return (1.0 - float(factor)) / lr


def adam_step_(
    parameters: list[Tensor],
    gradients: list[Tensor],
    first: list[Tensor],
    second: list[Tensor],
    counts: list[Tensor],
    lr: Tensor,
    weight_decay: Tensor | None = None,
    *,
    compared: bool = False,
) -> None:
    """Decoupled weight decay, if any, and one step of Adam, in place.

    Args:
        parameters, gradients, first, second: lists of equal length, shapes and strides; the moments start at zero and are dense
            (no gaps in memory).
        counts: one 0-D float32 tensor per parameter, the number of steps so far.
        lr, weight_decay: 0-D.
        compared: the caller has compared shapes and strides already.

    Raises:
        ValueError: shapes or strides differ.
    """
    if not compared:
        _check_layouts(parameters, gradients=gradients, first=first, second=second)
    compiling = torch.compiler.is_compiling()  # torch does not trace its fused kernels; a compiler fuses the formula itself
    if compiling or not _alike(parameters):
        if weight_decay is not None:
            decay_(parameters, lr, weight_decay)
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
        return
    lists = (parameters, gradients, first, second, counts)
    if on_host(lr) and on_host(counts[0]):
        update_by_host(_prepared_adam, lists, lr, weight_decay)
        return
    torch._foreach_add_(counts, 1)  # pyright: ignore[reportPrivateImportUsage]
    if weight_decay is not None:
        decay_(parameters, lr, weight_decay)
    _fused(torch._fused_adam_, lists, lr, 0.0)  # pyright: ignore[reportPrivateImportUsage]


_Lists = tuple[list[Tensor], list[Tensor], list[Tensor], list[Tensor], list[Tensor]]
"""Parameters, gradients, first and second moments, counts."""


def _prepared_adam(lists: _Lists, lr: Tensor, weight_decay: Tensor | None) -> Callable[[], None]:
    """:func:`adam_step_` with counts and rates that lie in host memory."""
    parameters, *_, counts = lists
    rate, numbers = host_number(lr), [host_number(count) for count in counts]
    decays, single = None, parameters[0].dtype == torch.float32
    kernel = torch._fused_adam_  # pyright: ignore[reportPrivateImportUsage]
    if weight_decay is not None and parameters[0].dtype in _DECAYED_BY_KERNEL:
        decays, kernel = host_number(weight_decay), torch._fused_adamw_  # pyright: ignore[reportPrivateImportUsage]

    def update() -> None:
        for number in numbers:
            number.value += 1
        decay = 0.0 if decays is None else _kernel_decay(rate.value, decays.value, single)
        if weight_decay is not None and decay == 0.0:
            decay_(parameters, lr, weight_decay)
        _fused(kernel, lists, rate.value, decay)

    return update


def _fused(kernel: Callable[..., Any], lists: _Lists, lr: float | Tensor, weight_decay: float) -> None:
    """torch's own function of Adam, without what it asks at every call (groups by device and dtype): half of a small step."""
    parameters, gradients, first, second, counts = lists
    kernel(
        parameters,
        gradients,
        first,
        second,
        [],
        counts,
        lr=lr,
        beta1=ADAM_BETAS[0],
        beta2=ADAM_BETAS[1],
        weight_decay=weight_decay,
        eps=ADAM_EPS,
        amsgrad=False,
        maximize=False,
    )


def _alike(parameters: list[Tensor]) -> bool:
    """Whether all are of one dtype on one device, as a fused kernel needs them."""
    dtype, device = parameters[0].dtype, parameters[0].device
    return all(each.dtype == dtype and each.device == device for each in parameters)


def sgd_step_(
    parameters: list[Tensor],
    gradients: list[Tensor],
    velocity: list[Tensor],
    lr: Tensor,
    momentum: float,
    *,
    compared: bool = False,
) -> None:
    """One step of stochastic gradient descent with heavy-ball momentum: v ← μ v + g; w ← w − lr v, in place.

    Args:
        compared: the caller has compared shapes and strides already.

    Raises:
        ValueError: shapes or strides differ.
    """
    if not compared:
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
