"""Nonlinearities, and the product with their derivative written in terms of the *activity*.

Each is monotone enough for its derivative to be a function of its value (ReLU: a > 0; tanh: 1 − a²), so a block need not
keep its pre-activations. The gradients are torch's own kernels.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["ACTIVATIONS", "Activation"]

LEAKY_SLOPE = 0.01
"""Slope of the leaky ReLU below zero (torch's default)."""


@dataclass(frozen=True)
class Activation:
    """``apply(z)`` is φ(z); ``gradient(delta, a)`` is delta ⊙ φ′(z) for a = φ(z)."""

    apply: Callable[[Tensor], Tensor]
    gradient: Callable[[Tensor, Tensor], Tensor]


ACTIVATIONS: dict[str, Activation] = {
    "relu": Activation(F.relu, lambda delta, a: torch.ops.aten.threshold_backward(delta, a, 0)),
    "leaky-relu": Activation(
        lambda z: F.leaky_relu(z, LEAKY_SLOPE),
        lambda delta, a: torch.ops.aten.leaky_relu_backward(delta, a, LEAKY_SLOPE, True),
    ),
    "tanh": Activation(torch.tanh, lambda delta, a: torch.ops.aten.tanh_backward(delta, a)),
    "identity": Activation(lambda z: z, lambda delta, a: delta),
}
"""Registered nonlinearities by name."""
