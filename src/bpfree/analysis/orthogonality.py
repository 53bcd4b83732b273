"""How far the weights of a net are from orthonormal rows (or columns, where a block widens), over training."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch

from bpfree.algorithms import Algorithm
from bpfree.data import Dataset
from bpfree.nets import Chain
from bpfree.numerics.orthogonal import defect
from bpfree.train import Patience, initialise, training

__all__ = ["defects", "orthogonality_over_training"]


@torch.no_grad()
def defects(net: Chain) -> tuple[float, ...]:
    """‖W Wᵀ − I‖_F / √rows of every block's first matrix (a kernel as (out, in · k · k)), then of the output's."""
    weights = [next((p for p in part.parameters() if p.dim() > 1), None) for part in (*net, net.output)]
    return tuple(float("nan") if w is None else float(defect(w.detach().flatten(1).double())) for w in weights)


def orthogonality_over_training(
    rule: Algorithm, net: Chain, data: Dataset, stop: Patience, *, seed: int = 0, **options: Any
) -> Iterator[tuple[int, tuple[float, ...]]]:
    """Train, and yield (passes, :func:`defects`) before the first pass and after each.

    Args:
        options: passed to :func:`bpfree.training`.
    """
    state = initialise(rule, net, seed, data.device)
    yield 0, defects(net)
    for progress in training(rule, net, data, stop, seed=seed, state=state, **options):
        yield progress.passes, defects(net)
