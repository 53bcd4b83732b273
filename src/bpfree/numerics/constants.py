"""Calls of a recorded step on nothing but constants: made again only when a constant has changed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch._ops import OpOverload

from bpfree.numerics.calls import Call, storage_of, tensors_in

__all__ = ["OfConstants", "on_constants"]


class OfConstants:
    """Calls without arguments, and the constants among which those are that they read.

    A constant counts as changed when torch has written to it: its number of writes is compared, which takes a tenth of a call.
    """

    def __init__(self, constants: Iterable[Tensor], calls: Iterable[Callable[[], Any]]) -> None:
        self._calls = tuple(calls)
        self._constants = tuple(each for each in constants if self._calls and not each.is_inference())
        self._versions: list[int] | None = None

    def __len__(self) -> int:
        return len(self._calls)

    def renew(self) -> None:
        """Make the calls, unless no constant has changed since they were made."""
        versions = [each._version for each in self._constants]
        if versions != self._versions:
            for call in self._calls:
                call()
            self._versions = versions


def on_constants(calls: Sequence[Call], constants: Iterable[Tensor]) -> tuple[list[Call], list[Call]]:
    """The calls that read nothing but constants, or what such calls returned, and write to nothing; and all others.

    What any call writes to is no constant, nor is a tensor whose writes torch does not count.
    """
    written = {storage_of(each) for call in calls for each in _may_write(call)}
    known = {storage_of(each) for each in constants if not each.is_inference()} - written
    chosen: list[Call] = []
    others: list[Call] = []
    for call in calls:
        reads = {storage_of(each) for each in tensors_in((call.arguments, tuple(call.options.values())))}
        makes = {storage_of(each) for each in call.results}
        if _is_pure(call) and reads and reads <= known and not makes & written:
            chosen.append(call)
            known |= makes
        else:
            others.append(call)
    return chosen, others


def _is_pure(call: Call) -> bool:
    """Whether it gives the same numbers for the same numbers, and does nothing else."""
    function = call.function
    return (
        isinstance(function, OpOverload)
        and bool(call.results)
        and not function._schema.is_mutable
        and torch.Tag.nondeterministic_seeded not in function.tags
    )


def _may_write(call: Call) -> Iterable[Tensor]:
    """What it writes to; of a call that is none of torch's operations all that it is given."""
    return call.written() if isinstance(call.function, OpOverload) else tensors_in(call.arguments)
