"""Gradients of several processes that share each batch, added up on their way to the optimiser.

Each process has the gradients of the mean loss over its rows; the sum of them, times the shares of the rows, is the gradient of
the mean loss over the batch (:mod:`bpfree.numerics.rows`). They are put into buckets in the order in which they are asked for. A
bucket that is full is sent while the next block is computed. All steps are done at the end of ``learn``, when the sums are there.

So a rule must not read a parameter in ``learn`` after its step, unless it is meant to see the value from before; so it is on
small nets, too, see :mod:`bpfree.algorithms._gather`. The gradients of all blocks are alive together.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from bpfree.algorithms._gather import Gather, Optimiser
from bpfree.numerics.rows import current_rows

__all__ = ["BUCKET_BYTES", "Addition"]

BUCKET_BYTES = 1 << 20
"""Of gradients that are sent at once: below, the fixed cost of a message is more than its bytes'."""

Begin = Callable[[Tensor], Callable[[], None]]
"""Begins to add up a tensor over all processes, in place; what it returns waits for the end."""


class Addition:
    """The steps of one ``learn`` of a state, and the sums that they wait for.

    Args:
        begin: the processes' own.
    """

    def __init__(self, begin: Begin) -> None:
        self._begin = begin
        self._steps: list[tuple[Optimiser, list[Tensor], list[Tensor], int]] = []
        self._waits: list[Callable[[], None]] = []
        self._bucket: list[Tensor] = []

    def add(self, optimiser: Optimiser, parameters: list[Tensor], gradients: list[Tensor], first: int) -> None:
        """Put off ``optimiser.step(parameters, gradients, first)``, and send the gradients."""
        rows = current_rows()
        assert rows is not None  # who adds up has cut the batch
        summed = []
        for gradient in gradients:
            if self._bucket and self._bucket[0].dtype != gradient.dtype:
                self._send()
            summed.append(gradient * rows.share)
            self._bucket.append(summed[-1])
            if sum(each.numel() * each.element_size() for each in self._bucket) >= BUCKET_BYTES:
                self._send()
        self._steps.append((optimiser, parameters, summed, first))

    @contextmanager
    def steps_at_end(self) -> Iterator[None]:
        """Around one ``learn``: its steps are done at the end of the block; where it fails they are forgotten."""
        try:
            yield
            self._send()
            for wait in self._waits:
                wait()
            gather = Gather()
            for step in self._steps:
                gather.add(*step)
            gather.close()
        finally:
            self._steps, self._waits, self._bucket = [], [], []

    def _send(self) -> None:
        if not self._bucket:
            return
        tensors, self._bucket = self._bucket, []
        if len(tensors) == 1 and tensors[0].is_contiguous():
            self._waits.append(self._begin(tensors[0]))
            return
        flat = torch.cat([tensor.reshape(-1) for tensor in tensors])
        wait = self._begin(flat)

        def wait_and_part() -> None:
            wait()
            for tensor, part in zip(tensors, flat.split([tensor.numel() for tensor in tensors]), strict=True):
                tensor.copy_(part.view(tensor.shape))

        self._waits.append(wait_and_part)
