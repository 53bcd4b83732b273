"""What decides which operations a step has, and what a recorded step reads: a copy of a batch, tensors at their addresses."""

from __future__ import annotations

import torch

from bpfree.algorithms import Phase, State, named_tensors
from bpfree.data import Batch
from bpfree.nets import Chain

__all__ = ["Kind", "addresses", "copied", "fill", "kind_of"]

Kind = tuple[Phase, torch.Size, torch.dtype, bool]
"""Phase, shape and number format of a batch, and whether it has weights."""


def kind_of(batch: Batch, phase: Phase) -> Kind:
    """Of a step on this batch."""
    return (phase, batch.x.shape, batch.x.dtype, batch.weight is None)


def copied(batch: Batch) -> Batch:
    """The batch in memory of its own."""
    return Batch(batch.x.clone(), batch.y.clone(), batch.key.clone(), None if batch.weight is None else batch.weight.clone())


def fill(place: Batch, batch: Batch) -> None:
    """Copy a batch to where a recorded step reads it."""
    pairs = [(place.x, batch.x), (place.y, batch.y), (place.key, batch.key), (place.weight, batch.weight)]
    for mine, given in pairs:
        if mine is not None and given is not None:
            mine.copy_(given)


def addresses(net: Chain, state: State) -> tuple[int, ...]:
    """Of all tensors of net and state. Between two passes a caller may have put others in their places."""
    return tuple(tensor.data_ptr() for _, tensor in named_tensors(net, state))
