"""A backward sweep in which other matrices stand in for the transposed weights: what feedback alignment and its kin share.

Index letters: n example, i input, o output of a block. With a feedback matrix B (o, i) in the place of W:

    dz = delta ⊙ φ′(z)    dW = dzᵀ x    db = Σₙ dz    dx = dz B

The closed form is :func:`bpfree.numerics.local.dense_gradients`, in which only dx reads the matrix it is given. As an oracle,
``maths="autograd"`` differentiates z = W x + b + (B x′ − B x′) with the last term constant and x′ the input: its value is that
of the block, its derivative by x′ goes through B.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from bpfree.data import Batch
from bpfree.errors import UsageError
from bpfree.nets import Block, Chain, DenseBlock
from bpfree.numerics.activations import ACTIVATIONS
from bpfree.numerics.local import dense_activity, dense_gradients
from bpfree.numerics.losses import cross_entropy, softmax_residual

__all__ = ["refuse_other_blocks", "sweep"]

Saved = tuple[Tensor, ...]


def refuse_other_blocks(name: str, net: Chain) -> None:
    """Admit dense blocks alone.

    Raises:
        UsageError: naming the first other block and the cure.
    """
    for k, block in enumerate(net):
        if type(block) is not DenseBlock:
            raise UsageError(
                f"{name}: block {k} ({type(block).__name__}) has no feedback matrix; use a net of dense blocks (mlp:2x1000), "
                "or direct-feedback-alignment, which takes any block"
            )


def _dense(block: Block) -> DenseBlock:
    assert isinstance(block, DenseBlock)  # by refuse_other_blocks
    return block


def _forward(block: DenseBlock, x: Tensor, feedback: Tensor | None, autograd: bool) -> tuple[Tensor, Saved]:
    x = x.flatten(1)
    weight, bias = block.linear.weight, block.linear.bias
    if not autograd:
        a = dense_activity(x, weight, bias, block.activation)
        return a, (x, a)
    with torch.enable_grad():
        leaf = x.detach().requires_grad_()
        z = torch.nn.functional.linear(x.detach(), weight, bias)
        if feedback is not None:
            back = leaf @ feedback.t()
            z = z + (back - back.detach())
        a = ACTIVATIONS[block.activation].apply(z)
    return a.detach(), (leaf, a)


def _gradients(
    block: DenseBlock, saved: Saved, delta: Tensor, feedback: Tensor | None, autograd: bool
) -> tuple[list[Tensor], Tensor | None]:
    x, a = saved
    weight, has_bias = block.linear.weight, block.linear.bias is not None
    if not autograd:
        matrix = weight if feedback is None else feedback
        return dense_gradients(x, a, matrix, delta, block.activation, bias=has_bias, need_input=feedback is not None)
    wanted = [weight, *([block.linear.bias] if has_bias else []), *([] if feedback is None else [x])]
    gradients = list(torch.autograd.grad(a, wanted, delta))
    return gradients, None if feedback is None else gradients.pop()


def sweep(net: Chain, batch: Batch, feedback: Sequence[Tensor], maths: str) -> tuple[list[Tensor], Tensor]:
    """One forward pass and one sweep back through ``feedback``.

    Args:
        net: of dense blocks.
        feedback: one matrix for each block but the first, in the shape of its weight, then one for the output.
        maths: ``"autograd"`` or anything else for the closed form.

    Returns:
        Gradients in the order of ``net.parameters()``, and the cross-entropy (0-D).
    """
    autograd = maths == "autograd"
    through: list[Tensor | None] = [None, *feedback[:-1]]  # of block k; the first block's input needs no derivative
    x, kept = batch.x, []
    for k, block in enumerate(net):
        x, saved = _forward(_dense(block), x, through[k], autograd)
        kept.append(saved)
    g = net.output(x)
    residual = softmax_residual(g, batch.y)
    gradients = [residual.t() @ x, residual.sum(0)]
    delta: Tensor | None = residual @ feedback[-1]
    for k in reversed(range(len(net))):
        assert delta is not None  # only block 0 gives none
        of_block, delta = _gradients(_dense(net[k]), kept.pop(), delta, through[k], autograd)
        gradients = [*of_block, *gradients]
    return gradients, cross_entropy(g, batch.y)
