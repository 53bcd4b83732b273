"""Linear heads on the blocks of a net, as Mono-Forward and its relatives have them: one projection to class scores per block.

The last block's head *is* the net's output weight (its bias stays zero), so that the trained net is a plain module.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from bpfree.algorithms._state import ProjectionSlot, State
from bpfree.nets import Chain

__all__ = ["READOUTS", "each_heads_scores", "head_scores", "n_head_parameters", "new_head", "new_heads", "output_head"]

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
