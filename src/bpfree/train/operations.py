"""The operations of a step as a list: recorded while it is made, and done again by one loop without the Python between them.

A recording has the operations of torch in the order in which they were called, those of autograd among them, and what the host
computed (:func:`bpfree.numerics.host.by_host`). Views are made once. What an operation returned in memory of its own is written
into memory that the list holds. Memory that is read no more is used again, so that the list holds about what is alive at once in
the step itself. Parameters, moments, batch and constants stay where they are.

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
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from bpfree.meter.modes import eager_only
from bpfree.numerics.host import host_recorded

__all__ = ["Operations", "record"]

RECORDED_BYTES = 256 << 20
"""A recorder keeps all that a step makes. A step that makes more is not recorded: it would need several times its memory."""

_BINDINGS = (
    *("_log_softmax", "_log_softmax_backward_data", "_softmax", "abs", "add", "add_", "addmm", "baddbmm", "bmm"),
    *("cat", "clamp", "clamp_", "copy_", "div", "div_", "exp", "fill_", "index_add_", "index_select", "log", "mean"),
    *("mm", "mul", "mul_", "neg", "neg_", "pow", "reciprocal_", "relu_", "rsqrt", "sigmoid", "sign", "sqrt", "sqrt_"),
    *("stack", "sub", "sub_", "sum", "tanh", "where", "zero_"),
)
"""Operations that are called by torch's own binding: it takes two microseconds less than the operator's object."""


@dataclass(frozen=True)
class _Call:
    """One call: what it wrote into its arguments, or returned in ``results``.

    Attributes:
        is_prepared: ``function`` returns what is called.
    """

    function: Callable[..., Any]
    arguments: tuple[Any, ...]
    options: dict[str, Any]
    results: tuple[Tensor, ...]
    is_prepared: bool = False

    def tensors(self) -> Iterator[Tensor]:
        """All that it reads or writes."""
        return _tensors((self.arguments, tuple(self.options.values()), self.results))

    def written(self) -> Iterator[Tensor]:
        """Arguments that an operation of torch writes to."""
        if isinstance(self.function, OpOverload):
            for k, name in _writes(self.function):
                yield from _tensors(self.arguments[k] if k < len(self.arguments) else self.options.get(name))


@cache
def _writes(function: OpOverload) -> tuple[tuple[int, str], ...]:
    """Place and name of each argument that it writes to."""
    arguments = enumerate(function._schema.arguments)
    return tuple((k, each.name) for k, each in arguments if each.alias_info is not None and each.alias_info.is_write)


class _Recorder(TorchDispatchMode):
    """Notes each call; it keeps all tensors, so that no memory is used twice while it records."""

    supports_higher_order_operators = True

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[_Call] = []
        self.reason: str | None = None
        self._n_bytes = 0
        self.within_host_call = False

    def __torch_dispatch__(
        self, func: OpOverload, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        options = kwargs or {}
        results = func(*args, **options)
        if self.within_host_call or self.reason is not None:
            return results
        self.reason = _why_not(func, args, options)
        if self.reason is None:
            try:
                self._note_operation(func, args, options, results)
            except NotImplementedError as error:  # a sparse matrix, say, has no memory of its own that could be read
                self.refuse(f"{func}: {error}")
        else:
            self.refuse(self.reason)
        return results

    def _note_operation(self, func: OpOverload, args: tuple[Any, ...], options: dict[str, Any], results: Any) -> None:
        returned = list(_tensors(results))
        given = {_storage(each) for each in _tensors((args, tuple(options.values())))}
        fresh = tuple(each for each in returned if _storage(each) not in given)
        if returned and not fresh and not func._schema.is_mutable:
            return  # another view of what was given: nothing is computed
        self._note(_Call(func, _mapped(Tensor.detach, args), _mapped_options(Tensor.detach, options), fresh))

    def host_call(self, function: Callable[..., Tensor], *arguments: Any) -> Tensor:
        """See :class:`bpfree.numerics.host.HostRecorder`."""
        with self._paused():
            result = function(*arguments)
        if self.reason is None:
            self._note(_Call(function, _mapped(Tensor.detach, arguments), {}, (result,)))
        return result

    def host_update(self, prepare: Callable[..., Callable[[], None]], *arguments: Any) -> None:
        """See :class:`bpfree.numerics.host.HostRecorder`."""
        with self._paused():
            prepare(*arguments)()
        if self.reason is None:
            self._note(_Call(prepare, _mapped(Tensor.detach, arguments), {}, (), is_prepared=True))

    @contextmanager
    def _paused(self) -> Iterator[None]:
        """Operations within are not noted: they belong to a call of the host."""
        self.within_host_call = True
        try:
            yield
        finally:
            self.within_host_call = False

    def _note(self, call: _Call) -> None:
        self.calls.append(call)
        self._n_bytes += sum(each.untyped_storage().nbytes() for each in call.results)
        if self._n_bytes > RECORDED_BYTES:
            self.refuse(f"it makes more than {RECORDED_BYTES} bytes")

    def refuse(self, reason: str) -> None:
        """Note nothing more."""
        self.reason = reason
        self.calls.clear()  # and with them the tensors


@cache
def _tagged(func: OpOverload) -> tuple[bool, bool]:
    """Whether it gives a value to Python, and whether values decide the shape of what it returns."""
    return torch.Tag.data_dependent_output in func.tags, torch.Tag.dynamic_output_shape in func.tags


def _why_not(func: OpOverload, args: tuple[Any, ...], options: dict[str, Any]) -> str | None:
    """Why a step with this call cannot be repeated from a list, as a clause; None if it can."""
    if not isinstance(func, OpOverload):
        return f"{func} calls functions"
    reads, dynamic = _tagged(func)
    if reads:
        return f"it reads a value by {func}"
    if dynamic:
        masked = any(each.dtype in (torch.bool, torch.uint8) for each in _tensors(args[1:]))
        if func is not torch.ops.aten.index.Tensor or masked:
            return f"values decide how much {func} returns"
    if any(each.is_conj() or each.is_neg() for each in _tensors((args, tuple(options.values())))):
        return f"{func} reads numbers that are stored with another sign"
    if any(isinstance(each, torch.Generator) for each in (*args, *options.values())):
        return f"{func} draws from a generator of its own"
    return None


eager_only(_Recorder)

_HANDS_OUT = frozenset(("numpy", "tolist", "__array__", "__dlpack__"))
"""Functions of a tensor that give its numbers to Python without an operation of torch."""


class _Readers(TorchFunctionMode):
    """Refuses a recording of a step that calls one of :data:`_HANDS_OUT`."""

    def __init__(self, recorder: _Recorder) -> None:
        super().__init__()
        self._recorder = recorder

    def __torch_function__(self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None) -> Any:
        name = getattr(func, "__name__", "")
        if name in _HANDS_OUT and not self._recorder.within_host_call:
            self._recorder.refuse(f"it reads values by Tensor.{name}")
        return func(*args, **(kwargs or {}))


def _tensors(given: Any) -> Iterator[Tensor]:
    """Those in nested lists and tuples."""
    if isinstance(given, Tensor):
        yield given
    elif isinstance(given, list | tuple):
        for each in given:
            yield from _tensors(each)


def _mapped(function: Callable[[Tensor], Tensor], given: Any) -> Any:
    """A copy of nested lists and tuples, with ``function`` of their tensors."""
    if isinstance(given, Tensor):
        return function(given)
    return type(given)(_mapped(function, each) for each in given) if isinstance(given, list | tuple) else given


def _mapped_options(function: Callable[[Tensor], Tensor], options: dict[str, Any]) -> dict[str, Any]:
    return {name: _mapped(function, value) for name, value in options.items()}


@dataclass(frozen=True)
class Operations:
    """What :func:`record` gives.

    Attributes:
        calls: without arguments, in order.
        result: where the repetition leaves what the step returned.
        n_bytes: of the memory that the list holds.
        memory: whose memory the calls read or write, beside that.
        written: what operations of torch write to outside of it.
    """

    calls: tuple[Callable[[], Any], ...]
    result: Tensor
    n_bytes: int
    memory: frozenset[int]
    written: tuple[Tensor, ...]

    def writes_only(self, tensors: Iterable[Tensor]) -> bool:
        """Whether nothing else is written to, so that who has a copy of these can undo a repetition."""
        return {_storage(each) for each in self.written} <= {_storage(each) for each in tensors}

    def repeat(self) -> Tensor:
        """Do all of it again, on the numbers that parameters, batch and moments have now."""
        with torch.inference_mode():  # nothing is noted for autograd, which takes a twentieth of a small step
            for call in self.calls:
                call()
        return self.result

    def uses(self, tensor: Tensor) -> bool:
        """Whether a call reads or writes the memory of a tensor that was there before."""
        return _storage(tensor) in self.memory


def record(make: Callable[[], Tensor]) -> tuple[Tensor, Operations | str]:
    """Call ``make`` and record it.

    Returns:
        What it returned, and its operations; or why they cannot be repeated, as a clause.
    """
    recorder = _Recorder()
    with host_recorded(recorder), _Readers(recorder), recorder:
        result = make()
    if recorder.reason is not None:
        return result, recorder.reason
    try:
        return result, _list_of(recorder.calls, result)
    except (RuntimeError, TypeError) as error:  # a tensor without strides, of which there can be no second one
        return result, f"torch: {error}"


def _list_of(calls: Sequence[_Call], result: Tensor) -> Operations:
    memory = _Memory(calls, result)
    used = frozenset(_storage(tensor) for call in calls for tensor in call.tensors())
    repeated = tuple(_repeated(call, memory.place) for call in calls)
    written = tuple(each for call in calls for each in call.written() if memory.place(each) is each)
    return Operations(repeated, memory.place(result), memory.n_bytes, used, written)


class _Memory:
    """Where the repetition writes what the calls returned: the first fit among what is read no more."""

    def __init__(self, calls: Sequence[_Call], result: Tensor) -> None:
        last = {_storage(tensor): k for k, call in enumerate(calls) for tensor in call.tensors()}
        last[_storage(result)] = len(calls)
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
                self._storages[_storage(tensor)] = place
                used.append((last[_storage(tensor)], place))
            free += [place for end, place in used if end <= k]
            used = [(end, place) for end, place in used if end > k]

    def place(self, tensor: Tensor) -> Tensor:
        """The tensor that stands for it in the repetition: itself where no call returned its memory."""
        storage = self._storages.get(_storage(tensor))
        if storage is None:
            return tensor
        empty = torch.empty(0, dtype=tensor.dtype)
        return empty.set_(storage, tensor.storage_offset(), tensor.size(), tensor.stride())  # pyright: ignore[reportArgumentType]


def _storage(tensor: Tensor) -> int:
    return tensor.untyped_storage()._cdata


def _repeated(call: _Call, place: Callable[[Tensor], Tensor]) -> Callable[[], Any]:
    """The call on what stands for its tensors; what it returned is written to its place."""
    arguments, options = _mapped(place, call.arguments), _mapped_options(place, call.options)
    results = [place(each) for each in call.results]
    if call.is_prepared:
        return call.function(*arguments)
    if not results:
        return partial(_binding(call.function), *arguments, **options)
    if not isinstance(call.function, OpOverload):
        return partial(_copied, call.function, arguments, options, results)
    if call.function in _ZEROS:
        return results[0].zero_
    into = _writing(call.function)
    if into is None or len(into.names) != len(results):
        return partial(_copied, call.function, arguments, options, results)
    options = {name: value for name, value in options.items() if name in into.options}
    return partial(_binding(into.function), *arguments, **options, **dict(zip(into.names, results, strict=True)))


def _copied(function: Callable[..., Any], arguments: tuple[Any, ...], options: dict[str, Any], places: list[Tensor]) -> None:
    """Of an operation that cannot write its result into a given tensor."""
    for place, result in zip(places, _tensors(function(*arguments, **options)), strict=True):
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

_OF_NEW_TENSORS = ("layout", "device", "pin_memory")
"""Arguments that a tensor which is given has settled."""
