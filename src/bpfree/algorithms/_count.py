"""A count of steps that the host may read without waiting for a device.

What a rule does every k-th step (orthogonalise, refresh a feedback matrix) is decided by the host, so the count must be known
there; and it must be saved, loaded and reset with the state, in place. Hence a 0-D int64 buffer that *stays in host memory
when the state moves to a device*, read and advanced through its NumPy view: no torch operation, no synchronisation. It belongs
outside what is compiled or captured, as does the work that it decides on.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

__all__ = ["StepCount"]


class StepCount(nn.Module):
    """Steps that were done since the state was made or reset."""

    def __init__(self) -> None:
        super().__init__()
        self.steps: Tensor
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))
        self._view = self.steps.numpy()  # the same memory

    def __getstate__(self) -> dict[str, Any]:
        """Without the view, which a copy could not share with its buffer."""
        return {name: value for name, value in self.__dict__.items() if name != "_view"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self._view = self.steps.numpy()

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> StepCount:
        """Moves to a device pass the count by."""
        del fn, recurse
        return self

    @property
    def value(self) -> int:
        """The count."""
        return int(self._view)

    def advance(self) -> int:
        """Add one step; returns the new count."""
        view = self._view
        view += 1  # in place; assigned to the attribute it would pass through nn.Module's own setter, which is slow
        return int(view)

    @staticmethod
    def due(count: int, every: int) -> bool:
        """Whether something done every ``every`` steps is due at this count."""
        return count % every == 0
