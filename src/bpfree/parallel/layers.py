"""Layer-parallel training: each rank learns its own blocks and hands their activity on; nothing comes back.

While a rank works on one batch, the rank before it works on the next, so in the long run a step takes as long as the most loaded
rank. What a block computes is what it computes in one process, in the same order, so the result is the same, bit for bit.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from typing import Any, Literal

import torch
from torch import Tensor

from bpfree.algorithms import Algorithm, Phase, Stages, stages_of, update_at_end
from bpfree.data import Batch, Dataset
from bpfree.errors import UsageError
from bpfree.nets import Chain
from bpfree.numerics.products import products_in
from bpfree.parallel.group import Ranks
from bpfree.parallel.replica import Replica
from bpfree.parallel.shares import shares_of, stage_flops
from bpfree.parallel.wire import Receiver, Sender
from bpfree.train.passes import PassResult, Work, batches_of, mean_loss, seeded

__all__ = ["LayerPasses", "check_layers", "follow"]

COUNTED = 8
"""Examples of the batch on which stages are counted to balance them."""


@dataclass(frozen=True)
class _Order:
    """What the first rank tells the others to do next; ``phase`` and ``pass_index`` are those of a pass."""

    what: Literal["begin", "pass", "end"]
    phase: int = 0
    pass_index: int = 0


@dataclass(frozen=True)
class _Plan:
    """A phase: its stages, and which are whose."""

    phase: Phase
    stages: Stages[Any]
    shares: list[range]

    def last_rank(self) -> int:
        """The last that has a stage; the first where no block learns."""
        return max((rank for rank, share in enumerate(self.shares) if share), default=0)


class _Pipeline:
    """This rank's part of every pass."""

    def __init__(self, ranks: Ranks, work: Work) -> None:
        self._ranks, self._work = ranks, work
        self.replica = Replica(ranks, work.net, work.state)
        self._plans: dict[int, _Plan] = {}
        self._sender = Sender(ranks.rank + 1, ranks.device)
        self._receiver = Receiver(ranks.rank - 1, ranks.device)

    def plan(self, index: int) -> _Plan:
        """Stages and shares of phase ``index``: the same in every rank.

        Raises:
            UsageError: the rule cannot be cut, or there are more ranks than stages.
        """
        if index not in self._plans:
            work, ranks = self._work, self._ranks
            phases = work.algorithm.phases(work.net)
            check_layers(work.algorithm, work.net, ranks.size)
            stages = stages_of(work.algorithm, work.net, phases[index])
            costs: list[int] = []
            if ranks.leads:
                few = next(iter(work.data.batches("train", min(COUNTED, work.data.n("train")), shuffle=False)))
                costs = stage_flops(stages, work.net, work.state, few)
            self._plans[index] = _Plan(phases[index], stages, shares_of(ranks.broadcast(costs), ranks.size))
        return self._plans[index]

    def one_pass(self, index: int, pass_index: int) -> PassResult:
        """A pass of phase ``index``; the result is the same in every rank."""
        plan, work = self.plan(index), self._work
        mine: list[Tensor] = []
        sizes: list[int] = []
        with seeded(work, pass_index), _no_draws(work), products_in(work.precision), torch.no_grad():
            for batch in self._arriving(plan, batches_of(work, work.data, pass_index)):
                mine.append(self._step(plan, batch))
                sizes.append(len(batch.y))
        self._sender.finish()
        of_all = [losses for losses in self._ranks.gather(torch.stack(mine).cpu()) if losses.numel()]
        steps = torch.cat(of_all, 1) if of_all else torch.zeros(len(sizes), 1)
        self.replica.spread()
        return PassResult(mean_loss([row.clone().mean() for row in steps], sizes), len(sizes), sum(sizes))

    def _arriving(self, plan: _Plan, batches: Iterator[Batch]) -> Iterator[Batch]:
        """The batches; the activity of the next one may come in while this one is computed."""
        receives = self._ranks.rank > 0 and bool(plan.shares[self._ranks.rank])
        before: Batch | None = None
        for batch in chain(batches, (None,)):
            if batch is not None and receives:
                self._receiver.expect((plan.phase.index, len(batch.y)))
            if before is not None:
                yield before
            before = batch

    def _step(self, plan: _Plan, batch: Batch) -> Tensor:
        """This rank's stages on one batch; the losses of those that learn, one after another."""
        work, rank = self._work, self._ranks.rank
        share, state = plan.shares[rank], work.state
        state.count.advance()
        losses: list[Tensor] = []
        with update_at_end(work.net, state):
            if rank == 0:
                carry = plan.stages.enter(work.net, state, batch)
            elif share:
                carry = self._receiver.take()
            else:
                carry = None
            for index in share:
                carry, loss = plan.stages.run(index, work.net, state, batch, carry)
                if loss is not None:
                    losses.append(loss)
            if rank == plan.last_rank():
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


class LayerPasses:
    """The passes of a training, as the first rank makes them together with the others, which :func:`follow`.

    Args:
        ranks: of which this process is the first.
    """

    def __init__(self, ranks: Ranks) -> None:
        self._ranks = ranks
        self._pipeline: _Pipeline | None = None
        self._within = False

    def begin(self, work: Work) -> None:
        """Give the others net and state as they are, after a checkpoint was read.

        Raises:
            UsageError: the rule cannot be trained layer-parallel, or there are more ranks than stages.
        """
        self._pipeline = _Pipeline(self._ranks, work)
        self._within = True
        self._ranks.broadcast(_Order("begin"))
        self._pipeline.replica.spread_all()
        self._pipeline.plan(0)
        self._within = False

    def one_pass(self, inputs: Dataset, phase: Phase, reader: Phase, pass_index: int) -> PassResult:
        """See :class:`bpfree.train.passes.Passes`."""
        del inputs, reader  # those of a phase without frozen blocks, which others have no stages
        assert self._pipeline is not None  # begin comes first
        self._within = True
        self._ranks.broadcast(_Order("pass", phase.index, pass_index))
        self._pipeline.replica.spread_first()
        result = self._pipeline.one_pass(phase.index, pass_index)
        self._within = False
        return result

    def end(self) -> None:
        """Let the others go. Where a pass was broken off they are not waiting for it, and see that this process ends."""
        if not self._within:
            self._ranks.broadcast(_Order("end"))


def follow(ranks: Ranks, work: Work) -> None:
    """Make this rank's part of every pass that the first rank begins, until it ends.

    Args:
        work: as the first rank has it; net and state of the same shapes, whatever their values.
    """
    pipeline: _Pipeline | None = None
    while (order := ranks.broadcast(_Order("end"))).what != "end":
        if order.what == "begin":
            pipeline = _Pipeline(ranks, work)
            pipeline.replica.spread_all()
            pipeline.plan(0)
        else:
            assert pipeline is not None  # begin comes first
            pipeline.replica.spread_first()
            pipeline.one_pass(order.phase, order.pass_index)


@contextmanager
def _no_draws(work: Work) -> Iterator[None]:
    """Refuse blocks that draw from torch's global generator: in several processes they would draw other numbers than in one.

    Raises:
        UsageError: after a pass in which one did.
    """
    device = work.net.device
    before = _generator_state(device)
    yield
    if not torch.equal(before, _generator_state(device)):
        raise UsageError(
            "a block draws random numbers from torch's global generator (dropout, say), which differ between one process and "
            "several; leave it out, or train in one process"
        )


def _generator_state(device: torch.device) -> Tensor:
    return torch.cuda.get_rng_state(device) if device.type == "cuda" else torch.get_rng_state()
