"""One call of the optimiser for all blocks of a small net.

Each block of a local rule has an optimiser of its own, and its gradients are freed when it has taken its step: those of one block
are alive at a time. On a small net the fixed cost of a call is more than its arithmetic. There the steps of one ``learn`` are
put off to its end and done in one call of the fused kernel, with the same numbers: a kernel that is given several tensors treats
each by itself.

A net is small if its parameters take at most :data:`GATHER_BYTES`; then the gradients of all blocks are alive together, which is
what backprop always has. Only on a processor: on other devices, and in what is compiled, every step is done when it is asked for.
So a rule must not read a parameter in ``learn`` after its step, unless it is meant to see the value from before.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, ParamSpec, Protocol, TypeVar

import torch
from torch import Tensor, nn

from bpfree.numerics.host import host_value, on_host

__all__ = ["GATHER_BYTES", "Gather", "gathered", "is_small", "update_at_end", "without_autograd"]

GATHER_BYTES = 1 << 20
"""Bytes of a net's parameters up to which the gradients of all blocks are kept for one update: about a core's second cache."""

P = ParamSpec("P")
R = TypeVar("R")


class Optimiser(Protocol):
    """What is read here of :class:`bpfree.algorithms._state.Optimiser`, which has a gather."""

    kind: str
    momentum: float

    def tensors(self, first: int, n: int) -> tuple[list[Tensor], list[Tensor], list[Tensor]]: ...

    def rates(self) -> tuple[Tensor, Tensor | None]: ...

    def update(
        self, parameters: list[Tensor], gradients: list[Tensor], moments: list[Tensor], second: list[Tensor], counts: list[Tensor]
    ) -> None: ...


def is_small(net: nn.Module) -> bool:
    """Whether the gradients of all blocks of a net are small together."""
    return sum(each.numel() * each.element_size() for each in net.parameters()) <= GATHER_BYTES


class Gather:
    """Steps of the optimisers of a state that are put off.

    Attributes:
        open: whether steps are put off now.
    """

    def __init__(self) -> None:
        self.open = False
        self._steps: list[tuple[Optimiser, list[Tensor], list[Tensor], int]] = []

    def add(self, optimiser: Optimiser, parameters: list[Tensor], gradients: list[Tensor], first: int) -> None:
        """Put off ``optimiser.step(parameters, gradients, first)``."""
        self._steps.append((optimiser, parameters, gradients, first))

    def close(self) -> None:
        """Do what was put off, in one call for each group of optimisers with the same hyper-parameters."""
        if len(self._steps) == 1:
            optimiser, parameters, gradients, first = self._steps.pop()
            optimiser.update(parameters, gradients, *optimiser.tensors(first, len(parameters)))
            return
        groups: dict[tuple[object, ...], list[tuple[Optimiser, list[Tensor], list[Tensor], int]]] = {}
        for step in self._steps:
            groups.setdefault(_hyper_parameters(step[0]), []).append(step)
        self.abandon()
        for steps in groups.values():
            optimiser, parameters, gradients, first = steps[0]
            tensors = optimiser.tensors(first, len(parameters))
            for other, its, of_its, place in steps[1:]:
                parameters, gradients = parameters + its, gradients + of_its
                tensors = [mine + theirs for mine, theirs in zip(tensors, other.tensors(place, len(its)), strict=True)]
            optimiser.update(parameters, gradients, *tensors)

    def abandon(self) -> None:
        """Forget what was put off."""
        self.open = False
        self._steps = []


def _hyper_parameters(optimiser: Optimiser) -> tuple[object, ...]:
    """What two optimisers must share to be one; where it cannot be read, the optimiser itself."""
    lr, decay = optimiser.rates()
    if not on_host(lr):
        return (id(optimiser),)
    return optimiser.kind, optimiser.momentum, lr.dtype, host_value(lr), None if decay is None else host_value(decay)


def without_autograd(learn: Callable[P, R]) -> Callable[P, R]:
    """Decorates ``learn``: autograd is off. Where it is already, as within a step, nothing is done."""

    @functools.wraps(learn)
    def wrapper(*args: P.args, **options: P.kwargs) -> R:
        if not torch.is_grad_enabled():
            return learn(*args, **options)
        with torch.no_grad():
            return learn(*args, **options)

    return wrapper


def gathered(learn: Callable[P, Tensor]) -> Callable[P, Tensor]:
    """Decorates ``learn(self, net, state, batch, phase)``: autograd is off, and on a small net there is one update at the end."""

    @functools.wraps(learn)
    def in_one_update(*args: P.args, **options: P.kwargs) -> Tensor:
        given: tuple[Any, ...] = args
        gather = _gather_for(*given[1:4]) if len(given) > 3 else None  # given by name, blocks learn one by one: the same numbers
        if gather is None:
            return learn(*args, **options)
        gather.open = True
        try:
            losses = learn(*args, **options)
            gather.close()
        finally:
            gather.abandon()
        return losses

    return without_autograd(in_one_update)


def _gather_for(net: Any, state: Any, batch: Any) -> Gather | None:
    """What puts the steps of this batch off; None where each is done when it is asked for."""
    return None if torch.compiler.is_compiling() or batch.x.device.type != "cpu" else state.gather(net)


@contextmanager
def update_at_end(net: Any, state: Any) -> Iterator[None]:
    """As :func:`gathered`, around a part of ``learn``: on a small net its steps are done at the end of the block."""
    gather = state.gather(net) if net.device.type == "cpu" else None
    if gather is None:
        yield
        return
    gather.open = True
    try:
        yield
        gather.close()
    finally:
        gather.abandon()
