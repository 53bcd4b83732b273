"""What a layer-parallel pipeline runs: the ``learn`` of a rule, cut where no gradient crosses.

A stage is one block, or as many as the rule's gradients cross. Stage after stage in one process is ``learn`` itself, bit for bit;
stages in several processes hand the carry on and read nothing else of each other. A rule that cannot be cut says why.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

import torch
from torch import Tensor

from bpfree.algorithms._declared import Phase
from bpfree.algorithms._state import State
from bpfree.data import Batch
from bpfree.nets import Block, Chain

__all__ = ["BlockStages", "Stages", "in_turn"]

C = TypeVar("C")
"""The carry, what one stage hands to the next: a tree of tensors."""


@dataclass(frozen=True)
class Stages(ABC, Generic[C]):
    """The stages of one phase.

    Attributes:
        blocks: of each stage that runs in this phase, their indices, in order; what lies behind the last one is not reached.
    """

    blocks: tuple[range, ...]

    @abstractmethod
    def enter(self, net: Chain, state: State[Any], batch: Batch) -> C:
        """What the first stage receives. What is learned before it (a projection of the raw input, say) is learned here."""

    @abstractmethod
    def run(self, index: int, net: Chain, state: State[Any], batch: Batch, carry: C) -> tuple[C | None, Tensor | None]:
        """Use, and where it learns update, stage ``index``.

        Returns:
            What the next stage (or :meth:`leave`) receives, detached, of before the update; and the loss (0-D) of a stage that
            learns.
        """

    def leave(self, net: Chain, state: State[Any], batch: Batch, carry: C | None) -> None:
        """What is learned after the last stage; by default nothing."""
        del net, state, batch, carry


class BlockByBlock(Protocol):
    """What is called here of a :class:`bpfree.algorithms.LocalAlgorithm`, which has stages."""

    def prepare(self, net: Chain, state: Any, batch: Batch, phase: Phase) -> Batch: ...

    def enter(self, net: Chain, batch: Batch) -> Any: ...

    def block_step(
        self, block: Block, slot: Any, carry: Any, y: Tensor, learn: bool, weight: Tensor | None = None
    ) -> tuple[Any, Tensor]: ...

    def last_step(self, block: Block, slot: Any, carry: Any, y: Tensor, weight: Tensor | None = None) -> tuple[Any, Tensor]: ...

    def leave(self, net: Chain, state: Any, batch: Batch, carry: Any) -> None: ...


@dataclass(frozen=True)
class BlockStages(Stages[Any]):
    """The blocks of a :class:`bpfree.algorithms.LocalAlgorithm`, one a stage.

    Attributes:
        rule, phase: whose ``prepare``, ``enter``, ``block_step``, ``last_step`` and ``leave`` are called.
    """

    rule: BlockByBlock
    phase: Phase

    @classmethod
    def of(cls, rule: BlockByBlock, phase: Phase) -> BlockStages:
        """Up to the last block that learns."""
        return cls(tuple(range(k, k + 1) for k in range(max(phase.learning, default=-1) + 1)), rule, phase)

    def enter(self, net: Chain, state: State[Any], batch: Batch) -> Any:
        return self.rule.enter(net, self.rule.prepare(net, state, batch, self.phase))

    def run(self, index: int, net: Chain, state: State[Any], batch: Batch, carry: Any) -> tuple[Any, Tensor | None]:
        block, slot = net[index], state.slot(index)
        weighted: dict[str, Tensor] = {} if batch.weight is None else {"weight": batch.weight}
        if index == len(self.blocks) - 1:
            return self.rule.last_step(block, slot, carry, batch.y, **weighted)
        learns = index in self.phase.learning
        after, loss = self.rule.block_step(block, slot, carry, batch.y, learns, **weighted)
        return after, loss if learns else None

    def leave(self, net: Chain, state: State[Any], batch: Batch, carry: Any) -> None:
        if carry is not None:
            self.rule.leave(net, state, batch, carry)


def in_turn(stages: Stages[Any], net: Chain, state: State[Any], batch: Batch) -> Tensor:
    """All stages in this process: the losses, as of the rule's ``learn``."""
    carry = stages.enter(net, state, batch)
    losses: list[Tensor] = []
    for index in range(len(stages.blocks)):
        carry, loss = stages.run(index, net, state, batch, carry)
        if loss is not None:
            losses.append(loss)
    stages.leave(net, state, batch, carry)
    return torch.stack(losses) if losses else torch.zeros(1, device=batch.x.device)
