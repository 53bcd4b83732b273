"""Blocks: the smallest units that are trained on their own (affine map and nonlinearity)."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from bpfree.errors import UsageError, unknown_name
from bpfree.nets.exact import why_not_exact
from bpfree.numerics.activations import ACTIVATIONS
from bpfree.numerics.local import dense_activity

__all__ = ["ACTIVATION_MODULES", "BATCH_NORMS", "Block", "DenseBlock", "check_layers_exact", "numbered"]


def check_layers_exact(title: str, *layers: nn.Module | None) -> None:
    """Refuse a layer that a closed form would not train as it is.

    Args:
        title: of the block, for the message.

    Raises:
        UsageError: naming the layer, the reason and the cure.
    """
    for layer in layers:
        if layer is not None and (why := why_not_exact(layer)) is not None:
            raise UsageError(
                f"{title}: its {type(layer).__name__} {why}, so its closed form would be wrong; make it a ModuleBlock, which is "
                "trained by autograd (from_module does), or undo that (torch.nn.utils.prune.remove, handle.remove())"
            )


@contextmanager
def numbered(k: int) -> Iterator[None]:
    """Put "block k" in front of what goes wrong while block ``k`` of a net is made."""
    try:
        yield
    except UsageError as error:
        raise type(error)(f"block {k}: {error}") from None


ACTIVATION_MODULES: dict[str, type[nn.Module]] = {
    "relu": nn.ReLU,
    "leaky-relu": nn.LeakyReLU,
    "tanh": nn.Tanh,
    "identity": nn.Identity,
    "gelu": nn.GELU,
}
"""The nonlinearities as modules, with torch's defaults; the last one only inside module blocks (it has no closed form here)."""

BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)
"""Modules whose output for one example depends on the others in training."""


class Block(nn.Module, ABC):
    """A module with the shapes of one example before and after it.

    Attributes:
        in_shape, out_shape: without the batch axis.
    """

    in_shape: tuple[int, ...]
    out_shape: tuple[int, ...]

    @abstractmethod
    def reset_parameters(self, generator: torch.Generator) -> None:
        """Draw fresh initial parameters, in place (storage addresses stay)."""

    def plain(self) -> list[nn.Module]:
        """The block as torch's own modules, in order, sharing its parameters; by default the block itself."""
        return [self]

    def check_exact(self) -> None:
        """Refuse layers whose closed form would be another than what they compute; by default there is none.

        Raises:
            UsageError: naming the layer, the reason and the cure.
        """

    @property
    def title(self) -> str:
        """What the block is called in messages and tables."""
        return type(self).__name__

    @property
    def normalises_batch(self) -> bool:
        """Whether a BatchNorm in the block couples the examples of a batch (and has running statistics)."""
        return any(isinstance(module, BATCH_NORMS) for module in self.modules())

    def check_batch(self, n: int) -> None:
        """Refuse to train on ``n`` examples where BatchNorm has no statistics of them.

        Raises:
            UsageError: one example and BatchNorm.
        """
        if n == 1 and self.normalises_batch:
            raise UsageError(
                f"{self.title} {self.in_shape} -> {self.out_shape}: BatchNorm cannot train on a batch of one example; "
                "use another batch size, or a net without BatchNorm"
            )

    @property
    def n_features(self) -> int:
        """Width of :meth:`features`."""
        return math.prod(self.out_shape)

    def features(self, activity: Tensor) -> Tensor:
        """What scores and goodness are taken from: the activity flattened, (n, n_features)."""
        return activity if activity.dim() == 2 else activity.flatten(1)

    def features_gradient(self, gradient: Tensor) -> Tensor:
        """Transpose of :meth:`features`: (n, n_features) back to the shape of the activity."""
        return gradient if len(self.out_shape) == 1 else gradient.reshape(-1, *self.out_shape)

    def features_module(self) -> nn.Module:
        """:meth:`features` as a plain module."""
        return nn.Identity() if len(self.out_shape) == 1 else nn.Flatten()


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

    @classmethod
    def of(cls, in_shape: tuple[int, ...], linear: nn.Linear, activation: str = "relu") -> DenseBlock:
        """A block around a linear map that exists: it is trained in place.

        Raises:
            UsageError: a layer that is hooked, or whose parameters are not those of its type.
        """
        check_layers_exact(cls.__name__, linear)
        with torch.device("meta"):  # its own map is thrown away: it costs neither memory nor random numbers
            block = cls(in_shape, linear.out_features, activation, bias=linear.bias is not None)
        block.linear = linear
        return block

    def check_exact(self) -> None:
        """Of the linear map."""
        check_layers_exact(self.title, self.linear)

    def plain(self) -> list[nn.Module]:
        """Flatten, linear map, activation."""
        flatten = [nn.Flatten()] if len(self.in_shape) > 1 else []
        return [*flatten, self.linear, ACTIVATION_MODULES[self.activation]()]

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
