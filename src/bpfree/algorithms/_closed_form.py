"""Forward pass of a block and its local gradients: closed form by a table of block types, autograd inside the block otherwise.

The table maps a block type to the formulas of :mod:`bpfree.numerics.local` and :mod:`bpfree.numerics.conv`. A type without an
entry (a user's module) falls back to autograd *inside one block*: its input is detached, so no gradient crosses a block
boundary in either case. Both ways are tested equal in float64.

Which way a kind of block takes is decided by this table alone, and by measurement: backprop's step by autograd inside the blocks
takes 1.13 to 1.26 times as long on ``cnn3`` and ``mf-cnn4`` (docs/performance.md, "CNN and token steps"). A kind for which
autograd were quicker would have no entry.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from bpfree.nets import Block, Chain, ConvBlock, DenseBlock
from bpfree.nets.probe import called, evaluating
from bpfree.numerics.activations import ACTIVATIONS
from bpfree.numerics.conv import ConvSaved, Statistics, conv_activity, conv_gradients
from bpfree.numerics.handover import Handover, taken
from bpfree.numerics.layout import by_pixels, is_by_pixels
from bpfree.numerics.local import affine_gradients, dense_activity

__all__ = [
    "MATHS",
    "block_activity",
    "block_forward",
    "block_gradients",
    "frozen_features",
    "has_closed_form",
    "maths_in",
    "parameters_of",
    "parameters_of_net",
]

MATHS = ("auto", "closed", "autograd")
"""How gradients inside a block are computed; ``auto`` is closed form wherever there is one."""

Saved = Any
"""What a block's own gradient formula needs; its entry in the table decides. It is used up: a tensor is freed after its use."""


@dataclass(frozen=True)
class _Formulas:
    forward: Callable[[Any, Tensor, Statistics], tuple[Tensor, Saved]]
    gradients: Callable[
        [Any, Saved, Tensor | Handover, bool, Tensor | None, Sequence[Tensor]], tuple[list[Tensor], Tensor | None]
    ]


def _weight_and_bias(block: DenseBlock) -> tuple[Tensor, Tensor | None]:
    """Looked up without nn.Module's attribute access, which takes as long as a small kernel."""
    parameters: dict[str, Any] = block.linear._parameters
    return parameters["weight"], parameters["bias"]


def _dense_forward(block: DenseBlock, x: Tensor, _: Statistics) -> tuple[Tensor, Saved]:
    flat = x if x.dim() == 2 else x.flatten(1)
    weight, bias = _weight_and_bias(block)
    a = dense_activity(flat, weight, bias, block.activation)
    return a, [flat, a]


def _dense_gradients(
    block: DenseBlock,
    saved: Saved,
    delta: Tensor | Handover,
    need_input: bool,
    through: Tensor | None,
    into: Sequence[Tensor],
) -> tuple[list[Tensor], Tensor | None]:
    by_name = ACTIVATIONS[block.activation]
    derivative, writable = taken(delta)
    dz = (by_name.gradient_ if writable else by_name.gradient)(derivative, saved.pop())
    weight, bias = _weight_and_bias(block)
    matrix = weight if through is None else through
    gradients, by_input = affine_gradients(saved.pop(), dz, matrix, bias=bias is not None, need_input=need_input, into=into)
    if by_input is not None and len(block.in_shape) > 1:
        by_input = by_input.reshape(-1, *block.in_shape)
    return gradients, by_input


def _conv_forward(block: ConvBlock, x: Tensor, statistics: Statistics) -> tuple[Tensor, Saved]:
    if block.norm is not None and statistics != "running":
        block.check_batch(len(x))
    return conv_activity(x, block.conv.weight, block.conv.bias, block.norm_tensors(), block.plan, statistics)


