"""Handing a carry to the next rank: its tensors one after another, without waiting, at most two batches on the way.

What a carry looks like (its tree, shapes, strides and constants) depends on the phase and the size of a batch alone. It is sent
once for each of these, then only numbers are. A tensor arrives in the memory layout that it had, since kernels round by layout.
"""

from __future__ import annotations

import warnings
from collections import deque
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.utils import _pytree as pytree

from bpfree.errors import UsageError
from bpfree.numerics.handover import Handover
from bpfree.parallel.group import lost_rank

__all__ = ["Receiver", "Sender"]

ON_THE_WAY = 2
"""Batches that a rank may be ahead of the next one, beside the one that it computes."""


@dataclass(frozen=True)
class _Leaf:
    """A tensor to come, or a constant.

    Attributes:
        shape, stride, dtype: None where it is a constant.
        handover: whether the tensor is handed over.
    """

    shape: tuple[int, ...] | None
    stride: tuple[int, ...] | None
    dtype: torch.dtype | None
    handover: bool = False
    constant: object = None


@dataclass(frozen=True)
class _Form:
    """What a carry looks like."""

    tree: Any
    leaves: tuple[_Leaf, ...]


def _taken_apart(carry: Any) -> tuple[list[Tensor], _Form]:
    values, tree = pytree.tree_flatten(carry)
    tensors, leaves = [], []
    for value in values:
        handed = isinstance(value, Handover)
        tensor = value.take() if handed else value
        if not isinstance(tensor, Tensor):
            leaves.append(_Leaf(None, None, None, constant=tensor))
            continue
        dense = _is_dense(tensor)
        sent = tensor.detach() if dense else tensor.detach().contiguous()
        leaves.append(_Leaf(tuple(sent.shape), tuple(sent.stride()), sent.dtype, handed))
        tensors.append(_flat(sent))
    return tensors, _Form(tree, tuple(leaves))


def _is_dense(tensor: Tensor) -> bool:
    """Whether its numbers fill one stretch of memory, each of them once."""
    following = 1
    for stride, size in sorted((stride, size) for stride, size in zip(tensor.stride(), tensor.shape, strict=True) if size != 1):
        if stride != following:
            return False
        following *= size
    return True


def _flat(tensor: Tensor) -> Tensor:
    """The same memory in its own order."""
    return torch.as_strided(tensor, (tensor.numel(),), (1,), tensor.storage_offset())


class Sender:
    """The way to the next rank."""

    def __init__(self, to: int, device: torch.device) -> None:
        self._to, self._device = to, device
        self._forms: dict[Hashable, _Form] = {}
        self._moving: deque[tuple[list[Any], list[Tensor]]] = deque()

    def send(self, kind: Hashable, carry: Any) -> None:
        """Hand on; waits while more than :data:`ON_THE_WAY` batches have not arrived.

        Args:
            kind: what the form of the carry depends on.
        """
        tensors, form = _taken_apart(carry)
        if kind not in self._forms:
            self._forms[kind] = form
            with lost_rank():
                dist.send_object_list([form], dst=self._to, device=self._device)
        elif self._forms[kind] != form:
            raise UsageError(
                "what a block hands on must depend on the phase and the size of the batch alone, so that it can be sent to "
                "another rank; train in one process"
            )
        while len(self._moving) >= ON_THE_WAY:
            self._wait_for_first()
        with lost_rank():
            works = [dist.isend(tensor, dst=self._to) for tensor in tensors if tensor.numel()]
        self._moving.append((works, tensors))  # the tensors must live until they have arrived

    def finish(self) -> None:
        """Wait until everything has arrived."""
        while self._moving:
            self._wait_for_first()

    def _wait_for_first(self) -> None:
        works, _ = self._moving.popleft()
        with lost_rank():
            for work in works:
                work.wait()


@dataclass(frozen=True)
class _Expected:
    works: list[Any]
    values: list[Any]
    tree: Any


class Receiver:
    """The way from the rank before."""

    def __init__(self, source: int, device: torch.device) -> None:
        self._from, self._device = source, device
        self._forms: dict[Hashable, _Form] = {}
        self._expected: deque[_Expected] = deque()

    def expect(self, kind: Hashable) -> None:
        """Let the next carry come in while something else is computed. The first of a kind is waited for, to learn its form."""
        if kind not in self._forms:
            box: list[Any] = [None]
            with lost_rank(), warnings.catch_warnings():
                warnings.simplefilter("ignore", FutureWarning)  # torch's own, on how it reads a tree's form
                dist.recv_object_list(box, src=self._from, device=self._device)
            self._forms[kind] = box[0]
        form, works, values = self._forms[kind], [], []
        for leaf in form.leaves:
            if leaf.shape is None or leaf.stride is None:
                values.append(leaf.constant)
                continue
            tensor = torch.empty_strided(leaf.shape, leaf.stride, dtype=leaf.dtype, device=self._device)
            if tensor.numel():
                with lost_rank():
                    works.append(dist.irecv(_flat(tensor), src=self._from))
            values.append(Handover(tensor) if leaf.handover else tensor)
        self._expected.append(_Expected(works, values, form.tree))

    def take(self) -> Any:
        """The first carry that was expected; waits until it is there."""
        expected = self._expected.popleft()
        with lost_rank():
            for work in expected.works:
                work.wait()
        return pytree.tree_unflatten(expected.values, expected.tree)
