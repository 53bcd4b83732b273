"""How far the weights of a net are from orthonormal rows (or columns, where a block widens), over training."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch

from bpfree.algorithms import Algorithm, Phase, State
from bpfree.analysis._training import over_training
from bpfree.data import Dataset
from bpfree.nets import Chain, operator
from bpfree.numerics.orthogonal import defect
from bpfree.train import Patience

__all__ = ["defects", "orthogonality_over_training"]


@torch.no_grad()
def defects(net: Chain) -> tuple[float, ...]:
    """‖A Aᵀ − I‖_F / √rows of every block's linear operator A, then of the output's weight.

    Of a block that widens it is the columns' defect; of overlapping patches that on an image without borders; of a block that
    pools by the average that of the map before pooling, at its gain. NaN where no operator is known (a module of the user's).
    """
    return (*(operator.defect(block) for block in net), float(defect(net.output.weight.detach().double())))


def orthogonality_over_training(
    rule: Algorithm, net: Chain, data: Dataset, stop: Patience, **options: Any
) -> Iterator[tuple[int, tuple[float, ...]]]:
    """Train, and yield (passes, :func:`defects`) before the first pass and after each (or each ``every``-th).

    Args:
        options: ``every``, ``known``, ``seed``, and those of :func:`bpfree.training`.
    """

    def look(_state: State, _phase: Phase | None, passes: int) -> tuple[int, tuple[float, ...]]:
        return passes, defects(net)

    yield from over_training(rule, net, data, stop, look, **options)
