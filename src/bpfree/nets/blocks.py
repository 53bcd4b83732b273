"""Blocks: the smallest units that are trained on their own (affine map and nonlinearity)."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

from bpfree.errors import UsageError, unknown_name
from bpfree.numerics.activations import ACTIVATIONS
from bpfree.numerics.local import dense_activity

__all__ = ["Block", "DenseBlock"]


class Block(nn.Module, ABC):
    """A module that knows the shapes of one example before and after it.

    Attributes:
        in_shape, out_shape: without the batch axis.
    """

    in_shape: tuple[int, ...]
    out_shape: tuple[int, ...]

    @abstractmethod
    def reset_parameters(self, generator: torch.Generator) -> None:
        """Draw fresh initial parameters, in place (storage addresses stay)."""

    @property
    def n_features(self) -> int:
        """Width of :meth:`features`."""
        return math.prod(self.out_shape)

    def features(self, activity: Tensor) -> Tensor:
        """What scores and goodness are taken from: the activity flattened, (n, n_features)."""
        return activity.flatten(1)

    def features_gradient(self, gradient: Tensor) -> Tensor:
        """Transpose of :meth:`features`: (n, n_features) back to the shape of the activity."""
        return gradient.reshape(-1, *self.out_shape)


class DenseBlock(Block):
    """a = φ(x Wᵀ + b), on inputs of any shape, which are flattened.

    Args:
        in_shape: shape of one example.
        width: number of units, at least 1.
        activation: a name of :data:`bpfree.numerics.activations.ACTIVATIONS`.
        bias: whether there is a b.

    Raises:
        UsageError: a width below 1 or an unknown activation.
    """

    def __init__(self, in_shape: tuple[int, ...], width: int, activation: str = "relu", *, bias: bool = True) -> None:
        super().__init__()
        if width < 1:
            raise UsageError(f"a dense block needs at least 1 unit, got {width}")
        if activation not in ACTIVATIONS:
            raise unknown_name("activation", activation, ACTIVATIONS)
        self.in_shape = tuple(in_shape)
        self.out_shape = (width,)
        self.activation = activation
        self.linear = nn.Linear(math.prod(in_shape), width, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        """(n, *in_shape) to (n, width)."""
        return dense_activity(x.flatten(1), self.linear.weight, self.linear.bias, self.activation)

    def reset_parameters(self, generator: torch.Generator) -> None:
        """Weights uniform in ±1/√fan_in (Kaiming uniform with a = √5, torch's default), biases zero.

        Source: arXiv 2509.19063, section 3; zero biases as in its released code.
        """
        nn.init.kaiming_uniform_(self.linear.weight, a=math.sqrt(5), generator=generator)
        if self.linear.bias is not None:
            nn.init.zeros_(self.linear.bias)
