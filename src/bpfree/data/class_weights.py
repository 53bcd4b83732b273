"""Weights of classes: a word or one number per class, and what they are on a training split."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from bpfree.errors import UsageError

__all__ = ["BALANCED", "ClassWeight", "as_class_weight", "weights_of"]

BALANCED = "balanced"
"""w_c = n / (K n_c), with n_c of n training examples in class c of K."""

ClassWeight = str | tuple[float, ...] | None
"""``"balanced"``, one number above 0 per class, or None."""


def as_class_weight(given: str | Sequence[float] | None, n_classes: int, name: str) -> ClassWeight:
    """What a caller gave, checked.

    Args:
        n_classes: of the data.
        name: of the data, for messages.

    Raises:
        UsageError: another word, another number of classes, or a weight that is not a finite number above 0.
    """
    if given is None or (isinstance(given, str) and given == BALANCED):
        return given
    cure = f"use {BALANCED!r}, or {n_classes} numbers above 0"
    values = given.tolist() if isinstance(given, np.ndarray | Tensor) else given
    if not isinstance(values, list | tuple):
        raise UsageError(f"class_weight cannot be {given!r}; {cure}")
    if len(values) != n_classes:
        raise UsageError(f"class_weight has {len(values)} numbers and {name} has {n_classes} classes; {cure}")
    for label, weight in enumerate(values):
        number = isinstance(weight, int | float | np.number) and not isinstance(weight, bool)
        if not (number and math.isfinite(weight) and weight > 0):
            raise UsageError(f"class_weight of class {label} is {weight!r}; {cure}")
    return tuple(float(weight) for weight in values)


def weights_of(class_weight: ClassWeight, y: Tensor, n_classes: int, dtype: torch.dtype) -> Tensor | None:
    """w (K,) on the device of the training labels ``y`` (n,) int64; None where there are no weights.

    A class without examples counts as one with a single example: nothing reads its weight.
    """
    if class_weight is None:
        return None
    if isinstance(class_weight, tuple):
        return torch.tensor(class_weight, dtype=dtype, device=y.device)
    counts = torch.bincount(y, minlength=n_classes).clamp_min(1)
    return (len(y) / (n_classes * counts.double())).to(dtype)
