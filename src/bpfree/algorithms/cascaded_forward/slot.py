"""What Cascaded-Forward keeps for a block: its predictor, what trains it, the sums of a ridge solution, the feedback."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from bpfree.algorithms._count import StepCount
from bpfree.algorithms._state import Optimiser, Slot
from bpfree.numerics.ridge import gather_, ridge_solution

__all__ = ["CascadeSlot", "RidgeSums"]


class RidgeSums(nn.Module):
    """Sums over batches, and how many batches were added since the last solution (the host may read that).

    Attributes:
        gram: Σ Hᵀ H, (features, features).
        cross: Σ Hᵀ Y, (features, classes).
    """

    def __init__(self, n_features: int, n_classes: int, dtype: torch.dtype, device: torch.device) -> None:
        super().__init__()
        self.gram: Tensor
        self.cross: Tensor
        self.register_buffer("gram", torch.zeros(n_features, n_features, dtype=dtype, device=device))
        self.register_buffer("cross", torch.zeros(n_features, n_classes, dtype=dtype, device=device))
        self.unsolved = StepCount()

    def add(self, h: Tensor, targets: Tensor, weight: Tensor | None = None) -> None:
        """Add a batch: features (n, features), one-hot targets (n, classes), and how many times each example counts, (n,)."""
        if weight is not None:  # as they are: divided by the mean of a batch they would differ from batch to batch
            root = weight.sqrt().unsqueeze(1)
            h, targets = h * root, targets * root
        gather_(self.gram, self.cross, h, targets)
        self.unsolved.advance()

    def solve_into(self, projection: Tensor, ridge: Tensor) -> None:
        """Write the ridge solution (classes, features) into ``projection``, if a batch was added since the last one."""
        if self.unsolved.value > 0:
            projection.copy_(ridge_solution(self.gram, self.cross, ridge).t())
            self.unsolved.steps.zero_()


class CascadeSlot(Slot):
    """A predictor and what trains it and its block.

    Attributes:
        projection: the predictor (classes, features).
        optimiser: of the predictor; None where it is a ridge solution.
        sums: of the ridge solution; None where the predictor learns by steps.
        block_optimiser: of the block (the last one's also of the net's output); None where blocks are random.
        feedback: (classes, features), rows of length 1; None for the last block, and where blocks are random.
    """

    def __init__(
        self,
        projection: nn.Parameter,
        *,
        optimiser: Optimiser | None = None,
        sums: RidgeSums | None = None,
        block_optimiser: Optimiser | None = None,
        feedback: Tensor | None = None,
    ) -> None:
        super().__init__()
        self.projection = projection
        self.optimiser = optimiser
        self.sums = sums
        self.block_optimiser = block_optimiser
        self.feedback: Tensor | None
        self.register_buffer("feedback", feedback)
