"""The memory layout in which a net is trained: the one place that decides it, for every rule.

On a processor torch's convolutions, pooling and BatchNorm are quicker on images that lie pixel after pixel (channels-last) than
on those that lie channel after channel: steps of ``cnn3``, ``mf-cnn4`` and ``resnet8`` take .6 to .8 of the time, and so do those
of torch's own modules (docs/performance.md, "CNN and token steps"). Sums are rounded in another order, values are the same
otherwise. On other devices a net keeps the layout that it has.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from bpfree.nets.blocks import Block, DenseBlock
from bpfree.nets.chain import Chain
from bpfree.nets.conv import ConvBlock
from bpfree.nets.module import ModuleBlock
from bpfree.nets.probe import evaluating
from bpfree.numerics.layout import by_pixels, is_by_pixels

__all__ = ["activity_of", "features_in_memory", "head_in_memory", "head_of", "lay_out"]

LEAST_CHANNELS = 16
"""Of a strided 1 x 1 convolution. With fewer channels in than a vector register holds, oneDNN's kernel for the weight gradient of
images that lie pixel after pixel writes beyond its memory (oneDNN issue 6035, open in 2026; torch 2.13 crashes by it)."""

TOLERANCE = 1e-3
"""Largest difference between the scores of both layouts, relative to the largest score: rounding makes far less."""


def lay_out(net: Chain, device: torch.device) -> None:
    """Bring a net on a processor to the layout in which it trains quickest there, before anything keeps its addresses.

    That is channels-last for a float32 net whose blocks hand on images. A net stays as it is if it has a convolution other than
    plain ones (groups, dilation, transposed, and see :data:`LEAST_CHANNELS`), or a user's module that cannot take such images
    (``view`` refuses them) or makes something else of them.

    Args:
        net: on the processor.
        device: on which it will be trained.
    """
    hands_on_images = any(len(block.out_shape) == 3 for block in net)
    if device.type != "cpu" or net.dtype != torch.float32 or not hands_on_images or not _has_plain_convolutions(net):
        return
    foreign = any(type(block) not in (ConvBlock, DenseBlock) for block in net)
    before = _scores(net) if foreign else None
    net.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]  # torch does not declare it
    if before is not None and not _same(before, _scores(net)):
        net.to(memory_format=torch.contiguous_format)  # pyright: ignore[reportCallIssue]


def _has_plain_convolutions(net: Chain) -> bool:
    """Whether every parameter that has a layout to choose is the weight of a convolution whose kernels are known to be right."""
    plain = {id(module.weight) for module in net.modules() if type(module) is nn.Conv2d and _is_plain(module)}
    return all(parameter.dim() < 4 or id(parameter) in plain for parameter in net.parameters())


def _is_plain(conv: nn.Conv2d) -> bool:
    known = conv.groups == 1 and conv.dilation == (1, 1) and conv.padding_mode == "zeros"
    strided = conv.kernel_size == (1, 1) and conv.stride != (1, 1)
    return known and (not strided or conv.in_channels >= LEAST_CHANNELS)


def _scores(net: Chain) -> Tensor | None:
    """Class scores of two examples of noise; None where a module raises."""
    x = torch.randn(2, *net.in_shape, generator=torch.Generator().manual_seed(0))
    with torch.no_grad(), torch.random.fork_rng([]), evaluating(net):
        torch.manual_seed(0)
        try:
            return net(x)
        except Exception:  # noqa: BLE001 - whatever a user's module raises
            return None


def _same(one: Tensor, other: Tensor | None) -> bool:
    return other is not None and bool((one - other).abs().max() <= TOLERANCE * one.abs().max())


def features_in_memory(block: Block, a: Tensor) -> Tensor | None:
    """:meth:`Block.features` of images that lie pixel after pixel, (n, o) in the order of their memory: a view.

    None where features are in their own order in memory, or where they are more than the activity flattened.
    """
    if not is_by_pixels(a) or type(block).features not in _FLATTENING:
        return None
    return a.permute(0, 2, 3, 1).flatten(1)


_FLATTENING = (Block.features, ModuleBlock.features)
"""Ways to take features of images that only flatten them."""


def head_in_memory(head: Tensor, shape: tuple[int, ...]) -> Tensor:
    """A head (classes, o), whose columns are in the order of features, in that of the memory of images of ``shape``."""
    return by_pixels(head.view(-1, *shape)).permute(0, 2, 3, 1).flatten(1)


def head_of(rows: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Rows (classes, o) in the order of memory in that of features: a copy."""
    return activity_of(rows, shape).flatten(1)


def activity_of(rows: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Rows (n, o) in the order of memory as images (n, *shape) that lie pixel after pixel: a view."""
    channels, height, width = shape
    return rows.view(-1, height, width, channels).permute(0, 3, 1, 2)
