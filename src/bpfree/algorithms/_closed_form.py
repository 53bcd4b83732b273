"""Forward pass of a block and its local gradients: closed form by a table of block types, autograd inside the block otherwise.

The table maps a block type to the formulas of :mod:`bpfree.numerics.local`. A type without an entry (anybody's module) falls
back to autograd *inside one block*: its input is detached, so no gradient crosses a block boundary in either case. Both ways
are tested equal in float64.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from bpfree.nets import Block, DenseBlock
from bpfree.numerics.local import dense_activity, dense_gradients

__all__ = ["MATHS", "block_forward", "block_gradients", "has_closed_form"]

MATHS = ("auto", "closed", "autograd")
"""How gradients inside a block are computed; ``auto`` is closed form wherever there is one."""

Saved = tuple[Tensor, ...]


@dataclass(frozen=True)
class _Formulas:
    forward: Callable[[Any, Tensor], tuple[Tensor, Saved]]
    gradients: Callable[[Any, Saved, Tensor, bool], tuple[list[Tensor], Tensor | None]]


def _dense_forward(block: DenseBlock, x: Tensor) -> tuple[Tensor, Saved]:
    flat = x.flatten(1)
    a = dense_activity(flat, block.linear.weight, block.linear.bias, block.activation)
    return a, (flat, a)


def _dense_gradients(block: DenseBlock, saved: Saved, delta: Tensor, need_input: bool) -> tuple[list[Tensor], Tensor | None]:
    x, a = saved
    has_bias = block.linear.bias is not None
    gradients, by_input = dense_gradients(
        x, a, block.linear.weight, delta, block.activation, bias=has_bias, need_input=need_input
    )
    return gradients, None if by_input is None else by_input.reshape(-1, *block.in_shape)


_CLOSED: dict[type[Block], _Formulas] = {DenseBlock: _Formulas(_dense_forward, _dense_gradients)}


def has_closed_form(block: Block) -> bool:
    """Whether the block's type has an entry in the table."""
    return type(block) in _CLOSED


def _uses_autograd(block: Block, maths: str) -> bool:
    return maths == "autograd" or not has_closed_form(block)


def block_forward(block: Block, x: Tensor, maths: str = "auto") -> tuple[Tensor, Saved]:
    """The block's activity (detached), and what :func:`block_gradients` will need.

    Args:
        block: any block.
        x: (n, *in_shape); nothing upstream of it is reached.
        maths: one of :data:`MATHS`.
    """
    if not _uses_autograd(block, maths):
        return _CLOSED[type(block)].forward(block, x)
    with torch.enable_grad():
        leaf = x.detach().requires_grad_()
        a = block(leaf)
    return a.detach(), (leaf, a)


def block_gradients(
    block: Block, saved: Saved, delta: Tensor, *, maths: str = "auto", need_input: bool = False
) -> tuple[list[Tensor], Tensor | None]:
    """Gradients of a loss by the block's parameters (in the order of ``block.parameters()``), and by its input on request.

    Args:
        saved: from :func:`block_forward`, same ``maths``.
        delta: derivative of the mean loss by the block's activity, in the activity's shape.
    """
    if not _uses_autograd(block, maths):
        return _CLOSED[type(block)].gradients(block, saved, delta, need_input)
    leaf, a = saved
    wanted: Sequence[Tensor] = [*block.parameters(), *([leaf] if need_input else [])]
    gradients = list(torch.autograd.grad(a, wanted, delta))
    return gradients, (gradients.pop() if need_input else None)
