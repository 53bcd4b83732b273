"""What a rule declares: its traits, the phases of its training, its periodic work."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from bpfree.algorithms._state import State
from bpfree.data import Batch
from bpfree.nets import Chain

__all__ = ["Phase", "Traits", "Upkeep"]

S = TypeVar("S", bound=State[Any])


@dataclass(frozen=True)
class Traits:
    """What a reader must know of a rule on a given net before believing a number.

    Attributes:
        forward_passes: per training step, counted in passes of one batch through all learning blocks.
        gradient_path: blocks that the longest chain rule crosses (backprop: the depth and the output).
        local: no block's update reads a later block.
        autograd: torch's automatic differentiation is used somewhere in the step.
        trains_output: the net's linear output is learned and used.
        extra_parameters: learned scalars beside the net (heads, mirrors).
        note: a further remark.
        untrained_control: the hidden blocks stay as they were drawn, so that a report compares every other arm with this one: a
            rule that is not better has learned nothing in its hidden blocks.
    """

    forward_passes: float
    gradient_path: int
    local: bool
    autograd: bool
    trains_output: bool
    extra_parameters: int
    note: str = ""
    untrained_control: bool = False


@dataclass(frozen=True)
class Phase:
    """A stretch of training with a fixed set of learning blocks.

    Attributes:
        index, count: which phase of how many.
        learning: indices of the blocks that learn, or whose read-out does.
        name: for people, and for exceptions of a ruleset.
        max_passes: the rule has nothing more to do after so many (a closed form is exact after one); the stop rule may
            give fewer, never more. What is left goes to the next phase. None: as many as the stop rule gives.
        frozen: the first so many blocks do not change in this phase, and of an example nothing but their features is read: the
            trainer computes these once and trains with ``cached=True``. 0: the phase reads examples.
        last_only: of these features only those of the last frozen block are read.
        or_examples: the phase can read examples as well, and does where training batches are augmented; otherwise such batches
            are refused.
        cached: the x of a batch holds the features of the frozen blocks side by side, (n, Σ dᵢ), instead of examples; with
            ``last_only`` those of the last one.
    """

    index: int
    count: int
    learning: tuple[int, ...]
    name: str
    max_passes: int | None = None
    frozen: int = 0
    last_only: bool = False
    or_examples: bool = False
    cached: bool = False


@dataclass(frozen=True)
class Upkeep(Generic[S]):
    """Work of every so many training steps, outside ``learn``: decided by the host, counted by itself, charged 1/every to a step.

    Attributes:
        name: what is done, unique within the rule; a key of :attr:`Cost.upkeep`.
        every: steps between two times; None for work done once, before the first step, which is charged to no step.
        do: the work, in place: (net, state, batch of the step). It is called with autograd switched off.
        before: whether it is done before ``learn`` in its step, or after.
        apart: whether its operations are reported beside those of a step instead of within them (orthogonalisation).
    """

    name: str
    every: int | None
    do: Callable[[Chain, S, Batch], None]
    before: bool = False
    apart: bool = False

    def due(self, number: int) -> bool:
        """Whether the work is due in training step ``number``, counted from 1."""
        return number == 1 if self.every is None else number % self.every == 0
