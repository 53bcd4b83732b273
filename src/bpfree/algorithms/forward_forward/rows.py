"""What Forward-Forward keeps and passes on: its slots and head, and the rows between blocks."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

from torch import Tensor, nn

from bpfree.algorithms._state import Hyper, Optimiser, Slot, State
from bpfree.algorithms.forward_forward.overlay import Picture
from bpfree.data import Batch
from bpfree.numerics.peers import PEER_START

__all__ = ["ForwardSlot", "ForwardState", "Rows", "Surveyed"]


class ForwardSlot(Slot):
    """A slot without a head, and the running mean of peer normalisation."""

    def __init__(self, hyper: Hyper, optimiser: Optimiser, n_features: int) -> None:
        super().__init__(hyper, optimiser)
        self.mean_activity: Tensor
        self.register_buffer("mean_activity", hyper.lr.new_full((n_features,), PEER_START))


class ForwardState(State):
    """The slots, and the softmax head where there is one."""

    def __init__(self, slots: Iterable[Slot], head: nn.Parameter | None, optimiser: Optimiser | None) -> None:
        super().__init__(slots, optimiser)
        self.head: nn.Parameter
        self.head = head  # pyright: ignore[reportAttributeAccessIssue]  # None: reading it is the rule's mistake


class Rows(NamedTuple):
    """What passes between blocks.

    Attributes:
        learning: (2n, *shape), positives then negatives; or the picture that the first dense block paints on.
        labels: (2, n) for a picture.
        neutral: (n, *shape), the neutral input's activity for the head, None where no head reads it.
        reads_neutral: whether a picture is to give one.
    """

    learning: Tensor | Picture
    labels: Tensor
    neutral: Tensor | None
    reads_neutral: bool


@dataclass(frozen=True, eq=False)
class Surveyed(Batch):
    """A batch whose neutral inputs have been through the net: hard negatives, and what need not be computed again."""

    wrong: Tensor
    head_input: Tensor
    product: Tensor | None
