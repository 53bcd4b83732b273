"""A number that is in host memory already, read or written without an operation of torch.

A step never waits for a device, and the tests refuse every operation that would (``.item()``, ``.numpy()``), on the processor
too. What lies in the processor's own memory needs no waiting; it is read from its address.

Where the operations of a step are recorded (:mod:`bpfree.numerics.operations`), those of torch are seen. What the host computes
from such a number goes through :func:`by_host` or :func:`update_by_host`, so that it is seen too, and done again each time.
"""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol

import torch
from torch import Tensor

__all__ = ["HostRecorder", "by_host", "host_number", "host_recorded", "host_value", "on_host", "update_by_host"]

_TYPES = {torch.float32: ctypes.c_float, torch.float64: ctypes.c_double, torch.int64: ctypes.c_int64}


def on_host(tensor: Tensor) -> bool:
    """Whether :func:`host_value` may read it: in the processor's memory, of a known format, and nothing is being compiled."""
    return tensor.device.type == "cpu" and tensor.dtype in _TYPES and not torch.compiler.is_compiling()


def host_number(tensor: Tensor) -> Any:
    """A 0-D tensor for which :func:`on_host` is true, as a number of ctypes in the same memory: ``value`` is read and written.

    The tensor must live as long. An operation of torch takes ten times as long as ``value``.
    """
    return _TYPES[tensor.dtype].from_address(tensor.data_ptr())


def host_value(tensor: Tensor) -> float:
    """The value of a 0-D tensor for which :func:`on_host` is true; an int of an int64 tensor."""
    return host_number(tensor).value


class HostRecorder(Protocol):
    """Is told of what the host computes within a step."""

    def host_call(self, function: Callable[..., Tensor], *arguments: Any) -> Tensor:
        """Call ``function(*arguments)`` and note that it was called."""
        ...

    def host_update(self, prepare: Callable[..., Callable[[], None]], *arguments: Any) -> None:
        """Call what ``prepare(*arguments)`` returns, and note ``prepare``."""
        ...


class _Here(threading.local):
    recorder: HostRecorder | None = None


_HERE = _Here()


@contextmanager
def host_recorded(recorder: HostRecorder) -> Iterator[None]:
    """Within, and in this thread, ``recorder`` is told of every :func:`by_host`."""
    before, _HERE.recorder = _HERE.recorder, recorder
    try:
        yield
    finally:
        _HERE.recorder = before


def by_host(function: Callable[..., Tensor], *arguments: Any) -> Tensor:
    """``function(*arguments)``, a new tensor that the host computes from tensors of a step that lie in its memory.

    Args:
        function: its result has the same shape and dtype in each step.
        arguments: tensors, which are read when it is called, and what is the same in every step.
    """
    recorder = _recorder()
    return function(*arguments) if recorder is None else recorder.host_call(function, *arguments)


def update_by_host(prepare: Callable[..., Callable[[], None]], *arguments: Any) -> None:
    """Call what ``prepare(*arguments)`` returns: a change in place, for which the host reads numbers in its memory.

    Args:
        prepare: is called once for many repetitions.
        arguments: tensors, lists of them, and what is the same in every step.
    """
    recorder = _recorder()
    if recorder is None:
        prepare(*arguments)()
    else:
        recorder.host_update(prepare, *arguments)


def _recorder() -> HostRecorder | None:
    return None if torch.compiler.is_compiling() else _HERE.recorder
