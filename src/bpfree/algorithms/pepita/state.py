"""What PEPITA learns or keeps beside the net."""

from __future__ import annotations

from torch import Tensor, nn

from bpfree.algorithms._state import Hyper, LearningSlot, NetState, Optimiser

__all__ = ["PepitaState"]


class PepitaState(NetState[LearningSlot]):
    """One slot per hidden block, the output's optimiser, the feedback; with mirroring its factors."""

    def __init__(
        self, hyper: Hyper, slots: list[LearningSlot], optimiser: Optimiser, feedback: Tensor, mirrors: list[Tensor]
    ) -> None:
        super().__init__(hyper, optimiser, slots)
        self.feedback: Tensor
        self.register_buffer("feedback", feedback)
        self.n_mirrors = len(mirrors)
        for k, mirror in enumerate(mirrors):
            self.register_parameter(f"mirror_{k}", nn.Parameter(mirror, requires_grad=False))

    def mirrors(self) -> list[Tensor]:
        """B of each block, then of the output; none without mirroring."""
        return [getattr(self, f"mirror_{k}") for k in range(self.n_mirrors)]
