"""What a phase reads: the data as they are, or the features of blocks that do not change, computed once for every example."""

from __future__ import annotations

import dataclasses
import itertools

import psutil
import torch

from bpfree.algorithms import Phase, frozen_features
from bpfree.data import Dataset, Examples
from bpfree.errors import UsageError
from bpfree.nets import Chain
from bpfree.units import format_bytes

__all__ = ["cached_features", "read_by"]

CACHED_AT_ONCE = 500
"""Examples whose features are computed in one batch."""


def read_by(net: Chain, data: Dataset, phase: Phase) -> tuple[Dataset, Phase]:
    """The data that a phase reads, and the phase that reads them.

    Where the phase declares frozen blocks these are their cached features, to be read by the phase with ``cached=True``; else
    ``data`` and ``phase`` as they are, and so too where training batches are augmented and the phase can read examples. To be
    asked when a phase begins, and again when training resumes within one.

    Raises:
        UsageError: the features cannot be cached, see :func:`cached_features`.
    """
    if phase.frozen == 0 or (phase.or_examples and data.varies):
        return data, phase
    return cached_features(net, data, phase.frozen, last_only=phase.last_only), dataclasses.replace(phase, cached=True)


@torch.no_grad()
def cached_features(net: Chain, data: Dataset, n_blocks: int, *, last_only: bool = False) -> Dataset:
    """``data`` with the features of the first blocks as its examples, (n, Σ dᵢ), on its device; without a test split.

    Args:
        last_only: keep those of the last of these blocks alone.

    Raises:
        UsageError: the training batches are augmented, so no two passes see the same features, or the memory does not suffice
            (saying how many bytes are needed and free).
    """
    if data.fixed_batch_size is not None:
        raise UsageError(
            f"features of {data.name} cannot be cached: a loader may give other values in each pass; set cache_features=false, "
            "or use bpfree.data.from_arrays(x, y)"
        )
    if data.augmentation != "none":
        raise UsageError(
            f"features of augmented examples cannot be cached ({data.name}: {data.augmentation}); set cache_features=false, "
            "or augmentation none in the ruleset"
        )
    data = data.without_test()
    first = n_blocks - 1 if last_only else 0
    width = sum(block.n_features for block in list(net)[first:n_blocks])
    needed_bytes = sum(data.n(split) for split in data.splits) * width * net.dtype.itemsize
    free_bytes = torch.cuda.mem_get_info(data.device)[0] if data.device.type == "cuda" else psutil.virtual_memory().available
    if needed_bytes > free_bytes:
        raise UsageError(
            f"the features of {data.name} take {format_bytes(needed_bytes)}, and {format_bytes(free_bytes)} are free; "
            "set cache_features=false"
        )
    was_training = net.training
    net.eval()
    splits = {}
    for split in data.splits:
        n = data.n(split)
        x = torch.empty(n, width, dtype=net.dtype, device=data.device)
        y = torch.empty(n, dtype=torch.int64, device=data.device)
        size = min(CACHED_AT_ONCE, n)
        for k, batch in enumerate(data.batches(split, size, shuffle=False)):
            read = itertools.islice(frozen_features(net, batch.x, n_blocks), first, None)
            place = slice(k * size, k * size + len(batch.y))
            x[place], y[place] = torch.cat(list(read), dim=1), batch.y
        splits[split] = Examples(x, y)
    net.train(was_training)
    return dataclasses.replace(data.stored(), in_shape=(width,), splits=splits, normalisation=None)