def _conv_gradients(
    block: ConvBlock,
    saved: ConvSaved,
    delta: Tensor | Handover,
    need_input: bool,
    through: Tensor | None,
    into: Sequence[Tensor],
) -> tuple[list[Tensor], Tensor | None]:
    gradients, by_input = conv_gradients(
        saved,
        delta,
        block.conv.weight if through is None else through,
        None if block.norm is None else block.norm.weight,
        block.plan,
        bias=block.conv.bias is not None,
        need_input=need_input,
    )
    return _added(gradients, into), by_input


def _added(gradients: list[Tensor], into: Sequence[Tensor]) -> list[Tensor]:
    """The gradients, or ``into`` with the gradients added in place."""
    return [total.add_(each) for total, each in zip(into, gradients, strict=True)] if into else gradients


_CLOSED: dict[type[Block], _Formulas] = {
    DenseBlock: _Formulas(_dense_forward, _dense_gradients),
    ConvBlock: _Formulas(_conv_forward, _conv_gradients),
}


def has_closed_form(block: Block) -> bool:
    """Whether the block's type has an entry in the table."""
    return type(block) in _CLOSED


def maths_in(net: Chain, maths: str) -> str:
    """``"closed"``, ``"autograd"`` or ``"mixed"``: how ``maths`` computes gradients inside the blocks of a net."""
    if maths == "autograd":
        return "autograd"
    kinds = {has_closed_form(block) for block in net}
    return {frozenset({True}): "closed", frozenset({False}): "autograd"}.get(frozenset(kinds), "mixed")


def parameters_of(block: Block) -> list[Tensor]:
    """``list(block.parameters())``; of a dense block without searching modules, which takes as long as a small kernel."""
    if type(block) is not DenseBlock:
        return list(block.parameters())
    weight, bias = _weight_and_bias(block)
    return [weight] if bias is None else [weight, bias]


def parameters_of_net(net: Chain) -> list[Tensor]:
    """``list(net.parameters())``, likewise."""
    return [*(parameter for block in net for parameter in parameters_of(block)), net.output.weight, net.output.bias]


def _uses_autograd(block: Block, maths: str) -> bool:
    return maths == "autograd" or not has_closed_form(block)


@contextmanager
def _statistics_of(block: Block, statistics: Statistics) -> Iterator[None]:
    """A module in the mode that ``statistics`` asks for; afterwards as it was."""
    if statistics == "update" or not block.training:
        yield
    elif statistics == "running":
        with evaluating(block):
            yield
    else:
        buffers = [(buffer, buffer.clone()) for buffer in block.buffers()]
        try:
            yield
        finally:
            for buffer, value in buffers:
                buffer.data.copy_(value)  # .data: what autograd has saved of the pass still counts as unmodified


def block_forward(
    block: Block,
    x: Tensor,
    maths: str = "auto",
    *,
    statistics: Statistics = "update",
    call: Callable[[Tensor], Tensor] | None = None,
) -> tuple[Tensor, Saved]:
    """The block's activity (detached), and what :func:`block_gradients` will need.

    Args:
        block: any block. One in evaluation mode (``block.eval()``) behaves as with ``statistics="running"``.
        x: (n, *in_shape); nothing upstream of it is reached.
        maths: one of :data:`MATHS`.
        statistics: what BatchNorm divides by. ``update``: this batch's statistics, and the running ones move: an ordinary
            training pass. ``batch``: this batch's, the running ones stay: one more pass over the same examples (modulated,
            recomputed). ``running``: as at evaluation, dropout off too: a block that is frozen in this phase.
        call: by autograd, what is called in the block's place: the block with more inputs than its own.

    Raises:
        UsageError: BatchNorm is to train on one example.
    """
    if not _uses_autograd(block, maths):
        return _CLOSED[type(block)].forward(block, x, statistics if block.training else "running")
    with torch.enable_grad(), _statistics_of(block, statistics):
        leaf = x.detach().requires_grad_()
        a = called(
            block, leaf.view_as(leaf), block.out_shape, block.title, call
        )  # not the leaf itself: torch's FLOP counter hooks a module's inputs, and cannot hook a leaf
    return a.detach(), [leaf, a]


