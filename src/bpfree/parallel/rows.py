"""Data-parallel training: each rank takes its rows of every batch; gradients are added up where the optimiser is given them.

Every rank has the whole net, makes the same steps, and so stays equal to the others; after each pass this is checked. What is
random in a step is drawn for the whole batch and cut. The result is that of one process but for the rounding of the sums. A batch
with fewer rows than ranks (the last of a pass) is repeated where there is none left, and does not count there.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, ClassVar

import torch
from torch import Tensor

from bpfree.algorithms import Addition, Algorithm, Phase, check_shares_rows, step, sums_over_examples
from bpfree.data import Batch, Dataset
from bpfree.errors import UsageError
from bpfree.nets import Chain
from bpfree.numerics.products import products_in
from bpfree.numerics.rows import Rows, of_batch
from bpfree.parallel.together import Part, no_draws
from bpfree.train.passes import PassResult, batches_of, mean_loss, seeded

__all__ = ["DataPart", "check_rows", "cut", "shared_step", "without_counting"]


class DataPart(Part):
    """This rank's rows of every batch."""

    kind: ClassVar[str] = "data"

    def begin(self) -> None:
        work = self._work
        check_rows(work.algorithm, work.net, work.data, work.batch_size, self._ranks.size)

    def one_pass(self, inputs: Dataset, phase: Phase, reader: Phase, pass_index: int) -> PassResult:
        del phase
        work, ranks = self._work, self._ranks
        sums = sums_over_examples(work.algorithm, work.state)
        if not ranks.leads:
            for tensor in sums:
                tensor.zero_()  # what the first rank has had before counts once
        addition = Addition(ranks.begin_sum)
        losses: list[Tensor] = []
        sizes: list[int] = []
        with seeded(work, pass_index), no_draws(work), products_in(work.precision), torch.no_grad():
            for batch in batches_of(work, inputs, pass_index):
                losses.append(
                    shared_step(
                        *(work.algorithm, work.net, work.state, batch, reader),
                        *(addition, ranks.rank, ranks.size, ranks.total),
                    )
                )
                sizes.append(len(batch.y))
        for tensor in sums:
            ranks.total(tensor)
        of_steps = ranks.total(torch.stack(losses))
        self.replica.check_equal()
        return PassResult(mean_loss(list(of_steps.unbind()), sizes), len(sizes), sum(sizes))


@contextmanager
def without_counting(algorithm: Algorithm[Any], state: Any, *, counts: bool) -> Iterator[None]:
    """Where the rows do not count, what the rule sums over examples is afterwards as before."""
    before = [] if counts else [(tensor, tensor.clone()) for tensor in sums_over_examples(algorithm, state)]
    yield
    for tensor, value in before:
        tensor.copy_(value)


def shared_step(
    algorithm: Algorithm[Any],
    net: Chain,
    state: Any,
    batch: Batch,
    phase: Phase,
    addition: Addition,
    rank: int,
    size: int,
    total: Any,
) -> Tensor:
    """One step of this rank on its rows of ``batch``.

    Args:
        addition: of the gradients of all ranks.
        total: adds up a tensor over them, see :class:`bpfree.numerics.rows.Rows`.

    Returns:
        Its part of the mean of the losses, 0-D: the parts of all ranks add up to it.
    """
    mine, rows, counts = cut(batch, rank, size, total)

    def learn(batch: Batch, phase: Phase) -> Tensor:
        with addition.steps_at_end():
            return algorithm.learn(net, state, batch, phase)

    with of_batch(rows), state.added_up(addition), without_counting(algorithm, state, counts=counts):
        losses = step(algorithm, net, state, mine, phase, learn=learn)
    return losses.mean() * rows.share


def cut(batch: Batch, rank: int, size: int, total: Any) -> tuple[Batch, Rows, bool]:
    """The rows of rank ``rank`` of ``size``, and whether they count: a rank for which there is no row has the first one."""
    n = len(batch.y)
    first, last = (rank * n // size, (rank + 1) * n // size) if n >= size else (rank, rank + 1)
    counts = first < n
    if not counts:
        first, last = 0, 1
    y, weight = batch.y[first:last], batch.weight
    share: float | Tensor = (last - first) / n
    if weight is not None:
        share, weight = weight[first:last].sum() / weight.sum(), weight[first:last]
    mine = Batch(batch.x[first:last], y, batch.key, weight)
    return mine, Rows(first, share if counts else 0.0, total), counts


def check_rows(algorithm: Algorithm[Any], net: Chain, data: Dataset, batch_size: int, n_ranks: int) -> None:
    """Refuse what cannot be trained data-parallel.

    Raises:
        UsageError: the rule couples the examples of a batch, or a block does; a batch has fewer examples than there are ranks; or
            the batches come from a loader, which may give every process others.
    """
    check_shares_rows(algorithm, net)
    if data.fixed_batch_size is not None:
        raise UsageError("batches of a loader cannot be shared by several processes; use bpfree.data.from_arrays(x, y)")
    if batch_size < n_ranks:
        raise UsageError(
            f"{n_ranks} ranks share each batch, and a batch has {batch_size} examples; use --batch-size {n_ranks} or more, or "
            "fewer ranks"
        )
