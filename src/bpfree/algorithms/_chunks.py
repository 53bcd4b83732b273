"""A batch in chunks of a few rows that are worked on one after another: what a block needs besides exists for one at a time.

The mean over the batch stays what it is. Of n rows in chunks of c, the mean loss of a chunk and its derivative are multiplied by
the chunk's share c / n (with weights w: its sum of w over that of the batch); the sums over the chunks are then those of the
batch. This holds for blocks that treat each example by itself.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from torch import Tensor

from bpfree.errors import UsageError
from bpfree.nets import Chain
from bpfree.numerics.handover import Handover

__all__ = ["Chunk", "check_chunks", "chunks_of", "first_rows", "labels_of_chunks"]


@dataclass(frozen=True)
class Chunk:
    """Labels of some rows of a batch.

    Attributes:
        y: (c,) int64.
        weight: (c,), how many times each example counts; None: once.
        share: of the batch; None for the whole batch.
    """

    y: Tensor
    weight: Tensor | None
    share: float | Tensor | None = None


def chunks_of(x: Tensor, rows: int) -> list[Handover]:
    """Examples (n, ...) as views of ``rows`` rows each, the last perhaps of fewer; who takes one may free it."""
    return [Handover(part) for part in x.split(rows)]


def labels_of_chunks(y: Tensor, weight: Tensor | None, rows: int) -> Iterator[Chunk]:
    """Labels and shares of the chunks, in order."""
    if weight is None:
        yield from (Chunk(its_y, None, len(its_y) / len(y)) for its_y in y.split(rows))
        return
    total = weight.sum()
    for its_y, its_weight in zip(y.split(rows), weight.split(rows), strict=True):
        yield Chunk(its_y, its_weight, its_weight.sum() / total)


def first_rows(n: int, rows: int) -> list[int]:
    """Where the first two and the last two of the chunks of ``n`` rows begin: between them nothing exceeds what these need."""
    starts = range(0, n, rows)
    return sorted({*starts[:2], *starts[-2:]})


def check_chunks(name: str, net: Chain, rows: int) -> None:
    """Refuse chunks where a block couples the examples of a batch.

    Args:
        name: of the rule.
        rows: of a chunk; 0 for the whole batch.

    Raises:
        UsageError: a block has BatchNorm, whose statistics in training are those of all rows.
    """
    for k, block in enumerate(net):
        if rows and block.normalises_batch:
            raise UsageError(
                f"{name}: chunk={rows} computes {rows} rows of a batch at a time, and BatchNorm in block {k} ({block.title}) "
                "needs the statistics of all of them; use chunk=0, or a net without BatchNorm"
            )
