"""A backward sweep in which other matrices stand in for the transposed weights: what variants of feedback alignment share.

Index letters: n example, i input, o output of a block. With a feedback matrix B (o, i) in the place of W:

    dz = delta ⊙ φ′(z)    dW = dzᵀ x    db = Σₙ dz    dx = dz B

A convolution's B is a kernel (o, c, k, k) in the place of its own; what follows it (pooling, BatchNorm) is as in backprop. The
closed forms are those of backprop, in which only dx reads the matrix that they are given. As an oracle, ``maths="autograd"``
differentiates z = W x + b + (B x′ − B x′) with the last term constant and x′ the input: its value is that of the block, its
derivative by x′ goes through B.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, ClassVar, TypeVar, final

import torch
import torch.nn.functional as F
from torch import Tensor

from bpfree.algorithms._base import BlockGradients
from bpfree.algorithms._closed_form import block_forward, block_gradients, parameters_of_net
from bpfree.algorithms._cost import Cost, Moment, Shape
from bpfree.algorithms._declared import Phase, Traits
from bpfree.algorithms._gather import without_autograd
from bpfree.algorithms._state import NetState
from bpfree.data import Batch
from bpfree.errors import UsageError
from bpfree.nets import Block, Chain, ConvBlock, DenseBlock
from bpfree.nets.operator import weight_of
from bpfree.numerics.handover import Handover
from bpfree.numerics.local import class_scores
from bpfree.numerics.losses import loss_and_residual

__all__ = ["SweptAlgorithm", "later_weight", "n_positions", "sweep"]

Saved = Any
S = TypeVar("S", bound=NetState[Any])


@dataclass(frozen=True, kw_only=True)
class SweptAlgorithm(BlockGradients[S]):
    """A rule whose step is one forward pass and one sweep back through matrices that it names."""

    weighs_classes: ClassVar[bool] = True
    note: ClassVar[str]
    """What the sweep goes through, for the traits."""

    @abstractmethod
    def matrix(self, net: Chain, state: S, batch: Batch, k: int) -> Tensor:
        """B for block ``k``, from 1 on, or for the output (``k`` = number of blocks), in the shape of its weight.

        Asked for once in a step, when the sweep needs it: one that is made in the step is alive only then.
        """

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

    def _check_net(self, net: Chain) -> None:
        super()._check_net(net)
        for k, block in enumerate(net):
            if type(block) not in (DenseBlock, ConvBlock):
                raise UsageError(
                    f"{self.name}: block {k} ({type(block).__name__}) has no feedback matrix; use dense or convolution blocks "
                    "(mlp:2x1000, lenet5), or direct-feedback-alignment, which takes any block"
                )

    @final
    @without_autograd
    def learn(self, net: Chain, state: S, batch: Batch, phase: Phase) -> Tensor:
        gradients, loss = sweep(net, batch, lambda k: self.matrix(net, state, batch, k), self.maths)
        state.optimiser.step(parameters_of_net(net), gradients)
        return loss.reshape(1)

    def scores(self, net: Chain, state: S, x: Tensor, phase: Phase) -> Tensor:
        return net(x)

    def cost(self, shape: Shape, phase: Phase) -> Cost:
        s = shape
        return Cost(
            learn=None if self.maths == "autograd" else s.n * (3 * (s.forward + s.output) - s.first),  # the oracle needs more
            evaluation=s.n * (s.forward + s.output),
            moments=tuple(self._moments(s)),
        )

    def _moments(self, s: Shape) -> Iterator[Moment]:
        if self._made(0) is None:
            return
        gradients, last = s.output_parameters, len(s.blocks) - 1
        yield 0, s.at_delta(last) + s.n * s.classes + (self._made(s.output) or 0)
        for k in reversed(range(len(s.blocks))):
            block = s.blocks[k]
            made = (self._made(block.rows * block.columns) or 0) if k > 0 else 0
            yield gradients, s.at_delta(k) + made
            gradients += block.parameters
            yield gradients, s.at_product(k) + made

    def _made(self, size: int) -> int | None:
        """Numbers that making a matrix of ``size`` in a step takes; 0 where it is kept, None where no formula is known."""
        del size
        return 0


def later_weight(net: Chain, k: int) -> Tensor:
    """Of block ``k``, or of the output (``k`` = number of blocks): what a derivative would be passed back through."""
    return (net.output.weight if k == len(net) else weight_of(net[k])).detach()


def n_positions(weight: Tensor) -> int:
    """Places in the kernel of a convolution, 1 for a matrix."""
    return weight[0, 0].numel()


def _forward(block: Block, x: Tensor, feedback: Tensor | None, maths: str) -> tuple[Tensor, Saved]:
    """As :func:`block_forward`; with autograd, the derivative by the input goes through ``feedback``."""
    if maths != "autograd":
        return block_forward(block, x, maths)
    linear, *stages = (module for module in block.plain() if not isinstance(module, torch.nn.Flatten))
    if block.training:
        block.check_batch(len(x))
    with torch.enable_grad():
        leaf = x.detach().requires_grad_()
        z = linear(_as_taken(block, x.detach()))
        if feedback is not None:
            back = _linear(block, _as_taken(block, leaf), feedback)
            z = z + (back - back.detach())
        for stage in stages:
            z = stage(z)
    return z.detach(), [leaf, z]


def _as_taken(block: Block, x: Tensor) -> Tensor:
    return x.flatten(1) if isinstance(block, DenseBlock) else x


def _linear(block: Block, x: Tensor, matrix: Tensor) -> Tensor:
    if isinstance(block, ConvBlock):
        return F.conv2d(x, matrix, stride=block.plan.stride, padding=block.plan.padding)
    return F.linear(x, matrix)


def sweep(net: Chain, batch: Batch, feedback: Callable[[int], Tensor], maths: str) -> tuple[list[Tensor], Tensor]:
    """One forward pass and one sweep back through ``feedback``.

    Args:
        net: of dense and convolution blocks.
        feedback: gives the matrix of block 1, 2, ..., and of the output (number of blocks), in the shape of its weight. With the
            closed form it is asked in the backward sweep, with autograd in the forward pass.
        maths: how gradients inside a block are computed.

    Returns:
        Gradients in the order of ``net.parameters()``, and the cross-entropy (0-D).
    """
    x, activities, n_blocks = batch.x, [], len(net)
    for k, block in enumerate(net):
        x, saved = _forward(block, x, feedback(k) if k > 0 and maths == "autograd" else None, maths)
        activities.append(saved)
        del saved
    h = net[-1].features(x)
    del x
    g = class_scores(h, net.output.weight, net.output.bias)
    loss, residual = loss_and_residual(g, batch.y, batch.weight)
    delta = Handover(net[-1].features_gradient(residual @ feedback(n_blocks)))
    gradients = [residual.t() @ h, residual.sum(0)]
    del h, g, residual
    for k in reversed(range(n_blocks)):
        through = feedback(k) if k > 0 and maths != "autograd" else None  # the first block's input needs no derivative
        of_block, by_input = block_gradients(net[k], activities.pop(), delta, maths=maths, need_input=k > 0, through=through)
        gradients = [*of_block, *gradients]
        if by_input is not None:
            delta = Handover(by_input)
        del by_input, through
    return gradients, loss
