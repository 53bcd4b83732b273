"""The linear operator of a block, which FOTON keeps orthonormal: the block without bias and nonlinearity.

A dense block's operator is its weight. A convolution's is orthonormal here by construction where its patches do not overlap
(stride = kernel, no padding): then it applies one matrix W (o, c k²) to every patch, so its rows are orthonormal exactly where
W's are. Average pooling over 2 x 2 is an operator P with P Pᵀ = ¼ I, so a pooled block P C has orthonormal rows where W / 2 has:
W is kept at *gain* 2. Maximum pooling, BatchNorm and overlapping or padded patches have no such form and are refused.

Index letters: n example, o output, i input, c channel, k edge of the kernel.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from bpfree.nets import Block, ConvBlock, DenseBlock
from bpfree.numerics.orthogonal import orthogonal_, orthonormalise

__all__ = ["draw_", "gain", "products", "refusal", "renew_", "transposed", "weight_of", "widening"]

_POOLED_GAIN = 2.0
"""1 / √¼: an average of four orthonormal rows has length ½."""


def refusal(block: Block) -> str | None:
    """Why the operator of a block cannot be kept orthonormal, with the cure; None if it can."""
    if isinstance(block, DenseBlock):
        return None
    if not isinstance(block, ConvBlock):
        return "has no linear operator that is known; use dense blocks, or convolutions of patches (stride = kernel, no padding)"
    plan, kernel = block.plan, block.conv.kernel_size[0]
    if plan.pool == "max":
        return "pools by the maximum, which is not linear; use pool=average"
    if "norm" in plan.stages:
        return "has BatchNorm, whose operator changes with every batch; leave it out"
    if plan.stride != kernel or plan.padding != 0:
        return (
            f"has patches that overlap or are padded (kernel {kernel}, stride {plan.stride}, padding {plan.padding}), so its "
            "operator is not orthonormal; use stride = kernel and no padding (such as patches:48-96-192)"
        )
    return None


def weight_of(block: Block) -> Tensor:
    """The weight of an admitted block, in its own shape."""
    if isinstance(block, DenseBlock):
        return block.linear.weight
    assert isinstance(block, ConvBlock)  # by refusal
    return block.conv.weight


def gain(block: Block) -> float:
    """What the weight must be divided by to have orthonormal rows."""
    return _POOLED_GAIN if isinstance(block, ConvBlock) and block.plan.pool == "average" else 1.0


def widening(block: Block) -> tuple[int, int] | None:
    """(i, o) if the weight has more rows than columns, whose rows cannot be orthonormal."""
    o, i = weight_of(block).flatten(1).shape
    return (i, o) if o > i else None


@torch.no_grad()
def draw_(block: Block, generator: torch.Generator) -> None:
    """Fill the weight with orthonormal rows times the gain, in place."""
    weight = weight_of(block)
    orthogonal_(weight.flatten(1), generator)  # a view: the kernels are contiguous
    weight.mul_(gain(block))


@torch.no_grad()
def renew_(block: Block, method: str, steps: int) -> None:
    """Take the weight towards orthonormal rows times the gain, in place."""
    weight, factor = weight_of(block), gain(block)
    matrix = weight.flatten(1)
    if factor == 1.0:
        matrix.copy_(orthonormalise(matrix, method, steps))
    else:
        matrix.copy_(factor * orthonormalise(matrix / factor, method, steps))


def transposed(block: Block, rows: Tensor) -> Tensor:
    """The operator's transpose on rows (r, *out_shape): (r, *in_shape)."""
    if isinstance(block, DenseBlock):
        return (rows @ block.linear.weight).reshape(-1, *block.in_shape)
    assert isinstance(block, ConvBlock)
    return F.conv_transpose2d(_spread(block, rows), block.conv.weight, stride=block.plan.stride, output_padding=_rest(block))


def products(block: Block, delta: Tensor, before: Tensor) -> list[Tensor]:
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
    stride = [block.plan.stride] * 2
    _, by_weight, by_bias = torch.ops.aten.convolution_backward(
        dz, before, block.conv.weight, [dz.shape[1]] if has_bias else None, stride, [0, 0], [1, 1], False, [0, 0], 1,
        [False, True, has_bias],
    )  # fmt: skip
    return [by_weight, by_bias] if has_bias else [by_weight]


def _conv_edges(block: ConvBlock) -> tuple[int, int]:
    """Height and width of what the convolution puts out, before pooling."""
    kernel, stride = block.conv.kernel_size[0], block.plan.stride
    return (block.in_shape[1] - kernel) // stride + 1, (block.in_shape[2] - kernel) // stride + 1


def _rest(block: ConvBlock) -> tuple[int, int]:
    """Rows and columns of the image that no patch reaches."""
    kernel = block.conv.kernel_size[0]
    return block.in_shape[1] % kernel, block.in_shape[2] % kernel


def _spread(block: ConvBlock, rows: Tensor) -> Tensor:
    """The transpose of average pooling: a quarter to each of four; an odd last row or column gets none."""
    if block.plan.pool == "none":
        return rows
    spread = F.interpolate(rows, scale_factor=2, mode="nearest") * 0.25
    height, width = _conv_edges(block)
    return F.pad(spread, (0, width - spread.shape[3], 0, height - spread.shape[2]))
