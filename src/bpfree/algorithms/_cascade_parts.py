"""What Cascaded-Forward keeps for a block: its predictor, the sums of a ridge, the feedback that trains it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from bpfree.algorithms._count import StepCount
from bpfree.algorithms._state import Optimiser, Slot
from bpfree.nets import Chain
from bpfree.numerics.ridge import ridge_solution

if TYPE_CHECKING:
    from bpfree.algorithms.cascaded_forward import CascadedForward

__all__ = ["CascadeSlot"]


class CascadeSlot(Slot):
    """A predictor that starts at 0, and what trains it and its block.

    Attributes:
        block_optimiser: of the block (the last one's also of the net's output), where blocks learn.
        feedback: (classes, features), rows of length 1, where a block learns by feedback.
        gram, cross: sums over batches, where the predictor is a ridge solution.
        unsolved: batches in the sums since the last solution; the host may read it.
    """

    def __init__(self, rule: CascadedForward, net: Chain, k: int, generator: torch.Generator) -> None:
        width = net[k].n_features
        projection = nn.Parameter(torch.zeros(net.n_classes, width, dtype=net.dtype, device=net.device))
        by_steps = rule.predictor != "ridge"
        super().__init__(rule._hyper(net), rule._optimiser([projection]) if by_steps else None, projection)
        self.unsolved = StepCount()
        self.block_optimiser: Optimiser
        self.feedback: Tensor
        self.gram: Tensor
        self.cross: Tensor
        last = k == len(net) - 1
        if rule.blocks == "dfa":
            parameters: list[Tensor] = [*net[k].parameters(), *(net.output.parameters() if last else ())]
            self.block_optimiser = rule._optimiser(parameters, lr=rule.block_lr, weight_decay=rule.block_weight_decay)
            if not last:
                feedback = torch.empty_like(projection, requires_grad=False).normal_(generator=generator)
                self.register_buffer("feedback", feedback / feedback.norm(dim=1, keepdim=True))
        if not by_steps:
            dtype = torch.float64 if rule.sums == "float64" or net.dtype == torch.float64 else torch.float32
            self.register_buffer("gram", torch.zeros(width, width, dtype=dtype, device=net.device))
            self.register_buffer("cross", torch.zeros(width, net.n_classes, dtype=dtype, device=net.device))

    def solve(self) -> None:
        """Put the ridge solution of the sums into the predictor, if they have changed since."""
        if self.unsolved.value > 0:
            solution = ridge_solution(self.gram, self.cross, self.hyper.ridge)
            self.projection.copy_(solution.t())
            self.unsolved.steps.zero_()