@torch.no_grad()
def block_activity(
    block: Block, x: Tensor, *, statistics: Statistics = "running", call: Callable[[Tensor], Tensor] | None = None
) -> Tensor:
    """The block's activity alone, without keeping what gradients need: by default that of a frozen block.

    Args:
        statistics, call: see :func:`block_forward`.
    """
    if call is None and has_closed_form(block):
        return _CLOSED[type(block)].forward(block, x, statistics if block.training else "running")[0]
    with _statistics_of(block, statistics):
        return called(block, x, block.out_shape, block.title, call)


def frozen_features(net: Chain, x: Tensor, n_blocks: int) -> Iterator[Tensor]:
    """Features (n, dᵢ) of the first ``n_blocks`` blocks, frozen, one at a time: each may be freed before the next is computed."""
    for block in list(net)[:n_blocks]:
        x = block_activity(block, x)
        yield block.features(x)


def block_gradients(
    block: Block,
    saved: Saved,
    delta: Tensor | Handover,
    *,
    maths: str = "auto",
    need_input: bool = False,
    through: Tensor | None = None,
    also: Sequence[Tensor] = (),
    into: Sequence[Tensor] = (),
) -> tuple[list[Tensor], Tensor | None]:
    """Gradients of a loss by the block's parameters (in the order of ``block.parameters()``), and by its input on request.

    Args:
        saved: from :func:`block_forward`, same ``maths``; used up.
        delta: derivative of the mean loss by the block's activity, in the activity's shape. One that is handed over
            (:class:`~bpfree.numerics.handover.Handover`) is written over or freed as soon as it has been used.
        through: in the shape of the block's weight, stands for it in the gradient by the input (feedback alignment); by default
            the weight itself. It is read by the closed form alone: with autograd the forward pass decides.
        also: further parameters of what was called in the block's place; their gradients stand behind the block's.
        into: gradients by the same parameters, of other examples of the same mean loss: these are added to them in place, and
            they are what is returned. By default new ones are made.
    """
    if not _uses_autograd(block, maths):
        return _CLOSED[type(block)].gradients(block, saved, delta, need_input, through, into)
    a, leaf = saved.pop(), saved.pop()
    delta = _alike(delta, a)
    wanted: list[Tensor] = [*block.parameters(), *also, *([leaf] if need_input else [])]
    if torch.compiler.is_compiling():  # a compiler plans the memory itself, and does not trace the root
        outputs, given = a, taken(delta)[0]
    else:
        with torch.enable_grad():
            outputs, given = _Root.apply(a, delta if isinstance(delta, Handover) else Handover(delta)), None
    del a
    gradients = list(torch.autograd.grad(outputs, wanted, given, materialize_grads=True))  # an unused parameter's is zero
    by_input = gradients.pop() if need_input else None
    return _added(gradients, into), by_input


def _alike(delta: Tensor | Handover, a: Tensor) -> Tensor | Handover:
    """In the memory layout of the activity, so that no kernel of the block is given both."""
    if not is_by_pixels(a):
        return delta
    return Handover(by_pixels(taken(delta)[0])) if isinstance(delta, Handover) else by_pixels(delta)


class _Root(torch.autograd.Function):
    """A 0-D tensor whose derivative by the activity is what is handed over.

    ``grad_outputs`` and the activity itself would be alive until the last gradient of the block is there; behind this node
    autograd frees both when its first node has used them.
    """

    # torch: its stubs give both methods *args alone
    @staticmethod
    def forward(ctx: Any, a: Tensor, delta: Handover) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx.delta = delta
        return a.new_zeros(())

    @staticmethod
    def backward(ctx: Any, _: Tensor) -> tuple[Tensor, None]:  # pyright: ignore[reportIncompatibleMethodOverride]
        return ctx.delta.take(), None
