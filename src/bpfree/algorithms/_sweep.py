"""A backward sweep in which other matrices stand in for the transposed weights: what feedback alignment and its kin share.

Index letters: n example, i input, o output of a block. With a feedback matrix B (o, i) in the place of W:

    dz = delta ⊙ φ′(z)    dW = dzᵀ x    db = Σₙ dz    dx = dz B

A convolution's B is a kernel (o, c, k, k) in the place of its own; what follows it (pooling, BatchNorm) is as in backprop. The
closed forms are those of :mod:`bpfree.numerics.local` and :mod:`bpfree.numerics.conv`, in which only dx reads the matrix that
they are given. As an oracle, ``maths="autograd"`` differentiates z = W x + b + (B x′ − B x′) with the last term constant and x′
the input: its value is that of the block, its derivative by x′ goes through B.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, final

import torch
import torch.nn.functional as F
from torch import Tensor

from bpfree.algorithms._base import Algorithm, Phase, Traits
from bpfree.algorithms._closed_form import block_forward
from bpfree.algorithms._state import State
from bpfree.data import Batch
from bpfree.errors import UsageError
from bpfree.nets import Block, Chain, ConvBlock, DenseBlock
from bpfree.nets.operator import weight_of
from bpfree.numerics.conv import conv_gradients
from bpfree.numerics.local import dense_gradients
from bpfree.numerics.losses import cross_entropy, softmax_residual

__all__ = ["SweptAlgorithm", "later_weights", "n_positions", "sweep"]

Saved = Any


@dataclass(frozen=True, kw_only=True)
class SweptAlgorithm(Algorithm):
    """A rule whose step is one forward pass and one sweep back through matrices that it names."""

    note: ClassVar[str]
    """What the sweep goes through, for the traits."""

    @abstractmethod
    def matrices(self, net: Chain, state: State, batch: Batch) -> list[Tensor]:
        """B for each block but the first, then for the output, each in the shape of its weight."""

    def traits(self, net: Chain) -> Traits:
        return Traits(
            forward_passes=1.0,
            gradient_path=len(net) + 1,
            local=False,
            autograd=self.maths == "autograd",
            trains_output=True,
            extra_parameters=0,
            note=self.note,
        )

    def check_net(self, net: Chain) -> None:
        super().check_net(net)
        for k, block in enumerate(net):
            if type(block) not in (DenseBlock, ConvBlock):
                raise UsageError(
                    f"{self.name}: block {k} ({type(block).__name__}) has no feedback matrix; use dense or convolution blocks "
                    "(mlp:2x1000, lenet5), or direct-feedback-alignment, which takes any block"
                )

    @final
    @torch.no_grad()
    def step(self, net: Chain, state: State, batch: Batch, phase: Phase) -> Tensor:
        gradients, loss = sweep(net, batch, self.matrices(net, state, batch), self.maths)
        state.optimiser.step(list(net.parameters()), gradients)
        return loss.reshape(1)

    def scores(self, net: Chain, state: State, x: Tensor, phase: Phase) -> Tensor:
        return net(x)


def later_weights(net: Chain) -> list[Tensor]:
    """Of all blocks but the first, then of the output: what a derivative would be passed back through."""
    return [*(weight_of(block).detach() for block in list(net)[1:]), net.output.weight.detach()]


def n_positions(weight: Tensor) -> int:
    """Places in the kernel of a convolution, 1 for a matrix."""
    return weight[0, 0].numel()


def _forward(block: Block, x: Tensor, feedback: Tensor | None, autograd: bool) -> tuple[Tensor, Saved]:
    if not autograd:
        return block_forward(block, x, "closed")
    own, *stages = (module for module in block.plain() if not isinstance(module, torch.nn.Flatten))
    if isinstance(block, DenseBlock):
        x = x.flatten(1)
    if block.training:
        block.check_batch(len(x))
    with torch.enable_grad():
        leaf = x.detach().requires_grad_()
        z = own(x.detach())
        if feedback is not None:
            back = _linear(block, leaf, feedback)
            z = z + (back - back.detach())
        for stage in stages:
            z = stage(z)
    return z.detach(), (leaf, z)


def _linear(block: Block, x: Tensor, matrix: Tensor) -> Tensor:
    if isinstance(block, ConvBlock):
        return F.conv2d(x, matrix, stride=block.plan.stride, padding=block.plan.padding)
    return F.linear(x, matrix)


def _gradients(
    block: Block, saved: Saved, delta: Tensor, feedback: Tensor | None, autograd: bool
) -> tuple[list[Tensor], Tensor | None]:
    """By the block's parameters in their order; by its input, in the input's shape, where there is feedback."""
    need = feedback is not None
    if autograd:
        leaf, a = saved
        gradients = list(torch.autograd.grad(a, [*block.parameters(), *([leaf] if need else [])], delta))
        by_input = gradients.pop() if need else None
    elif isinstance(block, ConvBlock):
        norm = None if block.norm is None else block.norm.weight
        matrix = block.conv.weight if feedback is None else feedback
        has_bias = block.conv.bias is not None
        gradients, by_input = conv_gradients(saved, delta, matrix, norm, block.plan, bias=has_bias, need_input=need)
    else:
        assert isinstance(block, DenseBlock)  # by check_net
        matrix = block.linear.weight if feedback is None else feedback
        has_bias = block.linear.bias is not None
        x, a = saved
        gradients, by_input = dense_gradients(x, a, matrix, delta, block.activation, bias=has_bias, need_input=need)
    return gradients, None if by_input is None else by_input.reshape(-1, *block.in_shape)


def sweep(net: Chain, batch: Batch, feedback: Sequence[Tensor], maths: str) -> tuple[list[Tensor], Tensor]:
    """One forward pass and one sweep back through ``feedback``.

    Args:
        net: of dense and convolution blocks.
        feedback: one matrix for each block but the first, in the shape of its weight, then one for the output.
        maths: ``"autograd"`` or anything else for the closed form.

    Returns:
        Gradients in the order of ``net.parameters()``, and the cross-entropy (0-D).
    """
    autograd = maths == "autograd"
    through: list[Tensor | None] = [None, *feedback[:-1]]  # of block k; the first block's input needs no derivative
    x, kept = batch.x, []
    for k, block in enumerate(net):
        x, saved = _forward(block, x, through[k], autograd)
        kept.append(saved)
    h = net[-1].features(x)
    g = net.output(h)
    residual = softmax_residual(g, batch.y)
    gradients = [residual.t() @ h, residual.sum(0)]
    delta: Tensor | None = net[-1].features_gradient(residual @ feedback[-1])
    for k in reversed(range(len(net))):
        assert delta is not None  # only block 0 gives none
        of_block, delta = _gradients(net[k], kept.pop(), delta, through[k], autograd)
        gradients = [*of_block, *gradients]
    return gradients, cross_entropy(g, batch.y)
