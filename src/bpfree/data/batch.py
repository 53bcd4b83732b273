"""What a step reads."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

__all__ = ["Batch"]


@dataclass(frozen=True, eq=False)
class Batch:
    """Some examples, ready for a step.

    Attributes:
        x: (n, \\*in_shape), floating, normalised; its memory is not shared, so an algorithm may write into it.
        y: (n,) int64, labels from 0 to n_classes - 1.
        key: 0-D int64 on the device, ``stream_key(seed, pass_index, batch_index)``: what is random inside a step is drawn from it
            by :mod:`bpfree.numerics.streams`.
        weight: (n,) floating, above 0: how many times each example counts in the losses, of which only the ratios matter; None:
            each counts once. Training batches of :meth:`Dataset.weighted` have it.
    """

    x: Tensor
    y: Tensor
    key: Tensor
    weight: Tensor | None = None
