"""Training that stops to be looked at: before the first pass, and after every so many."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from typing import Any, TypeVar

from bpfree.algorithms import Algorithm, Phase, State
from bpfree.data import Dataset
from bpfree.errors import UsageError
from bpfree.nets import Chain
from bpfree.train import Patience, initialise, training

__all__ = ["over_training"]

Seen = TypeVar("Seen")


def over_training(
    rule: Algorithm,
    net: Chain,
    data: Dataset,
    stop: Patience,
    look: Callable[[State, Phase | None, int], Seen],
    *,
    every: int = 1,
    known: Collection[int] = (),
    seed: int = 0,
    **options: Any,
) -> Iterator[Seen]:
    """Train, and yield ``look(state, phase, passes)`` before the first pass, after every ``every``-th and after the last.

    Not after a pass in which training diverged: the net is then an earlier one again.

    Args:
        look: sees the net through its closure; the phase is None before the first pass.
        known: numbers of passes that were looked at already (training that is resumed).
        options: passed to :func:`bpfree.training`.

    Raises:
        UsageError: ``every`` below 1, or a net that the rule cannot train.
    """
    if every < 1:
        raise UsageError(f"every must be at least 1 pass, got {every}")
    state = initialise(rule, net, seed, data.device)
    if 0 not in known:
        yield look(state, None, 0)
    for progress in training(rule, net, data, stop, seed=seed, state=state, **options):
        due = progress.passes % every == 0 or progress.passes == stop.max_passes
        if due and not progress.diverged and progress.passes not in known:
            yield look(state, progress.phase, progress.passes)
