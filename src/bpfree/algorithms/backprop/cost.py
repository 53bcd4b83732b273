"""What backprop's step costs: every product of the sweep, and what is alive while it passes each block."""

from __future__ import annotations

from collections.abc import Iterator

from bpfree.algorithms._cost import Moment, Shape
from bpfree.algorithms.backprop.checkpointing import n_run_again

__all__ = ["learn_macs", "moments"]


def learn_macs(s: Shape, checkpoint_every: int) -> int:
    """n (3 (F + O) − F₁ + F of the blocks that run twice)."""
    again = s.blocks[: n_run_again(len(s.blocks), checkpoint_every)]
    return s.n * (3 * (s.forward + s.output) - s.first + sum(block.macs for block in again))


def moments(s: Shape, checkpoint_every: int, *, in_sweep: bool) -> tuple[Moment, ...]:
    """Two for each block as the sweep passes it: with its activity and the delta, and after its products."""
    return tuple(_moments(s, checkpoint_every or len(s.blocks), in_sweep))


def _moments(s: Shape, segment: int, in_sweep: bool) -> Iterator[Moment]:
    gradients = s.output_parameters
    for k in reversed(range(len(s.blocks))):
        first = k // segment * segment
        alive = [*range(segment - 1, first, segment), *range(first, k)]  # inputs of segments, activities of this one
        rows = sum(s.blocks[j].rows for j in alive) + s.blocks[k].rows
        if k == len(s.blocks) - 1:
            yield gradients, s.n * (rows + s.blocks[k].rows + s.classes)
        gradients = 0 if in_sweep else gradients
        yield gradients, s.n * (rows + s.blocks[k].rows)  # the block's own activity is alive until φ′ has been taken
        gradients += s.blocks[k].parameters
        yield gradients, s.n * rows + s.input(k)
