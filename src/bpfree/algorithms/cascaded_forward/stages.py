"""Cascaded-Forward in several processes: a frozen block and its predictor are a stage."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from bpfree.algorithms._closed_form import block_activity, frozen_features
from bpfree.algorithms._declared import Phase
from bpfree.algorithms._stages import Stages
from bpfree.algorithms._state import State
from bpfree.algorithms.cascaded_forward.slot import CascadeSlot
from bpfree.data import Batch
from bpfree.nets import Chain

__all__ = ["CascadeStages", "features_read"]


@dataclass(frozen=True)
class CascadeStages(Stages[Tensor]):
    """Blocks that do not learn, and the predictors of those that the phase names.

    Attributes:
        phase: of predictors, or of running statistics, in which no predictor learns.
        train_predictor: one step of a predictor from features (n, d); returns the loss (0-D).
    """

    phase: Phase
    train_predictor: Callable[[CascadeSlot, Tensor, Batch], Tensor]

    @classmethod
    def of(cls, net: Chain, phase: Phase, train_predictor: Callable[[CascadeSlot, Tensor, Batch], Tensor]) -> CascadeStages:
        """Up to the last predictor that learns; all blocks where none does."""
        n_blocks = max(phase.learning, default=len(net) - 1) + 1
        return cls(tuple(range(k, k + 1) for k in range(n_blocks)), phase, train_predictor)

    def enter(self, net: Chain, state: State[Any], batch: Batch) -> Tensor:
        return batch.x

    def run(self, index: int, net: Chain, state: State[Any], batch: Batch, carry: Tensor) -> tuple[Tensor | None, Tensor | None]:
        block = net[index]
        x = block_activity(block, carry, statistics="running" if self.phase.learning else "update")
        learns = index in self.phase.learning
        loss = self.train_predictor(state.slot(index), block.features(x), batch) if learns else None
        return (None if index == len(self.blocks) - 1 else x), loss


def features_read(net: Chain, x: Tensor, phase: Phase) -> Iterator[Tensor]:
    """Features of the blocks that the phase's predictors read: computed, or cut from the rows of a cache (n, Σ dᵢ)."""
    n_blocks = max(phase.learning, default=len(net) - 1) + 1
    if not phase.cached:
        return frozen_features(net, x, n_blocks)
    return iter(x.split([block.n_features for block in list(net)[:n_blocks]], dim=1))
