"""Which rows of a batch this process has, where several processes share each batch (data-parallel training).

The whole batch is cut into stretches of rows, one a process. A mean over the batch is the sum over the processes of
``share · (mean over its rows)``, where the share is the process's part of the rows, or with weights w of their sum:

    Σₙ wₙ lₙ / Σₙ wₙ = Σ_r share_r · (Σ_{n in r} wₙ lₙ / Σ_{n in r} wₙ) ,    share_r = Σ_{n in r} wₙ / Σₙ wₙ

Gradients of mean losses are such means, and are added up by the optimiser. What a rule reads of a batch mean *within* a step
(a running mean of activity) it asks for by :func:`mean_over_batch`; what it draws for each example it draws by row, see
:mod:`bpfree.numerics.streams`. In one process, which has all rows, both change nothing.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["Rows", "current_rows", "mean_over_batch", "of_batch"]


@dataclass(frozen=True, eq=False)
class Rows:
    """A stretch of the rows of a batch.

    Attributes:
        first: number of the first of them in the whole batch.
        share: of this stretch in a mean over the whole batch, a number or 0-D; the shares of all processes add up to 1.
        total: adds up a tensor over all processes, in place, and returns it; each of them must call it.
    """

    first: int
    share: float | Tensor
    total: Callable[[Tensor], Tensor]


class _Here(threading.local):
    rows: Rows | None = None


_HERE = _Here()


def current_rows() -> Rows | None:
    """The rows that this thread works on; None where it has whole batches."""
    return None if torch.compiler.is_compiling() else _HERE.rows


@contextmanager
def of_batch(rows: Rows) -> Iterator[None]:
    """What is computed in the block is of ``rows`` of a batch."""
    before, _HERE.rows = _HERE.rows, rows
    try:
        yield
    finally:
        _HERE.rows = before


def mean_over_batch(mean: Tensor) -> Tensor:
    """From the mean over the rows of this process to that over the whole batch; waits for the other processes."""
    rows = current_rows()
    return mean if rows is None else rows.total(mean * rows.share)
