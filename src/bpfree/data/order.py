"""In which order a pass reads examples, and how many batches are made at once."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["batches_ahead", "grouped", "pass_order"]

AHEAD_BYTES = 16 * 2**20
"""Of the batches that are made at once on a GPU."""

AHEAD_BYTES_OF_PROCESSOR = 2**20
"""The same on a processor. Between steps the code that makes batches is no longer in the first cache, and runs half as fast: few
large groups are better, and this size still is in the second or third cache when it is read."""

ALIGNED = 64
"""Bytes at a multiple of which torch places a tensor on a processor. Products of what lies elsewhere may round otherwise."""


def pass_order(n: int, draws: int, part: tuple[int, int], *, shuffle: bool) -> Tensor | None:
    """Which of ``n`` examples a pass reads, in its order, on the CPU; None for all as they are stored.

    Args:
        draws: key of the draw.
        part: (rank, world): every ``world``-th of the order, from ``rank`` on.
    """
    rank, world = part
    order = None
    if shuffle:
        # Drawn on the CPU, whose generator gives the same order on every machine, and moved once a pass.
        order = torch.randperm(n, generator=torch.Generator().manual_seed(draws))
    if world > 1:
        order = (torch.arange(n) if order is None else order)[rank::world]
    return order


def grouped(n_batches: int, first: int, at_once: int, *, of_one_size: bool) -> list[tuple[int, int]]:
    """Batches from number ``first`` on that are made together, as (begin, end).

    Args:
        of_one_size: the last batch of all, which may be smaller, is a group of its own: where something is drawn for examples by
            their places in a batch.
    """
    groups = []
    while first < n_batches:
        end = min(first + at_once, n_batches)
        if of_one_size and end == n_batches and first < n_batches - 1:
            end -= 1
        groups.append((first, end))
        first = end
    return groups


def batches_ahead(device: torch.device, batch_bytes: int) -> int:
    """Batches that are made at once, since making one of a small net's takes as long as some of its kernels.

    On a GPU, where it is some twenty kernels that the host must launch, as many as fill :data:`AHEAD_BYTES`. On a processor as
    many as fill :data:`AHEAD_BYTES_OF_PROCESSOR`, if each of them is aligned as by itself.
    """
    if device.type != "cpu":
        return max(1, AHEAD_BYTES // batch_bytes)
    return max(1, AHEAD_BYTES_OF_PROCESSOR // batch_bytes) if batch_bytes % ALIGNED == 0 else 1
