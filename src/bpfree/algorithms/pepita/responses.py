"""What PEPITA compares and multiplies in a block: its response to an input, and the product of a difference of two with an input.

Of a dense block the response is its activity. Of a convolution it is the map behind the nonlinearity, *before* pooling, so that
there is one difference for each place at which the kernel was applied; the product is taken there with the patch of the input
that the kernel saw, and averaged over the places (arXiv 2201.11665, section on convolutions).

Index letters: n example, o output, i input, c channel, k edge of the kernel, s number of places.
"""

from __future__ import annotations

import dataclasses

from torch import Tensor

from bpfree.nets import Block, ConvBlock, DenseBlock
from bpfree.numerics.conv import ConvSaved, conv_activity, conv_gradients
from bpfree.numerics.local import dense_activity

__all__ = ["respond", "response_gradients", "why_not"]

_ADMITTED = (("activation",), ("activation", "pool"))


def why_not(block: Block) -> str | None:
    """Why a block cannot learn in this way, with the cure; None if it can."""
    if type(block) is DenseBlock:
        return None
    if type(block) is not ConvBlock:
        return f"is a {type(block).__name__}; use dense or convolution blocks (mlp:1x1024, pepita-conv)"
    if "norm" in block.plan.stages:
        return "has BatchNorm, whose statistics the shifted input would change; leave it out"
    if block.plan.stages not in _ADMITTED:
        return "pools before its nonlinearity; pool behind it"
    return None


def respond(block: Block, x: Tensor) -> tuple[Tensor, Tensor]:
    """The block's activity (n, *out_shape), and its response: of a dense block the same, of a convolution (n, o, h, w)."""
    if isinstance(block, ConvBlock):
        activity, saved = conv_activity(x, block.conv.weight, block.conv.bias, None, block.plan, "running")
        return activity, saved.stages[0][0]
    assert isinstance(block, DenseBlock)  # by why_not
    activity = dense_activity(x.flatten(1), block.linear.weight, block.linear.bias, block.activation)
    return activity, activity


def response_gradients(block: Block, difference: Tensor, before: Tensor) -> list[Tensor]:
    """[Σₙ difference ⊗ before, Σₙ difference] (the second where there is a bias); of a convolution the mean over its places.

    Args:
        difference: in the shape of the response.
        before: (n, *in_shape), the block's input.
    """
    if isinstance(block, ConvBlock):
        bare = dataclasses.replace(block.plan, stages=())
        weight, has_bias = block.conv.weight, block.conv.bias is not None
        gradients, _ = conv_gradients(
            ConvSaved(before, [], True), difference, weight, None, bare, bias=has_bias, need_input=False
        )
        return [gradient / difference[0, 0].numel() for gradient in gradients]
    assert isinstance(block, DenseBlock)
    product = difference.t() @ before.flatten(1)
    return [product] if block.linear.bias is None else [product, difference.sum(0)]
