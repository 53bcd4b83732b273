"""Context managers that turn what a step must not do into an error at the place where it does it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from bpfree.errors import BpfreeError

__all__ = ["BrokenProtocolError", "no_saved_tensors", "no_waiting"]


class BrokenProtocolError(BpfreeError, AssertionError):
    """A step did what its traits, or the protocol, rule out."""


@contextlib.contextmanager
def no_saved_tensors() -> Iterator[None]:
    """Raise as soon as autograd keeps a tensor for a backward pass.

    Raises:
        BrokenProtocolError: in the code that is guarded.
    """

    def pack(tensor: Tensor) -> Tensor:
        raise BrokenProtocolError(
            f"autograd saved a tensor of shape {tuple(tensor.shape)} for a backward pass; the rule claims traits.autograd "
            "false: compute under torch.no_grad(), or say autograd=True in its traits"
        )

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda packed: packed):
        yield


_WAITING = {
    "_local_scalar_dense": "reads a tensor's value (.item(), float(), bool(), or an if on it)",
    "nonzero": "must know how many entries are nonzero",
    "masked_select": "must know how many entries are chosen",
    "equal": "answers with a Python bool (torch.equal)",
    "_unique2": "must know how many values there are",
    "unique_dim": "must know how many values there are",
    "unique_consecutive": "must know how many values there are",
    "is_nonzero": "answers with a Python bool",
}


class _NoReading(TorchFunctionMode):
    """What copies to the host without an operation of its own."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = getattr(func, "__name__", "")
        if name in ("tolist", "numpy", "cpu", "__array__"):
            raise BrokenProtocolError(f"the step waits for the device: Tensor.{name} copies to the host; keep it on the device")
        return func(*args, **(kwargs or {}))


class _NoWaiting(TorchDispatchMode):
    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func._overloadpacket.__name__
        why = _WAITING.get(name)
        if name in ("index", "index_put", "index_put_", "_index_put_impl_"):
            masks = [leaf for leaf in tree_leaves(args[1]) if isinstance(leaf, Tensor)]
            if any(mask.dtype in (torch.bool, torch.uint8) for mask in masks):
                why = "indexes by a mask, and must know how many entries it chooses (use torch.where)"
        if why is not None:
            raise BrokenProtocolError(f"the step waits for the device: aten.{name} {why}; keep it on the device as a 0-D tensor")
        return func(*args, **(kwargs or {}))


@contextlib.contextmanager
def no_waiting() -> Iterator[None]:
    """Raise where the host would wait for the device: seen on the CPU too, by the operations that would.

    Raises:
        BrokenProtocolError: in the code that is guarded.
    """
    with contextlib.ExitStack() as stack:
        if torch.cuda.is_available():
            stack.callback(torch.cuda.set_sync_debug_mode, torch.cuda.get_sync_debug_mode())
            torch.cuda.set_sync_debug_mode("error")
        stack.enter_context(_NoReading())
        stack.enter_context(_NoWaiting())
        yield
