"""Notes the operations of torch that a step calls, those of autograd among them, and what the host computes in it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch._ops import OpOverload
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from bpfree.numerics.calls import Call, mapped, mapped_options, storage_of, tensors_in
from bpfree.numerics.modes import eager_only

__all__ = ["RECORDED_BYTES", "Readers", "Recorder"]

RECORDED_BYTES = 256 << 20
"""A recorder keeps all that a step makes. A step that makes more is not recorded: it would need several times its memory."""


class Recorder(TorchDispatchMode):
    """Notes each call; it keeps all tensors, so that no memory is used twice while it records."""

    supports_higher_order_operators = True

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[Call] = []
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
        returned = list(tensors_in(results))
        given = {storage_of(each) for each in tensors_in((args, tuple(options.values())))}
        fresh = tuple(each for each in returned if storage_of(each) not in given)
        if returned and not fresh and not func._schema.is_mutable:
            return  # another view of what was given: nothing is computed
        self._note(Call(func, mapped(Tensor.detach, args), mapped_options(Tensor.detach, options), fresh))

    def host_call(self, function: Callable[..., Tensor], *arguments: Any) -> Tensor:
        """See :class:`bpfree.numerics.host.HostRecorder`."""
        with self._paused():
            result = function(*arguments)
        if self.reason is None:
            self._note(Call(function, mapped(Tensor.detach, arguments), {}, (result,)))
        return result

    def host_update(self, prepare: Callable[..., Callable[[], None]], *arguments: Any) -> None:
        """See :class:`bpfree.numerics.host.HostRecorder`."""
        with self._paused():
            prepare(*arguments)()
        if self.reason is None:
            self._note(Call(prepare, mapped(Tensor.detach, arguments), {}, (), is_prepared=True))

    @contextmanager
    def _paused(self) -> Iterator[None]:
        """Operations within are not noted: they belong to a call of the host."""
        self.within_host_call = True
        try:
            yield
        finally:
            self.within_host_call = False

    def _note(self, call: Call) -> None:
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
        masked = any(each.dtype in (torch.bool, torch.uint8) for each in tensors_in(args[1:]))
        if func is not torch.ops.aten.index.Tensor or masked:
            return f"values decide how much {func} returns"
    if any(each.is_conj() or each.is_neg() for each in tensors_in((args, tuple(options.values())))):
        return f"{func} reads numbers that are stored with another sign"
    if any(isinstance(each, torch.Generator) for each in (*args, *options.values())):
        return f"{func} draws from a generator of its own"
    return None


eager_only(Recorder)

_HANDS_OUT = frozenset(("numpy", "tolist", "__array__", "__dlpack__"))
"""Functions of a tensor that give its numbers to Python without an operation of torch."""


class Readers(TorchFunctionMode):
    """Refuses a recording of a step that calls one of :data:`_HANDS_OUT`."""

    def __init__(self, recorder: Recorder) -> None:
        super().__init__()
        self._recorder = recorder

    def __torch_function__(self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None) -> Any:
        name = getattr(func, "__name__", "")
        if name in _HANDS_OUT and not self._recorder.within_host_call:
            self._recorder.refuse(f"it reads values by Tensor.{name}")
        return func(*args, **(kwargs or {}))
