"""Layers and rows at once: several pipelines of the same length, each on its rows of every batch.

Rank ``line · length + place`` has the stages of ``place``, and the rows of ``line``. Activity goes along a line, forward only;
gradients are added up between the ranks of one place. So the result is that of one process but for the rounding of the sums.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
import torch.distributed as dist

from bpfree.algorithms import Addition, Algorithm, Phase, stages_of, sums_over_examples
from bpfree.data import Batch, Dataset
from bpfree.nets import Chain
from bpfree.numerics.products import products_in
from bpfree.numerics.rows import Rows, of_batch
from bpfree.parallel.group import Ranks, lost_rank
from bpfree.parallel.layers import LayerPart, check_layers
from bpfree.parallel.rows import check_rows, cut, without_counting
from bpfree.parallel.together import no_draws
from bpfree.train.passes import Losses, PassResult, Work, batches_of, seeded

__all__ = ["MeshPart", "check_mesh", "length_of"]


@dataclass(frozen=True, eq=False, kw_only=True)
class _Part(Batch):
    """Some rows of a batch; ``counts`` as of :func:`bpfree.parallel.rows.cut`."""

    rows: Rows
    counts: bool


def length_of(algorithm: Algorithm[Any], net: Chain, size: int) -> int:
    """Ranks in a pipeline: the largest divisor of ``size`` that is at most its root, and at most the number of stages."""
    most = max(len(stages_of(algorithm, net, phase).blocks) for phase in algorithm.phases(net))
    return max(each for each in range(1, math.isqrt(size) + 1) if size % each == 0 and each <= most)


def check_mesh(algorithm: Algorithm[Any], net: Chain, data: Dataset, batch_size: int, size: int) -> None:
    """Refuse what cannot be trained in layers and rows at once.

    Raises:
        UsageError: see :func:`bpfree.parallel.check_layers` and :func:`bpfree.parallel.check_rows`.
    """
    length = length_of(algorithm, net, size)
    check_layers(algorithm, net, length)
    check_rows(algorithm, net, data, batch_size, size // length)


class MeshPart(LayerPart):
    """This rank's stages, on its line's rows of every batch."""

    kind: ClassVar[str] = "layers,data"

    def __init__(self, ranks: Ranks, work: Work) -> None:
        length = length_of(work.algorithm, work.net, ranks.size)
        with lost_rank():  # every rank makes every group, in the same order
            groups = [dist.new_group(list(range(place, ranks.size, length))) for place in range(length)]
        super().__init__(replace(ranks, adds_over=groups[ranks.rank % length]), work)
        self._line, self._lines = ranks.rank // length, ranks.size // length
        self._addition = Addition(self._ranks.begin_sum)

    def _in_pipeline(self, ranks: Ranks) -> tuple[int, int]:
        length = length_of(self._work.algorithm, self._work.net, ranks.size)
        return ranks.rank % length, length

    def begin(self) -> None:
        work = self._work
        check_mesh(work.algorithm, work.net, work.data, work.batch_size, self._ranks.size)
        super().begin()

    def one_pass(self, inputs: Dataset, phase: Phase, reader: Phase, pass_index: int) -> PassResult:
        del reader  # that of a phase without frozen blocks, as others have no stages
        work, ranks = self._work, self._ranks
        sums = sums_over_examples(work.algorithm, work.state)
        if self._line > 0:
            for tensor in sums:
                tensor.zero_()  # what the first line has had before counts once
        whole: list[int] = []
        shares: list[Any] = []
        with seeded(work, pass_index), no_draws(work), products_in(work.precision), work.state.added_up(self._addition):
            mine, _ = self.steps(phase.index, self._cut(batches_of(work, inputs, pass_index), whole, shares))
        for tensor in sums:
            ranks.total(tensor)
        if mine.numel():
            mine = ranks.total(mine * torch.as_tensor(shares, dtype=mine.dtype, device=mine.device).unsqueeze(1))
        of_all = [losses for losses in ranks.gather(mine.cpu())[: self._length] if losses.numel()]
        steps = torch.cat(of_all, 1) if of_all else torch.zeros(len(whole), 1)
        self.replica.spread(self._length)
        return PassResult(Losses(rows=steps).mean(whole), len(whole), sum(whole))

    def _cut(self, batches: Iterator[Batch], whole: list[int], shares: list[Any]) -> Iterator[Batch]:
        """This line's rows; the sizes of the whole batches and the shares of the rows are noted."""
        for batch in batches:
            mine, rows, counts = cut(batch, self._line, self._lines, self._ranks.total)
            whole.append(len(batch.y))
            shares.append(rows.share)
            yield _Part(mine.x, mine.y, mine.key, mine.weight, rows=rows, counts=counts)

    @contextmanager
    def _updates(self, batch: Batch) -> Iterator[None]:
        assert isinstance(batch, _Part)  # by _cut
        counting = without_counting(self._work.algorithm, self._work.state, counts=batch.counts)
        with of_batch(batch.rows), counting, self._addition.steps_at_end():
            yield
