"""The linear operator of a block, which FOTON keeps orthonormal: the block without bias and nonlinearity.

A dense block's operator is its weight. A convolution without padding applies its kernel to every patch: where patches do not
overlap (kernel ≤ stride, or one patch is all there is) its rows are orthonormal exactly where those of the kernel as a matrix
(o, c k²) are; where they overlap, for the kernels of :mod:`bpfree.numerics.orthogonal_conv`. Average pooling over 2 x 2 is an
operator P with P Pᵀ = ¼ I, so a pooled block P C has orthonormal rows where C / 2 has: its weight is kept at *gain* 2. Zeros
around the image cut rows at the border short. Maximum pooling and BatchNorm have no such form and are refused.

Index letters: n example, o output, i input, c channel, k edge of the kernel.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from bpfree.nets.blocks import Block, DenseBlock
from bpfree.nets.conv import ConvBlock
from bpfree.numerics.orthogonal import defect as matrix_defect
from bpfree.numerics.orthogonal import orthogonal_, orthonormalise
from bpfree.numerics.orthogonal_conv import bjorck_kernel, kernel_defect, orthogonal_kernel_, overlap

__all__ = [
    "defect",
    "draw_",
    "gain",
    "orthonormalise_",
    "overlaps",
    "transposed",
    "weight_gradients",
    "weight_of",
    "why_not_linear",
    "why_not_orthonormal",
]

_POOLED_GAIN = 2.0
"""1 / √¼: an average of four orthonormal rows has length ½."""


def why_not_linear(block: Block) -> str | None:
    """Why the operator of a block cannot be kept orthonormal, with the cure; None if it can."""
    if isinstance(block, DenseBlock):
        return None
    if not isinstance(block, ConvBlock):
        return "has no linear operator that is known; use dense blocks or convolutions"
    if block.plan.pool == "max":
        return "pools by the maximum, which is not linear; use pool=average"
    if "norm" in block.plan.stages:
        return "has BatchNorm, whose operator changes with every batch; leave it out"
    return None


def weight_of(block: Block) -> Tensor:
    """The weight of an admitted block, in its own shape."""
    if isinstance(block, DenseBlock):
        return block.linear.weight
    assert isinstance(block, ConvBlock)  # by why_not_linear
    return block.conv.weight


def gain(block: Block) -> float:
    """What the weight must be divided by to have orthonormal rows."""
    return _POOLED_GAIN if isinstance(block, ConvBlock) and block.plan.pool == "average" else 1.0


def overlaps(block: Block) -> bool:
    """Whether the block is a convolution of more than one patch whose patches overlap."""
    if not isinstance(block, ConvBlock) or overlap(block.conv.kernel_size[0], block.plan.stride) == 0:
        return False
    return max(_beyond_first_patch(block)) >= block.plan.stride


def why_not_orthonormal(block: Block) -> str | None:
    """What keeps the rows of an admitted block's operator from being orthonormal, and the cure; None if they can be."""
    weight = weight_of(block)
    rows, columns = weight.flatten(1).shape
    if isinstance(block, ConvBlock):
        if overlaps(block):
            columns = weight.shape[1] * block.plan.stride**2
        if block.plan.padding > 0:
            return f"pads by {block.plan.padding}, which cuts rows at the border short (use padding=0)"
    if rows <= columns:
        return None
    each = " per step of its patches" if isinstance(block, ConvBlock) else ""
    return f"widens from {columns} to {rows}{each} (make no block wider than the one before it)"


@torch.no_grad()
def draw_(block: Block, generator: torch.Generator) -> None:
    """Fill the weight with orthonormal rows times the gain, in place."""
    weight = weight_of(block)
    drawn = torch.empty_like(
        weight, memory_format=torch.contiguous_format
    )  # flattened below: a channels-last one would be copied
    if overlaps(block):
        assert isinstance(block, ConvBlock)
        orthogonal_kernel_(drawn, block.plan.stride, generator)
    else:
        orthogonal_(drawn.flatten(1), generator)
    weight.copy_(gain(block) * drawn)


