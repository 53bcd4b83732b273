"""A tensor that is handed over: who takes it holds it alone, may write over it, and frees it by dropping it.

Python keeps an argument alive as long as the caller has a name for it. A derivative of (n, width) that is passed on therefore
lives to the end of the call. torch's autograd avoids that: it frees each derivative when the next is there. A handover
is an argument that no longer holds what it brings once it has been taken.
"""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["Handover", "taken"]


class Handover:
    """Holds one tensor until it is taken.

    Args:
        tensor: that is not read elsewhere afterwards.
    """

    def __init__(self, tensor: Tensor) -> None:
        self._tensors = [tensor]

    def take(self) -> Tensor:
        """The tensor, once.

        Raises:
            IndexError: it has been taken before.
        """
        return self._tensors.pop()


def taken(given: Tensor | Handover) -> tuple[Tensor, bool]:
    """The tensor, and whether it may be written over: only one that was handed over, and not while autograd records."""
    if isinstance(given, Handover):
        return given.take(), not torch.is_grad_enabled()
    return given, False
