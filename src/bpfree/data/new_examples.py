"""Examples without labels, for a model that is trained: read as :func:`bpfree.data.from_arrays` reads those to train on."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor

from bpfree.data.array_kinds import Array, as_array
from bpfree.data.axes import as_examples
from bpfree.data.standardise import check_finite
from bpfree.errors import DataError

__all__ = ["new_examples"]


def new_examples(x: Any, name: str, in_shape: tuple[int, ...] | None = None, channels: str = "auto") -> Tensor:
    """(n, features) or (n, c, h, w) on the CPU, as they are stored, of arrays (numpy, torch, pandas or lists).

    Args:
        name: of the data, for messages.
        in_shape: of one example, as a model takes it. It decides how four axes are read where ``channels`` does not and only one
            way gives it.
        channels: see :func:`bpfree.data.from_arrays`.

    Raises:
        DataError: no numbers, no example, values that are not finite, or axes that can be read in two ways.
    """
    x = as_array(x, "x", name)
    if x.size == 0 or x.ndim == 0:
        raise DataError(f"{name}: x is empty, of shape {x.shape}; give at least one example")
    if in_shape is not None:
        _check_axes(x, in_shape, name)
    if channels == "auto" and in_shape is not None and x.ndim == 4:
        fitting = [order for order, shape in _readings(x).items() if shape == tuple(in_shape)]
        channels = fitting[0] if len(fitting) == 1 else channels
    x = as_examples(x, channels, name)
    check_finite(x, name)
    return torch.from_numpy(np.require(x, requirements=["C", "W"]))  # files that are mapped and columns of pandas are read-only


def _check_axes(x: Array, in_shape: tuple[int, ...], name: str) -> None:
    """Refuse one example without the axis that counts examples, and images that were made a table."""
    grey = len(in_shape) == 3 and in_shape[0] == 1  # its examples may come without their axis of channels
    if x.shape == (in_shape[1:] if grey else in_shape):
        raise DataError(f"{name}: x has shape {x.shape}, which is one example; give x[None], a batch of one")
    if len(in_shape) > 1 and x.ndim == 2 and x.shape[1] == math.prod(in_shape):
        sizes = ", ".join(map(str, in_shape))
        raise DataError(f"{name}: examples of shape {in_shape} are needed, got {x.shape[1:]}; give x.reshape(-1, {sizes})")


def _readings(x: Array) -> dict[str, tuple[int, ...]]:
    a, b, c = x.shape[1:]
    return {"first": (a, b, c), "last": (c, a, b)}
