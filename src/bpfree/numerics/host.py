"""A number that is in host memory already, read or counted up without an operation of torch.

A step never waits for a device, and the tests refuse every operation that would (``.item()``, ``.numpy()``), on the processor
too. What lies in the processor's own memory needs no waiting; it is read from its address.
"""

from __future__ import annotations

import ctypes

import torch
from torch import Tensor

__all__ = ["count_up", "host_value", "on_host"]

_TYPES = {torch.float32: ctypes.c_float, torch.float64: ctypes.c_double, torch.int64: ctypes.c_int64}


def on_host(tensor: Tensor) -> bool:
    """Whether :func:`host_value` may read it: in the processor's memory, of a known format, and nothing is being compiled."""
    return tensor.device.type == "cpu" and tensor.dtype in _TYPES and not torch.compiler.is_compiling()


def host_value(tensor: Tensor) -> float:
    """The value of a 0-D tensor for which :func:`on_host` is true; an int of an int64 tensor."""
    return _TYPES[tensor.dtype].from_address(tensor.data_ptr()).value


def count_up(tensor: Tensor) -> None:
    """Add 1 to a 0-D tensor for which :func:`on_host` is true, in place; an operation of torch takes ten times as long."""
    _TYPES[tensor.dtype].from_address(tensor.data_ptr()).value += 1
