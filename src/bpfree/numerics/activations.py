"""Nonlinearities, and the product with their derivative written in terms of the *activity*.

Each is monotone enough for its derivative to be a function of its value (ReLU: a > 0; tanh: 1 − a²), so a block need not
keep its pre-activations. The gradients are torch's own kernels. Each operation has twins in place (their names end in ``_``) that
give the same bits and no new tensor.
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
    """``apply(z)`` is φ(z); ``gradient(delta, a)`` is delta ⊙ φ′(z) for a = φ(z).

    ``apply_`` writes over z, ``gradient_`` over delta, ``gradient_over_`` over a; all return what they have written over. The
    last takes a delta that is broadcast to the shape of a.
    """

    apply: Callable[[Tensor], Tensor]
    gradient: Callable[[Tensor, Tensor], Tensor]
    apply_: Callable[[Tensor], Tensor]
    gradient_: Callable[[Tensor, Tensor], Tensor]
    gradient_over_: Callable[[Tensor, Tensor], Tensor]


_aten = torch.ops.aten

ACTIVATIONS: dict[str, Activation] = {
    "relu": Activation(
        F.relu,
        lambda delta, a: _aten.threshold_backward(delta, a, 0),
        torch.relu_,
        lambda delta, a: _aten.threshold_backward.grad_input(delta, a, 0, grad_input=delta),
        lambda delta, a: _aten.threshold_backward.grad_input(delta, a, 0, grad_input=a),
    ),
    "leaky-relu": Activation(
        lambda z: F.leaky_relu(z, LEAKY_SLOPE),
        lambda delta, a: _aten.leaky_relu_backward(delta, a, LEAKY_SLOPE, True),
        lambda z: F.leaky_relu_(z, LEAKY_SLOPE),
        lambda delta, a: _aten.leaky_relu_backward.grad_input(delta, a, LEAKY_SLOPE, True, grad_input=delta),
        lambda delta, a: _aten.leaky_relu_backward.grad_input(delta, a, LEAKY_SLOPE, True, grad_input=a),
    ),
    "tanh": Activation(
        torch.tanh,
        lambda delta, a: _aten.tanh_backward(delta, a),
        torch.tanh_,
        lambda delta, a: _aten.tanh_backward.grad_input(delta, a, grad_input=delta),
        lambda delta, a: _aten.tanh_backward.grad_input(delta, a, grad_input=a),
    ),
    "identity": Activation(
        lambda z: z, lambda delta, a: delta, lambda z: z, lambda delta, a: delta, lambda delta, a: a.copy_(delta)
    ),
}
"""Registered nonlinearities by name."""
