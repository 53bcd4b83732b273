"""What Cascaded-Forward keeps: for a block its predictor, the sums of a ridge, the feedback; for all examples their features."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import TYPE_CHECKING

import psutil
import torch
from torch import Tensor, nn

from bpfree.algorithms._closed_form import block_activity
from bpfree.algorithms._count import StepCount
from bpfree.algorithms._state import Optimiser, Slot
from bpfree.data import Dataset, Examples
from bpfree.errors import UsageError
from bpfree.nets import Chain
from bpfree.numerics.ridge import ridge_solution
from bpfree.units import format_bytes

if TYPE_CHECKING:
    from bpfree.algorithms.cascaded_forward.rule import CascadedForward

__all__ = ["CascadeSlot", "cached_features", "features_of", "split_features"]

CACHED_AT_ONCE = 500
"""Examples whose features are computed in one batch."""


class CascadeSlot(Slot):
    """A predictor that starts at 0, and what trains it and its block.

    Attributes:
        block_optimiser: of the block (the last one's also of the net's output), where blocks learn.
        feedback: (classes, features), rows of length 1, where a block learns by feedback.
        gram, cross: sums over batches, where the predictor is a ridge solution.
        unsolved: batches in the sums since the last solution; the host may read it.
    """

    def __init__(self, rule: CascadedForward, net: Chain, k: int, generator: torch.Generator) -> None:
        width = net[k].n_features
        projection = nn.Parameter(torch.zeros(net.n_classes, width, dtype=net.dtype, device=net.device))
        by_steps = rule.predictor != "ridge"
        super().__init__(rule._hyper(net), rule._optimiser([projection]) if by_steps else None, projection)
        self.unsolved = StepCount()
        self.block_optimiser: Optimiser
        self.feedback: Tensor
        self.gram: Tensor
        self.cross: Tensor
        last = k == len(net) - 1
        if rule.blocks == "dfa":
            parameters: list[Tensor] = [*net[k].parameters(), *(net.output.parameters() if last else ())]
            self.block_optimiser = rule._optimiser(parameters, lr=rule.block_lr, weight_decay=rule.block_weight_decay)
            if not last:
                feedback = torch.empty_like(projection, requires_grad=False).normal_(generator=generator)
                self.register_buffer("feedback", feedback / feedback.norm(dim=1, keepdim=True))
        if not by_steps:
            dtype = torch.float64 if rule.sums == "float64" or net.dtype == torch.float64 else torch.float32
            self.register_buffer("gram", torch.zeros(width, width, dtype=dtype, device=net.device))
            self.register_buffer("cross", torch.zeros(width, net.n_classes, dtype=dtype, device=net.device))

    def solve(self) -> None:
        """Put the ridge solution of the sums into the predictor, if they have changed since."""
        if self.unsolved.value > 0:
            solution = ridge_solution(self.gram, self.cross, self.hyper.ridge)
            self.projection.copy_(solution.t())
            self.unsolved.steps.zero_()


def features_of(net: Chain, x: Tensor, last: int) -> Iterator[Tensor]:
    """Features (n, dᵢ) of the frozen blocks 0 to ``last``, one at a time: each may be freed before the next is computed."""
    for block in list(net)[: last + 1]:
        x = block_activity(block, x)
        yield block.features(x)


def split_features(net: Chain, x: Tensor, last: int) -> Iterator[Tensor]:
    """The same from rows of a cache, (n, Σ dᵢ)."""
    yield from x.split([block.n_features for block in list(net)[: last + 1]], dim=1)


@torch.no_grad()
def cached_features(net: Chain, data: Dataset, last: int) -> Dataset:
    """``data`` with the features of blocks 0 to ``last`` as its examples, (n, Σ dᵢ), on its device; without a test split.

    Raises:
        UsageError: the training batches are augmented, so no two passes see the same features, or the memory does not suffice
            (saying how many bytes are needed and free).
    """
    if data.augmentation != "none":
        raise UsageError(
            f"cascaded-forward: features of augmented examples cannot be cached ({data.name}: {data.augmentation}); set "
            " cache_features=false, or augmentation none in the ruleset"
        )
    data = data.without_test()
    width = sum(block.n_features for block in list(net)[: last + 1])
    needed_bytes = sum(data.n(split) for split in data.splits) * width * net.dtype.itemsize
    free_bytes = torch.cuda.mem_get_info(data.device)[0] if data.device.type == "cuda" else psutil.virtual_memory().available
    if needed_bytes > free_bytes:
        raise UsageError(
            f"cascaded-forward: the features of {data.name} take {format_bytes(needed_bytes)}, and {format_bytes(free_bytes)} "
            "are free; set cache_features=false"
        )
    was_training = net.training
    net.eval()
    splits = {}
    for split, examples in data.splits.items():
        x = torch.empty(len(examples.y), width, dtype=net.dtype, device=data.device)
        size = min(CACHED_AT_ONCE, len(examples.y))
        for k, batch in enumerate(data.batches(split, size, shuffle=False)):
            x[k * size : k * size + len(batch.y)] = torch.cat(list(features_of(net, batch.x, last)), dim=1)
        splits[split] = Examples(x, examples.y)
    net.train(was_training)
    return dataclasses.replace(data, in_shape=(width,), splits=splits, normalisation=None)
