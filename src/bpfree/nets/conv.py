"""The convolution block: convolution, nonlinearity, pooling, BatchNorm."""

from __future__ import annotations

import math
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bpfree.errors import UsageError, unknown_name
from bpfree.nets.blocks import ACTIVATION_MODULES, Block, check_layers_exact
from bpfree.numerics.activations import ACTIVATIONS
from bpfree.numerics.conv import POOLS, STAGES, ConvPlan, Norm

__all__ = ["CAFO_NORM_EPS", "ConvBlock"]

CAFO_NORM_EPS = 1e-4
"""BatchNorm's ε in the Cascaded-Forward net (released code of arXiv 2303.09728); torch's own default is 1e-5."""


class ConvBlock(Block):
    """A square convolution, then activation, 2 x 2 pooling and BatchNorm, each where wanted, in a given order.

    Args:
        in_shape: (channels, height, width) of one example.
        channels: of the output, at least 1.
        kernel: edge of the kernel, at least 1.
        activation: a name of :data:`bpfree.numerics.activations.ACTIVATIONS`.
        pool: ``"none"``, ``"max"`` or ``"average"``, over windows of 2 x 2, step 2.
        norm: whether there is BatchNorm, with learned scale and shift.
        order: the three stages behind the convolution, by default that of arXiv 2303.09728 (activation, pool, norm);
            ``("norm", "activation", "pool")`` is that of residual nets. Stages that are not wanted are skipped.
        bias: of the convolution; by default only where there is no BatchNorm (arXiv 2509.19063).
        padding: zeros on each side; by default kernel // 2, which keeps an odd kernel's size (``0``: no padding).
        stride: of the convolution.
        eps, momentum: of BatchNorm.

    Raises:
        UsageError: a shape that is no image, an image too small for kernel and pooling, an unknown activation, pooling or
            order, a number below its least; in training, BatchNorm over a batch of one.
    """

    def __init__(
        self,
        in_shape: tuple[int, ...],
        channels: int,
        kernel: int = 3,
        activation: str = "relu",
        *,
        pool: str = "none",
        norm: bool = False,
        order: tuple[str, ...] = STAGES,
        bias: bool | None = None,
        padding: int | None = None,
        stride: int = 1,
        eps: float = CAFO_NORM_EPS,
        momentum: float = 0.1,
    ) -> None:
        super().__init__()
        padding = kernel // 2 if padding is None else padding
        _check(in_shape, channels, kernel, activation, pool, order, padding, stride)
        self.in_shape = tuple(in_shape)
        self.out_shape = _out_shape(self.in_shape, channels, kernel, stride, padding, pool)
        there = {"activation": True, "pool": pool != "none", "norm": norm}
        stages = tuple(stage for stage in order if there[stage])
        self.plan = ConvPlan(stride, padding, stages, activation, pool, eps, momentum)
        self.conv = nn.Conv2d(in_shape[0], channels, kernel, stride, padding, bias=not norm if bias is None else bias)
        self.norm = nn.BatchNorm2d(channels, eps, momentum) if norm else None

    @property
    def activation(self) -> str:
        """Name of the nonlinearity."""
        return self.plan.activation

    def forward(self, x: Tensor) -> Tensor:
        """(n, *in_shape) to (n, *out_shape); in training mode BatchNorm's running statistics move."""
        if self.training:
            self.check_batch(len(x))
        x = self.conv(x)
        for stage in self.plan.stages:
            if stage == "activation":
                x = ACTIVATIONS[self.plan.activation].apply(x)
            elif stage == "norm":
                assert self.norm is not None  # the plan has the stage exactly where there is one
                x = self.norm(x)
            else:
                x = F.max_pool2d(x, 2) if self.plan.pool == "max" else F.avg_pool2d(x, 2)
        return x

    def norm_tensors(self) -> Norm | None:
        """BatchNorm's parameters and running statistics, for the closed form."""
        norm = self.norm
        if norm is None:
            return None
        running = cast(tuple[Tensor, Tensor, Tensor], (norm.running_mean, norm.running_var, norm.num_batches_tracked))
        return Norm(norm.weight, norm.bias, *running)

    @classmethod
    def of(
        cls,
        in_shape: tuple[int, ...],
        conv: nn.Conv2d,
        activation: str = "relu",
        *,
        pool: str = "none",
        norm: nn.BatchNorm2d | None = None,
        order: tuple[str, ...] = STAGES,
    ) -> ConvBlock:
        """A block around modules that exist: they are trained in place.

        Args:
            conv: square, one group, no dilation, padded by zeros, with ``conv.in_channels`` as in ``in_shape``.
            norm: affine, with running statistics and a fixed momentum.

        Raises:
            UsageError: a layer that is hooked, or whose parameters are not those of its type.
        """
        check_layers_exact(cls.__name__, conv, norm)
        (kernel, _), (stride, _), (padding, _) = conv.kernel_size, conv.stride, cast(tuple[int, int], conv.padding)
        with torch.device("meta"):  # its own modules are thrown away: they cost neither memory nor random numbers
            block = cls(
                in_shape,
                conv.out_channels,
                kernel,
                activation,
                pool=pool,
                norm=norm is not None,
                order=order,
                padding=padding,
                stride=stride,
                eps=norm.eps if norm else 0.0,
                momentum=(norm.momentum or 0.0) if norm else 0.0,
            )
        block.conv, block.norm = conv, norm
        return block

    def check_exact(self) -> None:
        """Of the convolution and BatchNorm."""
        check_layers_exact(self.title, self.conv, self.norm)

    def plain(self) -> list[nn.Module]:
        """Convolution and the stages behind it."""
        pool = nn.MaxPool2d(2) if self.plan.pool == "max" else nn.AvgPool2d(2)
        stages = {"activation": ACTIVATION_MODULES[self.plan.activation](), "pool": pool, "norm": self.norm}
        return [self.conv, *(cast(nn.Module, stages[stage]) for stage in self.plan.stages)]

    def reset_parameters(self, generator: torch.Generator) -> None:
        """Weights uniform in ±1/√fan_in (Kaiming uniform with a = √5, torch's default), biases zero, BatchNorm as new.

        Source: arXiv 2303.09728 keeps torch's default weights; zero biases as in :class:`bpfree.nets.DenseBlock`.
        """
        nn.init.kaiming_uniform_(self.conv.weight, a=math.sqrt(5), generator=generator)
        if self.conv.bias is not None:
            nn.init.zeros_(self.conv.bias)
        if self.norm is not None:
            self.norm.reset_parameters()


