"""Dispatch modes without torch's compiler: they are used on eager steps only, and loading it takes more than a second."""

from __future__ import annotations

from torch.utils._python_dispatch import TorchDispatchMode

__all__ = ["eager_only"]


def eager_only(mode: type[TorchDispatchMode]) -> None:
    """Let a mode be entered without loading ``torch._dynamo``.

    torch wraps the handler of every mode into one that, when it is first called, loads the compiler to tell it not to look
    inside. What the wrapper then calls is an attribute of the handler, which is set here to the handler itself. A torch that
    has no such attribute loads its compiler as before.
    """
    handler = getattr(getattr(mode, "__torch_dispatch__", None), "__wrapped__", None)
    if handler is not None and not hasattr(handler, "__dynamo_disable"):
        setattr(handler, "__dynamo_disable", handler)  # a name that Python would mangle in a class only
