"""Layer-parallel training: each rank learns its own blocks and hands their activity on; nothing comes back.

While a rank works on one batch, the rank before it works on the next, so in the long run a step takes as long as the most loaded
rank. What a block computes is what it computes in one process, in the same order, so the result is the same, bit for bit.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from itertools import chain
from typing import Any, ClassVar

import torch
from torch import Tensor

from bpfree.algorithms import Algorithm, Phase, Stages, stages_of, update_at_end
from bpfree.data import Batch, Dataset
from bpfree.errors import UsageError
from bpfree.nets import Chain
from bpfree.numerics.products import products_in
from bpfree.parallel.group import Ranks
from bpfree.parallel.shares import shares_of, stage_flops
from bpfree.parallel.together import Part, no_draws
from bpfree.parallel.wire import Receiver, Sender
from bpfree.train.passes import Losses, PassResult, Work, batches_of, seeded

__all__ = ["LayerPart", "check_layers"]

COUNTED = 8
"""Examples of the batch on which stages are counted to balance them."""


@dataclass(frozen=True)
class _Plan:
    """A phase: its stages, and which are whose."""

    phase: Phase
    stages: Stages[Any]
    shares: list[range]

    def last_rank(self) -> int:
        """The last that has a stage; the first where no block learns."""
        return max((rank for rank, share in enumerate(self.shares) if share), default=0)


class LayerPart(Part):
    """This rank's stages, on every batch."""

    kind: ClassVar[str] = "layers"

    def __init__(self, ranks: Ranks, work: Work) -> None:
        super().__init__(ranks, work)
        self._place, self._length = self._in_pipeline(ranks)
        self._plans: dict[int, _Plan] = {}
        self._sender = Sender(ranks.rank + 1, ranks.device)
        self._receiver = Receiver(ranks.rank - 1, ranks.device)

    def _in_pipeline(self, ranks: Ranks) -> tuple[int, int]:
        """Number of this rank in its pipeline, and the ranks of that; they follow each other."""
        return ranks.rank, ranks.size

    def begin(self) -> None:
        self.plan(0)

    def plan(self, index: int) -> _Plan:
        """Stages and shares of phase ``index``: the same in every rank.

        Raises:
            UsageError: the rule cannot be cut, or there are more ranks than stages.
        """
        if index not in self._plans:
            work, ranks = self._work, self._ranks
            phases = work.algorithm.phases(work.net)
            check_layers(work.algorithm, work.net, self._length)
            stages = stages_of(work.algorithm, work.net, phases[index])
            costs: list[int] = []
            if ranks.leads:
                few = next(iter(work.data.batches("train", min(COUNTED, work.data.n("train")), shuffle=False)))
                costs = stage_flops(stages, work.net, work.state, few)
            self._plans[index] = _Plan(phases[index], stages, shares_of(ranks.broadcast(costs), self._length))
        return self._plans[index]

    def one_pass(self, inputs: Dataset, phase: Phase, reader: Phase, pass_index: int) -> PassResult:
        del reader  # that of a phase without frozen blocks, as others have no stages
        work = self._work
        with seeded(work, pass_index), no_draws(work), products_in(work.precision):
            mine, sizes = self.steps(phase.index, batches_of(work, inputs, pass_index))
        of_all = [losses for losses in self._ranks.gather(mine.cpu()) if losses.numel()]
        steps = torch.cat(of_all, 1) if of_all else torch.zeros(len(sizes), 1)
        self.replica.spread()
        return PassResult(Losses(rows=steps).mean(sizes), len(sizes), sum(sizes))

    @torch.no_grad()
    def steps(self, index: int, batches: Iterator[Batch]) -> tuple[Tensor, list[int]]:
        """This rank's stages of phase ``index`` on every batch, the same batches in all ranks.

        Returns:
            The losses of its stages that learn (steps, stages), and the examples of each step.
        """
        plan = self.plan(index)
        mine: list[Tensor] = []
        sizes: list[int] = []
        for batch in self._arriving(plan, batches):
            mine.append(self._step(plan, batch))
            sizes.append(len(batch.y))
        self._sender.finish()
        return torch.stack(mine), sizes

    def _arriving(self, plan: _Plan, batches: Iterator[Batch]) -> Iterator[Batch]:
        """The batches; the activity of the next one may come in while this one is computed."""
        receives = self._place > 0 and bool(plan.shares[self._place])
        before: Batch | None = None
        for batch in chain(batches, (None,)):
            if batch is not None and receives:
                self._receiver.expect((plan.phase.index, len(batch.y)))
            if before is not None:
                yield before
            before = batch

    def _updates(self, batch: Batch) -> AbstractContextManager[None]:
        """Around a step: when the optimisers take theirs."""
        del batch
        return update_at_end(self._work.net, self._work.state)

    def _step(self, plan: _Plan, batch: Batch) -> Tensor:
        """This rank's stages on one batch; the losses of those that learn, one after another."""
        work, place = self._work, self._place
        share, state = plan.shares[place], work.state
        state.count.advance()
        losses: list[Tensor] = []
        with self._updates(batch):
            if place == 0:
                carry = plan.stages.enter(work.net, state, batch)
            elif share:
                carry = self._receiver.take()
            else:
                carry = None
            for index in share:
                carry, loss = plan.stages.run(index, work.net, state, batch, carry)
                if loss is not None:
                    losses.append(loss)
            if place == plan.last_rank():
                plan.stages.leave(work.net, state, batch, carry)
            elif share:
                self._sender.send((plan.phase.index, len(batch.y)), carry)
        return torch.stack(losses) if losses else torch.empty(0, device=batch.x.device)


def check_layers(algorithm: Algorithm[Any], net: Chain, n_ranks: int) -> None:
    """Refuse what cannot be trained layer-parallel.

    Raises:
        UsageError: the rule cannot be cut, or there are more ranks than stages.
    """
    most = max(len(stages_of(algorithm, net, phase).blocks) for phase in algorithm.phases(net))
    if n_ranks > most:
        raise UsageError(
            f"{n_ranks} ranks were started, and {algorithm.name} has {most} stages on this net; start at most {most}"
        )
