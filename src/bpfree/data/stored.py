"""A split as it is stored, and how its values are normalised."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["Examples", "Normalisation"]


@dataclass(frozen=True, eq=False)
class Examples:
    """One split as it is stored: ``x`` (n, \\*in_shape) uint8 or float32, ``y`` (n,) int64."""

    x: Tensor
    y: Tensor


@dataclass(frozen=True, eq=False)
class Normalisation:
    """``(x - shift) * factor``: float64, in units of what is stored, broadcastable against a batch of it."""

    shift: Tensor
    factor: Tensor

    @classmethod
    def of(cls, mean: tuple[float, ...], std: tuple[float, ...], largest: float) -> Normalisation:
        """Of published constants: per channel, for values divided by ``largest`` (255 for pixels)."""
        shape = (len(mean), 1, 1)
        shift = torch.tensor(mean, dtype=torch.float64).reshape(shape) * largest
        return cls(shift, 1.0 / (torch.tensor(std, dtype=torch.float64).reshape(shape) * largest))
