"""How far the weights of a net are from orthonormal rows (or columns, where a block widens), over training."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch

from bpfree.algorithms import Algorithm, Phase, State
from bpfree.algorithms import _operator as operator
from bpfree.analysis._training import over_training
from bpfree.data import Dataset
from bpfree.nets import Block, Chain
from bpfree.numerics.orthogonal import defect
from bpfree.train import Patience

__all__ = ["defects", "orthogonality_over_training"]


@torch.no_grad()
def defects(net: Chain) -> tuple[float, ...]:
    """‖W Wᵀ − I‖_F / √rows of every block's first matrix (a kernel as (out, in · k · k)), then of the output's.

    Of a block that pools by the average, W is halved first: so the defect is that of the operator, where its patches do not
    overlap. NaN where a block has no matrix.
    """
    found = []
    for part in (*net, net.output):
        weight = next((p for p in part.parameters() if p.dim() > 1), None)
        gain = operator.gain(part) if isinstance(part, Block) else 1.0
        found.append(float("nan") if weight is None else float(defect(weight.detach().flatten(1).double() / gain)))
    return tuple(found)


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
