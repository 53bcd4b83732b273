"""The operations of a step as a list: recorded while it is made, and done again by one loop without the Python between them.

A recording has the operations of torch in the order in which they were called, those of autograd among them, and what the host
computed (:func:`bpfree.numerics.host.by_host`). Views are made once. What an operation returned in memory of its own is written
into memory that the list holds. Memory that is read no more is used again, so that the list holds about what is alive at once in
the step itself. Parameters, moments, batch and constants stay where they are. What is computed of nothing but constants is
computed again only when one of them has changed.

The repetition calls the same kernels with the same numbers, shapes, strides and alignment, so it gives the same bits. It does not
see what Python decides or counts: :class:`bpfree.train.replay.Replay` compares a repetition with the step itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, partial
from typing import Any

import torch
from torch import Tensor
from torch._ops import OpOverload

from bpfree.numerics.calls import Call, mapped, mapped_options, storage_of, tensors_in
from bpfree.numerics.constants import OfConstants, on_constants
from bpfree.numerics.host import host_recorded
from bpfree.numerics.recorder import Readers, Recorder

__all__ = ["Operations", "as_list", "recording"]

_BINDINGS = (
    *("_log_softmax", "_log_softmax_backward_data", "_softmax", "abs", "add", "add_", "addmm", "baddbmm", "bmm"),
    *("cat", "clamp", "clamp_", "copy_", "div", "div_", "exp", "fill_", "index_add_", "index_select", "log", "mean"),
    *("mm", "mul", "mul_", "neg", "neg_", "pow", "reciprocal_", "relu_", "rsqrt", "sigmoid", "sign", "sqrt", "sqrt_"),
    *("stack", "sub", "sub_", "sum", "tanh", "where", "zero_"),
)
"""Operations that are called by torch's own binding: it takes two microseconds less than the operator's object."""


@dataclass(frozen=True)
class Operations:
    """What :func:`as_list` gives.

    Attributes:
        calls: without arguments, in order.
        result: where the repetition leaves what the step returned.
        n_bytes: of the memory that the list holds.
        memory: whose memory the calls read or write, beside that.
        written: what operations of torch write to outside of it.
        of_constants: the calls, before the others, that are not made each time.
    """

    calls: tuple[Callable[[], Any], ...]
    result: Tensor
    n_bytes: int
    memory: frozenset[int]
    written: tuple[Tensor, ...]
    of_constants: OfConstants

    def writes_only(self, tensors: Iterable[Tensor]) -> bool:
        """Whether nothing else is written to, so that who has a copy of these can undo a repetition."""
        return {storage_of(each) for each in self.written} <= {storage_of(each) for each in tensors}

    def repeat(self) -> Tensor:
        """Do all of it again, on the numbers that parameters, batch and moments have now."""
        with torch.inference_mode():  # nothing is noted for autograd, which takes a twentieth of a small step
            self.of_constants.renew()
            for call in self.calls:
                call()
        return self.result

    def uses(self, tensor: Tensor) -> bool:
        """Whether a call reads or writes the memory of a tensor that was there before."""
        return storage_of(tensor) in self.memory


@contextmanager
def recording() -> Iterator[Recorder]:
    """Record what is called within, in this thread."""
    recorder = Recorder()
    with host_recorded(recorder), Readers(recorder), recorder:
        yield recorder


def as_list(recorder: Recorder, result: Tensor, constants: Sequence[Tensor] = ()) -> Operations | str:
    """What was recorded, or why it cannot be repeated, as a clause.

    Args:
        recorder: of :func:`recording`, which has ended.
        result: tensor that what was recorded returned.
        constants: tensors that are rarely written to, and by operations of torch alone.
    """
    if recorder.reason is not None:
        return recorder.reason
    try:
        return _listed(recorder.calls, result, constants)
    except (RuntimeError, TypeError) as error:  # a tensor without strides, of which there can be no second one
        return f"torch: {error}"


def _listed(calls: Sequence[Call], result: Tensor, constants: Sequence[Tensor]) -> Operations:
    seldom, each_time = on_constants(calls, constants)  # what the first return stays where it is
    memory = _Memory(each_time, result)
    used = frozenset(storage_of(tensor) for call in calls for tensor in call.tensors())
    return Operations(
        calls=tuple(_repeated(call, memory.place) for call in each_time if call.function not in _UNSET),
        result=memory.place(result),
        n_bytes=memory.n_bytes,
        memory=used,
        written=tuple(each for call in calls for each in call.written() if memory.place(each) is each),
        of_constants=OfConstants(constants, [_repeated(call, memory.place) for call in seldom]),
    )


class _Memory:
    """Where the repetition writes what the calls returned: the smallest memory that fits, of what is read no more."""

    def __init__(self, calls: Sequence[Call], result: Tensor) -> None:
        last = {storage_of(tensor): k for k, call in enumerate(calls) for tensor in call.tensors()}
        last[storage_of(result)] = len(calls)
        self._storages: dict[int, torch.UntypedStorage] = {}
        self.n_bytes = 0
        free: list[torch.UntypedStorage] = []
        used: list[tuple[int, torch.UntypedStorage]] = []
        for k, call in enumerate(calls):
            for tensor in call.results:
                n_bytes = tensor.untyped_storage().nbytes()
                fitting = [each for each in free if each.nbytes() >= n_bytes]
                place = min(fitting, key=lambda each: each.nbytes(), default=None)
                if place is None:
                    place = torch.empty(n_bytes, dtype=torch.uint8).untyped_storage()
                    self.n_bytes += n_bytes
                else:
                    free = [each for each in free if each is not place]
                self._storages[storage_of(tensor)] = place
                used.append((last[storage_of(tensor)], place))
            free += [place for end, place in used if end <= k]
            used = [(end, place) for end, place in used if end > k]

    def place(self, tensor: Tensor) -> Tensor:
        """The tensor that stands for it in the repetition: itself where no call returned its memory."""
        storage = self._storages.get(storage_of(tensor))
        if storage is None:
            return tensor
        empty = torch.empty(0, dtype=tensor.dtype)
        return empty.set_(storage, tensor.storage_offset(), tensor.size(), tensor.stride())  # pyright: ignore[reportArgumentType]


def _repeated(call: Call, place: Callable[[Tensor], Tensor]) -> Callable[[], Any]:
    """The call on what stands for its tensors; what it returned is written to its place."""
    arguments, options = mapped(place, call.arguments), mapped_options(place, call.options)
    results = [place(each) for each in call.results]
    if call.is_prepared:
        return call.function(*arguments)
    if not results:
        return partial(_binding(call.function), *arguments, **options)
    if not isinstance(call.function, OpOverload):
        return partial(_copied, call.function, arguments, options, results)
    if call.function in _ZEROS:
        return results[0].zero_
    if call.function is torch.ops.aten.clone.default:
        return partial(results[0].copy_, arguments[0])
    into = _writing(call.function)
    if into is None or len(into.names) != len(results):
        return partial(_copied, call.function, arguments, options, results)
    options = {name: value for name, value in options.items() if name in into.options}
    return partial(_binding(into.function), *arguments, **options, **dict(zip(into.names, results, strict=True)))


def _copied(function: Callable[..., Any], arguments: tuple[Any, ...], options: dict[str, Any], places: list[Tensor]) -> None:
    """Of an operation that cannot write its result into a given tensor."""
    for place, result in zip(places, tensors_in(function(*arguments, **options)), strict=True):
        place.copy_(result)


def _binding(function: Callable[..., Any]) -> Callable[..., Any]:
    """torch's own binding of an operation, where it is one of :data:`_BINDINGS`."""
    if not isinstance(function, OpOverload) or function is torch.ops.aten.sum.out:  # the binding writes no sum of all numbers
        return function
    name = function._schema.name.removeprefix("aten::")
    if name not in _BINDINGS:
        return function
    return getattr(torch, name, None) or getattr(Tensor, name)


