"""What decides which operations a step has, and what a recorded step reads: a copy of a batch, tensors at their places."""

from __future__ import annotations

import torch

from bpfree.algorithms import Phase, State
from bpfree.data import Batch
from bpfree.nets import Chain
from bpfree.numerics.host import host_value, on_host

__all__ = ["Kind", "copied", "fill", "fixed", "kind_of"]

Kind = tuple[Phase, torch.Size, tuple[int, ...], torch.dtype, bool]
"""Phase, shape, strides and number format of a batch, and whether it has weights."""

_PLAIN = frozenset((bool, int, float, str, tuple, type(None)))
"""Types of attributes that a step may decide by, and that are compared by their values."""


def kind_of(batch: Batch, phase: Phase) -> Kind:
    """Of a step on this batch."""
    return (phase, batch.x.shape, batch.x.stride(), batch.x.dtype, batch.weight is None)


def copied(batch: Batch) -> Batch:
    """The batch in memory of its own."""
    return Batch(batch.x.clone(), batch.y.clone(), batch.key.clone(), None if batch.weight is None else batch.weight.clone())


def fill(place: Batch, batch: Batch) -> None:
    """Copy a batch to where a recorded step reads it."""
    pairs = [(place.x, batch.x), (place.y, batch.y), (place.key, batch.key), (place.weight, batch.weight)]
    for mine, given in pairs:
        if mine is not None and given is not None:
            mine.copy_(given)


def fixed(net: Chain, state: State) -> tuple[object, ...]:
    """What a recorded step takes as it was of net and state: between two passes a caller may have changed it.

    These are places and layouts of all tensors, the plain attributes of modules (an activation, a momentum), hyper-parameters,
    and which optimisers have the same rates, so that their updates are one call.
    """
    modules = [module for whole in (net, state) for module in whole.modules()]
    held = [each for module in modules for places in (module._parameters, module._buffers) for each in places.values()]
    tensors = [None if each is None else (each.data_ptr(), each.shape, each.stride(), each.dtype) for each in held]
    plain = [{name: value for name, value in vars(module).items() if type(value) in _PLAIN} for module in modules]
    hyper = [host_value(each) for each in state.hyper.buffers() if on_host(each)]
    return (*tensors, *map(type, modules), *plain, *hyper, *_alike(state))


def _alike(state: State) -> list[int]:
    """For each optimiser the first that has its rates."""
    keys: list[object] = []
    for optimiser in state.optimisers():
        lr, decay = optimiser.rates()
        values = (host_value(lr), None if decay is None else host_value(decay)) if on_host(lr) else id(optimiser)
        keys.append((optimiser.kind, optimiser.momentum, values))
    return [keys.index(key) for key in keys]
