"""Which rank trains which stages: neighbours together, so that the most loaded rank has as little as possible to multiply."""

from __future__ import annotations

import copy
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from typing import Any

import torch

from bpfree.algorithms import Stages, State
from bpfree.data import Batch
from bpfree.errors import UsageError
from bpfree.meter import count_flops
from bpfree.nets import Chain

__all__ = ["shares_of", "stage_flops"]


@torch.no_grad()
def stage_flops(stages: Stages[Any], net: Chain, state: State[Any], batch: Batch) -> list[int]:
    """FLOPs of each stage on a batch, counted on copies; entering belongs to the first, leaving to the last.

    Raises:
        FlopCountError: an operation that multiplies matrices has no formula.
    """
    twin, twin_state = copy.deepcopy((net, state))
    box: list[Any] = [None]

    def enter_and_run(index: int) -> torch.Tensor:
        if index == 0:
            box[0] = stages.enter(twin, twin_state, batch)
        box[0], _ = stages.run(index, twin, twin_state, batch, box[0])
        if index == len(stages.blocks) - 1:
            stages.leave(twin, twin_state, batch, box[0])
        return twin.output.weight.detach().clone()  # a count that saw no operation at all is refused

    return [count_flops(lambda index=index: enter_and_run(index)) for index in range(len(stages.blocks))]


def shares_of(costs: Sequence[int], n_ranks: int) -> list[range]:
    """Stages of each rank, in order and without gaps: the partition whose largest sum of costs is least.

    Of several such partitions it is the one whose first ranks have least. Every rank has at least one stage, as long as there are
    enough: with fewer stages than ranks (the first phases of a staged training) the last ranks have none.

    Raises:
        UsageError: there is no rank.
    """
    if n_ranks < 1:
        raise UsageError(f"a share needs at least one rank, got {n_ranks}")
    n = len(costs)
    used = min(n_ranks, max(n, 1))
    sums = [0]
    for cost in costs:
        sums.append(sums[-1] + cost)
    shares, first = [], 0
    for left in range(used, 0, -1):
        end = n if left == 1 else _first_end(sums, first, left)
        shares.append(range(first, end))
        first = end
    return shares + [range(n, n)] * (n_ranks - used)


def _first_end(sums: Sequence[int], first: int, left: int) -> int:
    """Where the first of ``left`` shares of the stages from ``first`` on ends: as early as their least largest sum allows."""
    n, low = len(sums) - 1, max(sums[k + 1] - sums[k] for k in range(first, len(sums) - 1))
    high = sums[n] - sums[first]
    while low < high:  # the least largest sum: whether one is enough is found by filling shares one after another
        middle = (low + high) // 2
        low, high = (low, middle) if _filled(sums, first, left, middle) else (middle + 1, high)
    end = n
    for _ in range(left - 1):  # the other shares, filled from the last one backwards, leave the first as little as possible
        end = bisect_left(sums, sums[end] - low)
    return min(max(end, first + 1), n - left + 1)


def _filled(sums: Sequence[int], first: int, left: int, most: int) -> bool:
    """Whether ``left`` shares of at most ``most`` hold all stages from ``first`` on."""
    for _ in range(left):
        first = bisect_right(sums, sums[first] + most) - 1
        if first == len(sums) - 1:
            return True
    return False