@dataclass(frozen=True)
class _Writing:
    """An operation that writes its results into tensors that are given.

    Attributes:
        names: of the arguments that take them, in order.
        options: names of all its other arguments.
    """

    function: OpOverload
    names: tuple[str, ...]
    options: frozenset[str]


@cache
def _writing(function: OpOverload) -> _Writing | None:
    """The overload of the same arguments that writes into given tensors; None where torch has none."""
    wanted = [(each.name, str(each.type)) for each in function._schema.arguments if each.name not in _OF_NEW_TENSORS]
    for name in function._overloadpacket.overloads():
        other: OpOverload = getattr(function._overloadpacket, name)
        arguments = other._schema.arguments
        outs = tuple(each.name for each in arguments if each.is_out)
        if outs and [(each.name, str(each.type)) for each in arguments if not each.is_out] == wanted:
            return _Writing(other, outs, frozenset(each.name for each in arguments if not each.is_out))
    return None


_ZEROS = (torch.ops.aten.new_zeros.default, torch.ops.aten.zeros.default, torch.ops.aten.zeros_like.default)
"""Operations that make a tensor of zeros."""

_UNSET = (
    *(torch.ops.aten.empty.memory_format, torch.ops.aten.empty_strided.default, torch.ops.aten.empty_like.default),
    *(torch.ops.aten.new_empty.default, torch.ops.aten.new_empty_strided.default),
)
"""Operations that only ask for memory."""

_OF_NEW_TENSORS = ("layout", "device", "pin_memory")
"""Arguments that a tensor which is given has settled."""
