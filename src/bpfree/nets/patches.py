"""Convolutions of patches, without padding, for nets whose linear operators can be orthonormal (FOTON)."""

from __future__ import annotations

from collections.abc import Sequence

from bpfree.errors import UsageError
from bpfree.nets.blocks import Block, DenseBlock, numbered
from bpfree.nets.chain import Chain
from bpfree.nets.conv import ConvBlock
from bpfree.nets.spec import Spec

__all__ = ["PATCH_FAMILIES", "patches"]

PATCH_WIDTH = 512
"""Of the dense block, where no widths are given, or that of its inputs if these are fewer. Each convolution then has stride²
times the channels that it takes (48 and 192 for colour images), the most whose rows can be orthonormal."""


def patches(
    in_shape: tuple[int, ...],
    channels: Sequence[int],
    n_classes: int,
    *,
    strides: Sequence[int] | None = None,
    overlap: int = 0,
    activation: str = "relu",
    pool: str = "none",
) -> Chain:
    """Convolution blocks without padding, a dense block of the last width, then the output.

    Args:
        in_shape: (channels, height, width) of one example.
        channels: of the convolutions, and last the width of the dense block: at least two numbers.
        strides: from patch to patch, one a convolution; by default 4 for the first, 2 for the others.
        overlap: rows and columns that a patch shares with the next; its edge is stride + overlap.
        activation, pool: of each convolution, see :class:`ConvBlock`.

    Raises:
        UsageError: fewer than two numbers, or another number of strides than of convolutions.
    """
    if len(channels) < 2:
        raise UsageError(
            f"a net of patches needs the channels of one convolution at least and the width of its dense block, got "
            f"{'-'.join(map(str, channels)) or 'none'}; write patches:48-192-512"
        )
    steps = strides if strides is not None else [4] + [2] * (len(channels) - 2)
    if len(steps) != len(channels) - 1:
        raise UsageError(f"{len(channels) - 1} convolutions of patches need as many strides, got {len(steps)}")
    blocks: list[Block] = []
    shape = tuple(in_shape)
    for k, (width, stride) in enumerate(zip(channels[:-1], steps, strict=True)):
        with numbered(k):
            block = ConvBlock(shape, width, stride + overlap, activation, stride=stride, padding=0, pool=pool)
        blocks.append(block)
        shape = block.out_shape
    blocks.append(DenseBlock(shape, channels[-1], activation))
    return Chain(blocks, n_classes)


def _lenet5_patches(spec: Spec, in_shape: tuple[int, ...], n_classes: int) -> Chain:
    """Widths of LeNet-5; 4 x 4 and 2 x 2 patches take the place of its convolutions and poolings (28 to 7 to 3)."""
    spec.no_words()
    activation = spec.word("activation", "relu")
    with numbered(0):
        first = ConvBlock(in_shape, 6, 4, activation, stride=4, padding=0)
    with numbered(1):
        second = ConvBlock(first.out_shape, 16, 2, activation, stride=2, padding=0)
    third = DenseBlock(second.out_shape, 120, activation)
    return Chain([first, second, third, DenseBlock(third.out_shape, 84, activation)], n_classes)


def _patches(spec: Spec, in_shape: tuple[int, ...], n_classes: int) -> Chain:
    whole = in_shape[0] * 4 * 4
    channels = spec.widths((), "patches or patches:48-192-512")
    activation, pool = spec.word("activation", "relu"), spec.word("pool", "none")
    overlap = spec.natural("overlap", 0, least=0)
    if not channels:
        convolutions = (whole, whole * 2 * 2)
        inputs = patches(in_shape, (*convolutions, 1), n_classes, overlap=overlap, pool=pool)[-2].n_features
        channels = (*convolutions, min(PATCH_WIDTH, inputs))
    return patches(in_shape, channels, n_classes, overlap=overlap, activation=activation, pool=pool)


PATCH_FAMILIES = {
    "patches": (
        _patches,
        "convolutions of 4x4, then 2x2 patches (overlap=1: 5x5, 3x3), then dense; 48-192-512 on colour images (for FOTON)",
    ),
    "lenet5-patches": (
        _lenet5_patches,
        "LeNet-5's widths by patches: 6 maps by 4x4, 16 by 2x2, without overlap, then 120 and 84 units (for FOTON)",
    ),
}
"""Name to builder and line of help."""
