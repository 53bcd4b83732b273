"""Passes that all ranks make together: the first one leads, the others follow its orders.

How the work of a pass is shared is a :class:`Part`. Validation is shared in one way by all of them: every rank scores some of the
batches that one process would score, and what they come to is put together in their order, so the result is the same.
"""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from typing import ClassVar, Literal

import torch
from torch import Tensor

from bpfree.algorithms import Phase
from bpfree.data import Dataset
from bpfree.errors import UsageError
from bpfree.numerics.products import products_in
from bpfree.parallel.group import Ranks
from bpfree.parallel.replica import Replica
from bpfree.train import Evaluation, read_by
from bpfree.train.evaluation import evaluation_of, scored
from bpfree.train.given import in_format_of
from bpfree.train.passes import PassResult, Work

__all__ = ["Leading", "Part", "follow_as", "no_draws"]


@dataclass(frozen=True)
class _Order:
    """What the first rank tells the others to do next; ``phase`` and ``pass_index`` are those of a pass."""

    what: Literal["begin", "pass", "validate", "end"]
    phase: int = 0
    pass_index: int = 0
    with_loss: bool = False


class Part(ABC):
    """What one rank does of every pass.

    Args:
        ranks: all of them, and which this one is.
        work: the same in every rank; net and state of the same shapes, whatever their values.
    """

    kind: ClassVar[str]
    """The word for it on the command line."""

    def __init__(self, ranks: Ranks, work: Work) -> None:
        self._ranks, self._work = ranks, work
        self.replica = Replica(ranks, work.net, work.state)
        self._reading: tuple[int, Dataset, Phase] | None = None

    @abstractmethod
    def begin(self) -> None:
        """Called once all ranks have the same net and state.

        Raises:
            UsageError: the rule cannot be trained in this way, in every rank alike.
        """

    @abstractmethod
    def one_pass(self, inputs: Dataset, phase: Phase, reader: Phase, pass_index: int) -> PassResult:
        """This rank's part of a pass; afterwards all ranks have the same net and state, and the result is the same in all.

        Args:
            inputs, reader: see :class:`bpfree.train.passes.Passes`.
        """

    def validate(self, inputs: Dataset, reader: Phase, *, with_loss: bool) -> Evaluation:
        """Score every so many batches of the validation split; the result is the same in all ranks."""
        work, ranks = self._work, self._ranks
        with products_in(work.precision):
            batches = scored(
                *(work.algorithm, work.net, work.state, inputs, "validation", reader),
                with_loss=with_loss,
                choosing=True,
                every=ranks.size,
                first=ranks.rank,
            )
            mine = [batch.on_host() for batch in batches]
        together = sorted(chain.from_iterable(ranks.gather(mine)), key=lambda batch: batch.index)
        return evaluation_of(together, work.algorithm, work.state, inputs.n_classes)

    def reading(self, phase: Phase) -> tuple[Dataset, Phase]:
        """What a phase reads, and the phase that reads it; as the first rank has them from its training."""
        if self._reading is None or self._reading[0] != phase.index:
            with products_in(self._work.precision):
                self._reading = (phase.index, *read_by(self._work.net, self._work.data, phase))
        return self._reading[1:]


class Leading:
    """The passes of a training, as the first rank makes them together with the others, which :func:`follow_as`.

    Args:
        ranks: of which this process is the first.
        part: how the work is shared.
    """

    def __init__(self, ranks: Ranks, part: type[Part]) -> None:
        self._ranks, self._kind = ranks, part
        self._part: Part | None = None
        self._within = False

    def begin(self, work: Work) -> None:
        """Give the others net and state as they are, after a checkpoint was read.

        Raises:
            UsageError: the rule cannot be trained in this way, or by so many ranks.
        """
        with self._order(_Order("begin")):
            self._part = self._kind(self._ranks, work)
            self._part.replica.spread_all()
            self._part.begin()

    def one_pass(self, inputs: Dataset, phase: Phase, reader: Phase, pass_index: int) -> PassResult:
        """See :class:`bpfree.train.passes.Passes`."""
        assert self._part is not None  # begin comes first
        with self._order(_Order("pass", phase.index, pass_index)):
            self._part.replica.spread_first()
            return self._part.one_pass(inputs, phase, reader, pass_index)

    def validate(self, inputs: Dataset, phase: Phase, reader: Phase, *, with_loss: bool) -> Evaluation:
        """See :class:`bpfree.train.passes.Passes`."""
        assert self._part is not None  # begin comes first
        with self._order(_Order("validate", phase.index, with_loss=with_loss)):
            self._part.replica.spread_first()
            return self._part.validate(inputs, reader, with_loss=with_loss)

    def end(self) -> None:
        """Let the others go. Where a pass was broken off they are not waiting for it, and see that this process ends."""
        if not self._within:
            self._ranks.broadcast(_Order("end"))

    @contextmanager
    def _order(self, order: _Order) -> Iterator[None]:
        """Tell the others; until the end of the block they are at work, too, and stay so where this rank fails."""
        self._within = True
        self._ranks.broadcast(order)
        yield
        self._within = False


def follow_as(part: type[Part], ranks: Ranks, work: Work) -> None:
    """Make this rank's part of everything that the first rank orders, until it ends.

    Args:
        work: as the first rank has it; net and state of the same shapes, whatever their values.
    """
    work = dataclasses.replace(work, data=in_format_of(work.net, work.data))
    work.net.train()
    phases = work.algorithm.phases(work.net)
    mine: Part | None = None
    while (order := ranks.broadcast(_Order("end"))).what != "end":
        if order.what == "begin":
            mine = part(ranks, work)
            mine.replica.spread_all()
            mine.begin()
            continue
        assert mine is not None  # begin comes first
        phase = phases[order.phase]
        mine.replica.spread_first()
        inputs, reader = mine.reading(phase)
        if order.what == "pass":
            mine.one_pass(inputs, phase, reader, order.pass_index)
        else:
            mine.validate(inputs, reader, with_loss=order.with_loss)


@contextmanager
def no_draws(work: Work) -> Iterator[None]:
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