def _check(
    in_shape: tuple[int, ...],
    channels: int,
    kernel: int,
    activation: str,
    pool: str,
    order: tuple[str, ...],
    padding: int,
    stride: int,
) -> None:
    if len(in_shape) != 3:
        raise UsageError(
            f"a convolution block takes images (channels, height, width), got examples of {tuple(in_shape)}; "
            "use dense blocks (mlp:2x256), or give the data as images"
        )
    for what, value, least in (("channels", channels, 1), ("kernel", kernel, 1), ("stride", stride, 1), ("padding", padding, 0)):
        if value < least:
            raise UsageError(f"a convolution block needs {what} of at least {least}, got {value}")
    if activation not in ACTIVATIONS:
        raise unknown_name("activation", activation, ACTIVATIONS)
    if pool not in POOLS:
        raise unknown_name("pooling", pool, POOLS)
    if sorted(order) != sorted(STAGES):
        raise UsageError(f"the order of a convolution block names each of {', '.join(STAGES)} once, got {order!r}")


def _out_shape(
    in_shape: tuple[int, ...], channels: int, kernel: int, stride: int, padding: int, pool: str
) -> tuple[int, int, int]:
    _, height, width = in_shape
    halved = 1 if pool == "none" else 2
    after = [((edge + 2 * padding - kernel) // stride + 1) // halved for edge in (height, width)]
    if min(after) < 1 or min(height, width) + 2 * padding < kernel:
        pooling = "" if pool == "none" else " with 2 x 2 pooling"
        raise UsageError(
            f"an image of {height} x {width} is too small for a {kernel} x {kernel} convolution{pooling}; "
            "use fewer blocks, pool='none', a smaller kernel or larger images"
        )
    return (channels, after[0], after[1])
