"""Linear heads on the blocks of a net, as Mono-Forward and its relatives have them: one projection to class scores per block.

The last block's head *is* the net's output weight (its bias stays zero), so that the trained net is a plain module.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from bpfree.algorithms._declared import Phase
from bpfree.algorithms._state import ProjectionSlot, State
from bpfree.nets import Block, Chain
from bpfree.nets.layout import activity_of, features_in_memory, head_in_memory, head_of
from bpfree.numerics.handover import Handover, taken
from bpfree.numerics.local import class_scores
from bpfree.numerics.losses import loss_and_residual

__all__ = [
    "READOUTS",
    "at_head",
    "block_scores",
    "each_heads_scores",
    "has_block_heads",
    "head_scores",
    "n_head_parameters",
    "new_head",
    "new_heads",
    "output_head",
]

READOUTS = ("last", "sum")
"""Which heads decide: the last block's alone, or the sum of all."""


def new_head(n_classes: int, n_features: int, net: Chain, generator: torch.Generator) -> nn.Parameter:
    """A head (classes, features), Kaiming uniform with a = √5 (released code of arXiv 2509.19063)."""
    head = nn.Parameter(torch.empty(n_classes, n_features, dtype=net.dtype, device=net.device))
    nn.init.kaiming_uniform_(head, a=math.sqrt(5), generator=generator)
    return head


def output_head(net: Chain) -> nn.Parameter:
    """The output's weight, the head of the last block."""
    weight = net.output.weight
    assert isinstance(weight, nn.Parameter)
    return weight


def new_heads(net: Chain, generator: torch.Generator) -> list[nn.Parameter]:
    """One head per block, in order; the last is the net's output weight, as it has been drawn."""
    heads = [new_head(net.n_classes, block.n_features, net, generator) for block in list(net)[:-1]]
    return [*heads, output_head(net)]


def n_head_parameters(net: Chain) -> int:
    """How many numbers the heads have beside the net."""
    return sum(net.n_classes * block.n_features for block in list(net)[:-1])


def each_heads_scores(net: Chain, state: State[ProjectionSlot], x: Tensor, last: int) -> Tensor:
    """Class scores (last + 1, n, classes) of every head up to block ``last``."""
    scores = []
    for k in range(last + 1):
        x = net[k](x)
        scores.append(net[k].features(x) @ state.slot(k).projection.t())
    return torch.stack(scores)


def has_block_heads(net: Chain, state: State, phase: Phase) -> bool:
    """Whether every block that has learned by the end of ``phase`` has a head on its features."""
    slots = list(state.slots)[: max(phase.learning, default=-1) + 1]
    return bool(slots) and all(isinstance(slot, ProjectionSlot) and slot.reads_features for slot in slots)


def block_scores(net: Chain, state: State, x: Tensor, phase: Phase) -> Tensor:
    """Class scores (blocks, n, classes) of each head of a state that :func:`has_block_heads`."""
    return each_heads_scores(net, state, x, max(phase.learning))


def head_scores(net: Chain, state: State[ProjectionSlot], x: Tensor, last: int, readout: str) -> Tensor:
    """Class scores (n, classes) of the heads up to block ``last``: that block's, or the sum."""
    total: Tensor | None = None
    for k in range(last + 1):
        x = net[k](x)
        if k == last or readout == "sum":
            g = net[k].features(x) @ state.slot(k).projection.t()
            total = g if total is None else total + g
    assert total is not None  # the range is never empty
    return total


def at_head(
    block: Block, activity: Tensor | Handover, head: Tensor, bias: Tensor | None, y: Tensor, weight: Tensor | None
) -> tuple[Tensor, list[Tensor], Handover]:
    """The cross-entropy of a head on a block's features, and its gradients; scores and residual are freed on return.

    Where images lie pixel after pixel, the head is brought to their order and not they to the head's: it has fewer rows.

    Args:
        activity: (n, *out_shape) of the block; one that is handed over is freed behind the head.
        head: (classes, features). bias: (classes,) or None.
        weight: (n,), how many times each example counts; None: once.

    Returns:
        The loss (0-D), the gradients by [head, bias] (bias only if there is one), and the derivative by the activity.
    """
    a, _ = taken(activity)
    rows = features_in_memory(block, a)
    h = block.features(a) if rows is None else rows  # (n, o)
    del a
    matrix = head if rows is None else head_in_memory(head, block.out_shape)
    g = class_scores(h, matrix, bias)  # (n, c)
    loss, residual = loss_and_residual(g, y, weight)  # (n, c), already divided by n
    del g
    of_head, by_features = residual.t().mm(h), residual.mm(matrix)
    gradients = [of_head if rows is None else head_of(of_head, block.out_shape)]
    if bias is not None:
        gradients.append(residual.sum(0))
    delta = block.features_gradient(by_features) if rows is None else activity_of(by_features, block.out_shape)
    return loss, gradients, Handover(delta)
