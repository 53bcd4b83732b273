"""Convolutional nets of the papers, block by block."""

from __future__ import annotations

from collections.abc import Sequence

from bpfree.nets.blocks import Block, DenseBlock, numbered
from bpfree.nets.chain import Chain
from bpfree.nets.conv import CAFO_NORM_EPS, ConvBlock
from bpfree.nets.spec import Spec
from bpfree.numerics.conv import STAGES

__all__ = ["CNN_FAMILIES", "cnn"]

CAFO_CHANNELS = (32, 128, 512)
"""32 · 4^(i−1) for block i: Cascaded-Forward, arXiv 2303.09728, released code."""

MF_CHANNELS = (64, 128, 256, 512)
"""Mono-Forward, arXiv 2501.09238: four convolutions, average pooling, no BatchNorm."""

LENET_FIRST_PADDING = 2
"""LeNet-5 was drawn for 32 x 32; smaller images are padded by 2 in the first block (28 x 28 becomes 32 x 32)."""

LENET_EDGE = 32


def cnn(
    in_shape: tuple[int, ...],
    channels: Sequence[int],
    n_classes: int,
    *,
    kernel: int = 3,
    activation: str = "relu",
    pool: str = "max",
    norm: bool = False,
    order: tuple[str, ...] = STAGES,
    eps: float = CAFO_NORM_EPS,
) -> Chain:
    """Convolution blocks of the given channels, size kept by padding, then the output on the flattened last map.

    Args:
        in_shape: (channels, height, width) of one example.
        channels: of the blocks, at least one, each at least 1.
        n_classes: at least 2.
        kernel, activation, pool, norm, order, eps: of each block, see :class:`ConvBlock`.

    Raises:
        UsageError: as :class:`ConvBlock`, such as an image too small for so many poolings.
    """
    blocks: list[Block] = []
    shape = tuple(in_shape)
    for k, width in enumerate(channels):
        with numbered(k):
            block = ConvBlock(shape, width, kernel, activation, pool=pool, norm=norm, order=order, eps=eps)
        blocks.append(block)
        shape = block.out_shape
    return Chain(blocks, n_classes)


def _cnn3(spec: Spec, in_shape: tuple[int, ...], n_classes: int) -> Chain:
    channels = spec.widths(CAFO_CHANNELS, "cnn3 or cnn3:8-16-32")
    return cnn(in_shape, channels, n_classes, activation=spec.word("activation", "relu"), pool="max", norm=True)


def _mf_cnn4(spec: Spec, in_shape: tuple[int, ...], n_classes: int) -> Chain:
    channels = spec.widths(MF_CHANNELS, "mf-cnn4 or mf-cnn4:8-16-32-64")
    return cnn(in_shape, channels, n_classes, activation=spec.word("activation", "relu"), pool="average")


def _lenet5(spec: Spec, in_shape: tuple[int, ...], n_classes: int) -> Chain:
    """LeCun, Bottou, Bengio and Haffner, Proc. IEEE 86 (1998), with every map of C3 seeing all of S2, and a linear output."""
    spec.no_words()
    activation, pool = spec.word("activation", "relu"), spec.word("pool", "average")
    padding = LENET_FIRST_PADDING if in_shape[-1] < LENET_EDGE else 0
    with numbered(0):
        first = ConvBlock(in_shape, 6, 5, activation, pool=pool, padding=padding)
    with numbered(1):
        second = ConvBlock(first.out_shape, 16, 5, activation, pool=pool, padding=0)
    third = DenseBlock(second.out_shape, 120, activation)
    return Chain([first, second, third, DenseBlock(third.out_shape, 84, activation)], n_classes)


def _pepita_conv(spec: Spec, in_shape: tuple[int, ...], n_classes: int) -> Chain:
    """Dellaferrera and Kreiman, arXiv 2201.11665: one convolution 5 x 5 without padding or bias, 2 x 2 maximum, output."""
    channels = spec.width(32, "pepita-conv or pepita-conv:8")
    activation, pool = spec.word("activation", "relu"), spec.word("pool", "max")
    with numbered(0):
        block = ConvBlock(in_shape, channels, 5, activation, pool=pool, bias=False, padding=0)
    return Chain([block], n_classes)


CNN_FAMILIES = {
    "cnn3": (_cnn3, "Cascaded-Forward's net: three blocks of convolution 3x3, ReLU, 2x2 maximum, BatchNorm; 32/128/512 channels"),
    "mf-cnn4": (_mf_cnn4, "Mono-Forward's net: four blocks of convolution 3x3, ReLU, 2x2 average; 64/128/256/512 channels"),
    "lenet5": (_lenet5, "LeNet-5: 6 and 16 maps by 5x5, 2x2 average (pool=max), then 120 and 84 units"),
    "pepita-conv": (
        _pepita_conv,
        "PEPITA's net: one convolution 5x5 of 32 channels, 2x2 maximum (pool=average, for FOTON), output",
    ),
}
"""Name to builder and line of help."""
