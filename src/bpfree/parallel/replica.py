"""Keeping net and state of all ranks the same: who changed a tensor sends it to the others.

What was changed is seen by sums over the bits, so nothing is assumed about which rank owns what, and a rule that is not as local
as it says is noticed: no tensor may have been changed by two ranks. (torch's own count of writes misses fused kernels.)
"""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import sha256
from typing import Any

import torch
from torch import Tensor

from bpfree.algorithms import State, named_tensors
from bpfree.errors import UsageError
from bpfree.nets import Chain
from bpfree.numerics.whole import whole_numbers
from bpfree.parallel.group import Ranks

__all__ = ["Replica", "sums_of_bits"]

COLUMNS = 1024
"""Sums that are taken of a tensor, each over every so many numbers."""


class Replica:
    """Net and state of this rank, and what they were when all ranks last had the same."""

    def __init__(self, ranks: Ranks, net: Chain, state: State[Any]) -> None:
        self._ranks = ranks
        self._tensors = dict(named_tensors(net, state))
        self._steps = next(name for name, tensor in self._tensors.items() if tensor.data_ptr() == state.count.steps.data_ptr())
        self._known: dict[str, Tensor] = {}
        self._see(self._tensors)

    def changed(self) -> list[str]:
        """Names of the tensors that differ from what all ranks last had."""
        return [name for name, tensor in self._tensors.items() if not torch.equal(sums_of_bits(tensor), self._known[name])]

    def spread_first(self) -> None:
        """Give what the first rank has changed to all others."""
        names = self._ranks.broadcast(self.changed() if self._ranks.leads else [])
        self._send(dict.fromkeys(names, 0))

    def spread_all(self) -> None:
        """Give everything that the first rank has to all others."""
        self._send(dict.fromkeys(self._tensors, 0))

    def spread(self, length: int | None = None) -> None:
        """Give what each rank has changed to all others.

        Args:
            length: of the pipelines, where there are several: ranks of one place in theirs must have changed the same.

        Raises:
            UsageError: two ranks changed the same tensor, or ranks of one place made another one of it.
        """
        length = length or self._ranks.size
        mine = {name: _digest(sums_of_bits(self._tensors[name])) for name in self.changed() if name != self._steps}
        of_all = self._ranks.gather(mine)  # without the count of steps, which is the same in every rank
        owners: dict[str, int] = {}
        for rank, digests in enumerate(of_all):
            for name, digest in digests.items():
                owner = owners.setdefault(name, rank)
                if owner != rank and owner % length != rank % length:
                    raise UsageError(
                        f"ranks {owner} and {rank} both changed {name}: the rule is not local, so it cannot be trained "
                        "layer-parallel"
                    )
                if of_all[owner][name] != digest:
                    raise _unequal(owner, rank, name)
        for name, owner in owners.items():
            missing = next((rank for rank in range(owner % length, self._ranks.size, length) if name not in of_all[rank]), None)
            if missing is not None:
                raise _unequal(owner, missing, name)
        self._send(owners)
        self._see([self._steps])

    def check_equal(self) -> None:
        """All ranks have made the same steps, and must have the same net and state.

        Raises:
            UsageError: a tensor differs.
        """
        self._see(self._tensors)
        digests = {name: _digest(sums) for name, sums in self._known.items()}
        first, *others = self._ranks.gather(digests)
        for rank, other in enumerate(others, start=1):
            for name, value in first.items():
                if other[name] != value:
                    raise _unequal(0, rank, name)

    def _send(self, owners: dict[str, int]) -> None:
        for name, rank in owners.items():
            self._ranks.broadcast_tensor(self._tensors[name], rank)
        self._see(owners)

    def _see(self, names: Iterable[str]) -> None:
        for name in names:
            self._known[name] = sums_of_bits(self._tensors[name])


def _unequal(one: int, other: int, name: str) -> UsageError:
    return UsageError(
        f"ranks {one} and {other} differ in {name} after the same steps: the rule changes it by the rows of its own process "
        "alone, so it cannot be trained data-parallel; train in one process"
    )


def _digest(sums: Tensor) -> str:
    return sha256(sums.cpu().numpy().tobytes()).hexdigest()


def sums_of_bits(tensor: Tensor) -> Tensor:
    """(at most 1024,) int64: sums over the numbers at every 1024th place, read as integers; they wrap.

    A tensor that was trained on has other sums, but for a chance of about one in 2³² for each of them.
    """
    numbers = whole_numbers(tensor)
    rest = len(numbers) % COLUMNS
    whole = numbers[: len(numbers) - rest].reshape(-1, COLUMNS)
    sums = whole.sum(0, dtype=torch.int64) if len(whole) else torch.zeros(COLUMNS, dtype=torch.int64, device=tensor.device)
    sums[:rest] += numbers[len(numbers) - rest :]
    return sums
