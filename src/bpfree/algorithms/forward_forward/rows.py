"""What Forward-Forward keeps and passes on: its slots and head, and the rows between blocks."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

from torch import Tensor, nn

from bpfree.algorithms._state import Hyper, LearningSlot, Optimiser, State
from bpfree.algorithms.forward_forward.overlay import Picture
from bpfree.data import Batch
from bpfree.numerics.peers import PEER_START

__all__ = ["ForwardSlot", "ForwardState", "HardBatch", "Passed", "Rows"]


class ForwardSlot(LearningSlot):
    """A slot with the running mean of peer normalisation, and the hyper-parameters of the rule.

    Attributes:
        label_weight: V (o, K) of a first block that reads a table, see :mod:`bpfree.algorithms.forward_forward.label_inputs`;
            the optimiser has it behind the block's parameters. None in any other slot.
    """

    def __init__(self, hyper: Hyper, optimiser: Optimiser, n_features: int, label_weight: nn.Parameter | None = None) -> None:
        super().__init__(optimiser)
        self.label_weight = label_weight
        self.hyper = hyper
        self.mean_activity: Tensor
        self.register_buffer("mean_activity", hyper.lr.new_full((n_features,), PEER_START))

    def label_parameters(self) -> list[Tensor]:
        """V in a list, or nothing."""
        return [] if self.label_weight is None else [self.label_weight]


class ForwardState(State[ForwardSlot]):
    """The slots; the softmax head (classes, Σ o) and its optimiser, or None where no head is learned."""

    def __init__(
        self, hyper: Hyper, slots: Iterable[ForwardSlot], head: nn.Parameter | None, optimiser: Optimiser | None
    ) -> None:
        super().__init__(hyper, slots)
        self.head = head
        self.optimiser = optimiser


class Rows(NamedTuple):
    """The rows of a batch between two blocks.

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

    def head_rows(self, n: int) -> Tensor:
        """What the head reads of a block: the neutral input's activity, or a copy of the n positive rows where there is none."""
        if self.neutral is not None:
            return self.neutral
        assert isinstance(self.learning, Tensor)  # a picture comes before the first block only
        return self.learning[:n].clone()  # a view would keep the negative rows


class Passed(NamedTuple):
    """The carry: the rows for the next block, and behind every block so far what a head will read, (n, *shape), if one does."""

    rows: Rows
    behind: tuple[Tensor, ...]


@dataclass(frozen=True, eq=False, kw_only=True)
class HardBatch(Batch):
    """A batch whose neutral inputs have been through the net: hard negatives, and what need not be computed again.

    Attributes:
        wrong: (n,), the wrong labels.
        head_input: (n, Σ o), what the head reads.
        product: (n, o), of the first dense block with the picture, None with another first block.
    """

    wrong: Tensor
    head_input: Tensor
    product: Tensor | None