@torch.no_grad()
def orthonormalise_(block: Block, method: str, steps: int) -> None:
    """Take the weight towards orthonormal rows times the gain, in place; of overlapping patches by Björck steps alone."""
    weight, factor = weight_of(block), gain(block)
    scaled = weight if factor == 1.0 else weight / factor
    if overlaps(block):
        assert isinstance(block, ConvBlock)
        renewed = bjorck_kernel(scaled, block.plan.stride, steps)
    else:
        renewed = orthonormalise(scaled.flatten(1), method, steps).view_as(weight)
    weight.copy_(renewed if factor == 1.0 else factor * renewed)


@torch.no_grad()
def defect(block: Block) -> float:
    """‖A Aᵀ − I‖_F / √rows of the operator A (its columns', where the block widens), in float64.

    Of overlapping patches on an image without borders, and before pooling. NaN for a block without a known operator.
    """
    if not isinstance(block, DenseBlock | ConvBlock):
        return float("nan")
    scaled = weight_of(block).detach().double() / gain(block)
    if overlaps(block):
        assert isinstance(block, ConvBlock)
        return float(kernel_defect(scaled, block.plan.stride))
    return float(matrix_defect(scaled.flatten(1)))


def transposed(block: Block, rows: Tensor) -> Tensor:
    """The operator's transpose on rows (r, *out_shape): (r, *in_shape)."""
    if isinstance(block, DenseBlock):
        return (rows @ block.linear.weight).reshape(-1, *block.in_shape)
    assert isinstance(block, ConvBlock)
    stride, padding = block.plan.stride, block.plan.padding
    spread, rest = _spread(block, rows), _rest(block)
    return F.conv_transpose2d(spread, block.conv.weight, stride=stride, padding=padding, output_padding=rest)


def weight_gradients(block: Block, delta: Tensor, before: Tensor) -> list[Tensor]:
    """∂⟨delta, operator(before) + bias⟩ by the block's parameters, in their order.

    Args:
        delta: (n, *out_shape), stands for the derivative by the operator's output.
        before: (n, *in_shape).
    """
    if isinstance(block, DenseBlock):
        by_weight = delta.t() @ before.flatten(1)
        return [by_weight] if block.linear.bias is None else [by_weight, delta.sum(0)]
    assert isinstance(block, ConvBlock)
    dz, has_bias = _spread(block, delta), block.conv.bias is not None
    stride, padding = [block.plan.stride] * 2, [block.plan.padding] * 2
    _, by_weight, by_bias = torch.ops.aten.convolution_backward(
        dz, before, block.conv.weight, [dz.shape[1]] if has_bias else None, stride, padding, [1, 1], False, [0, 0], 1,
        [False, True, has_bias],
    )  # fmt: skip
    return [by_weight, by_bias] if has_bias else [by_weight]


def _beyond_first_patch(block: ConvBlock) -> tuple[int, int]:
    """Height and width that are left for further patches, behind the first."""
    kernel, padding = block.conv.kernel_size[0], block.plan.padding
    return block.in_shape[1] + 2 * padding - kernel, block.in_shape[2] + 2 * padding - kernel


def _rest(block: ConvBlock) -> tuple[int, int]:
    """Rows and columns of the image that no patch reaches."""
    height, width = _beyond_first_patch(block)
    return height % block.plan.stride, width % block.plan.stride


def _spread(block: ConvBlock, rows: Tensor) -> Tensor:
    """The transpose of average pooling: a quarter to each of four; an odd last row or column gets none."""
    if block.plan.pool == "none":
        return rows
    spread = F.interpolate(rows, scale_factor=2, mode="nearest") * 0.25
    height, width = (edge // block.plan.stride + 1 for edge in _beyond_first_patch(block))
    return F.pad(spread, (0, width - spread.shape[3], 0, height - spread.shape[2]))
