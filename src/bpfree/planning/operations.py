"""The operations of a call: which kernel, on tensors of which shapes and layouts; each can be run again by itself.

An operation is known by its text, so that the same one of two rules, or of two steps, is measured once.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

from bpfree.numerics.modes import eager_only

__all__ = ["Operation", "operations_of"]

_VIEWS = frozenset(
    [
        "alias",
        "as_strided",
        "detach",
        "diagonal",
        "expand",
        "lift_fresh",
        "permute",
        "select",
        "slice",
        "split",
        "split_with_sizes",
        "squeeze",
        "t",
        "transpose",
        "unbind",
        "unsqueeze",
        "view",
        "_unsafe_view",
        "unfold",
    ]
)
"""Operators that move no numbers: one of them takes the same time whatever the shapes."""


@dataclass(frozen=True)
class Like:
    """A tensor, without its numbers."""

    shape: tuple[int, ...]
    stride: tuple[int, ...]
    dtype: torch.dtype

    @classmethod
    def of(cls, tensor: Tensor) -> Like:
        """Of a tensor, fake or real."""
        return cls(tuple(tensor.shape), tuple(tensor.stride()), tensor.dtype)

    def __repr__(self) -> str:
        return f"{str(self.dtype).removeprefix('torch.')}{list(self.shape)}/{list(self.stride)}"

    def real(self) -> Tensor:
        """Such a tensor: numbers near 0.5, which no kernel treats apart; integers and truth values are 0, an index everywhere."""
        last = sum((n - 1) * step for n, step in zip(self.shape, self.stride, strict=True)) if 0 not in self.shape else 0
        numbers = torch.zeros(last + 1, dtype=self.dtype)  # of an expanded tensor fewer than it shows
        if self.dtype.is_floating_point:
            numbers.uniform_(0.25, 0.75)
        return numbers.as_strided(self.shape, self.stride)


@dataclass(frozen=True, eq=False)
class Operation:
    """One operator with its arguments; compared by its text.

    Attributes:
        text: the operator and its arguments; of a view, which costs the same on all shapes, the operator alone.
        operator: what torch dispatches.
        arguments: positional and named, :class:`Like` in the place of tensors.
    """

    text: str
    operator: Callable[..., Any] = field(repr=False)
    arguments: tuple[Any, Any] = field(repr=False)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Operation) and other.text == self.text

    def __hash__(self) -> int:
        return hash(self.text)

    @property
    def argument_bytes(self) -> int:
        """Of the tensors that it is given."""
        likes = [leaf for leaf in tree_leaves(self.arguments) if isinstance(leaf, Like)]
        return sum(torch.Size(like.shape).numel() * like.dtype.itemsize for like in likes)

    def prepared(self) -> Callable[[], object]:
        """A call on new real tensors; may be repeated."""
        args, kwargs = tree_map(lambda leaf: leaf.real() if isinstance(leaf, Like) else leaf, self.arguments)
        return lambda: self.operator(*args, **kwargs)


class _Recorder(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()
        self.counts: Counter[Operation] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        arguments = tree_map(lambda leaf: Like.of(leaf) if isinstance(leaf, Tensor) else leaf, (args, kwargs))
        name = func._overloadpacket.__name__
        text = name if name in _VIEWS else re.sub(r"<torch\._C\.Generator.*?>", "generator", f"{func}{arguments}")
        self.counts[Operation(text, func, arguments)] += 1
        return func(*args, **kwargs)


eager_only(_Recorder)


def operations_of(call: Callable[[], object]) -> Counter[Operation]:
    """The operations that a call dispatches, with how often each occurs; the call is run."""
    with _Recorder() as recorder:
        call()
    return recorder.counts
