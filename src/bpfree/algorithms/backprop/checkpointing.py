"""What a backward sweep needs of every block: kept from the forward pass, or computed again a segment at a time.

Activation checkpointing (Chen et al., arXiv 1604.06174): of a segment of blocks only the input is kept; when the sweep reaches
the segment, its blocks run forward once more. The last segment is kept as it is, since the sweep begins there.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from bpfree.algorithms._closed_form import block_activity, block_forward, has_closed_form
from bpfree.nets import Chain

__all__ = ["Activities", "n_run_again"]


def n_run_again(n_blocks: int, every: int) -> int:
    """Blocks that run forward twice: all before the last segment; none where everything is kept (``every`` 0)."""
    return (n_blocks - 1) // every * every if every else 0


class Activities:
    """One forward pass through all blocks, and what :func:`~bpfree.algorithms._closed_form.block_gradients` needs of it.

    Args:
        every: blocks in a segment; 0 keeps everything.
    """

    def __init__(self, net: Chain, maths: str, every: int = 0) -> None:
        self._blocks, self._maths = list(net), maths
        self._every = every or len(net)
        self._last = n_run_again(len(net), self._every)  # the first block of the last segment
        self._inputs: dict[int, Tensor] = {}
        self._random: dict[int, list[Tensor]] = {}
        self._saved: dict[int, Any] = {}

    def forward(self, x: Tensor) -> Tensor:
        """Activity of the last block; in training mode BatchNorm's running statistics move, once."""
        for first in range(0, self._last, self._every):
            self._inputs[first] = x
            if self._draws(first):
                self._random[first] = _random_state(x)
            for k in range(first, first + self._every):
                x = block_activity(self._blocks[k], x, statistics="update")
        return self._run(self._last, x, "update")

    def pop(self, k: int) -> Any:
        """What block ``k`` has saved; asked once each, from the last block to the first."""
        if k not in self._saved:
            self._again(k // self._every * self._every)
        return self._saved.pop(k)

    def _run(self, first: int, x: Tensor, statistics: Any) -> Tensor:
        for k in range(first, min(first + self._every, len(self._blocks))):
            x, self._saved[k] = block_forward(self._blocks[k], x, self._maths, statistics=statistics)
        return x

    def _again(self, first: int) -> None:
        x = self._inputs.pop(first)
        if first not in self._random:
            self._run(first, x, "batch")
            return
        cpu, *device = self._random.pop(first)
        with torch.random.fork_rng([x.device] if device else [], device_type=x.device.type if device else "cuda"):
            torch.set_rng_state(cpu)  # the same dropout masks as in the first pass
            if device:
                torch.cuda.set_rng_state(device[0], x.device)
            self._run(first, x, "batch")

    def _draws(self, first: int) -> bool:
        """Whether a block of the segment may draw from torch's global generator, as modules do."""
        return any(not has_closed_form(self._blocks[k]) for k in range(first, first + self._every))


def _random_state(x: Tensor) -> list[Tensor]:
    return [torch.get_rng_state(), *([torch.cuda.get_rng_state(x.device)] if x.is_cuda else [])]
