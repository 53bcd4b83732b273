"""Central differences: the derivative of a scalar function by a tensor, entry by entry, without autograd."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

STEP = 1e-5
"""In float64 the error of a central difference is about STEP² plus 1e-16 / STEP."""


def central_differences(function: Callable[[Tensor], Tensor], at: Tensor) -> Tensor:
    """(f(x + h) - f(x - h)) / 2h for every entry of ``at`` (float64)."""
    result = torch.empty_like(at)
    for k in range(at.numel()):
        shifted = [at.clone().reshape(-1) for _ in range(2)]
        shifted[0][k] += STEP
        shifted[1][k] -= STEP
        up, down = (float(function(each.reshape(at.shape))) for each in shifted)
        result.view(-1)[k] = (up - down) / (2 * STEP)
    return result


def numbers(*shape: int, seed: int = 0) -> Tensor:
    """Normal float64 numbers."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
