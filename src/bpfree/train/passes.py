"""One pass over the training split: in this process, or wherever else steps are made."""

from __future__ import annotations

import operator
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from bpfree.algorithms import Algorithm, Phase, State
from bpfree.data import Batch, Dataset
from bpfree.errors import UsageError
from bpfree.nets import Chain
from bpfree.numerics.products import products_in
from bpfree.numerics.streams import stream_key
from bpfree.train.evaluation import Evaluation, evaluate
from bpfree.train.tiers import Stepper, stepper
from bpfree.train.within import Keeper, PassSoFar, draws_now, put_draws

__all__ = ["Losses", "PassResult", "Passes", "SerialPasses", "Work", "batches_of", "mean_loss", "passes_for", "seeded"]


@dataclass(frozen=True)
class Work:
    """What all passes of a training have in common.

    Attributes:
        precision: of products.
    """

    algorithm: Algorithm[Any]
    net: Chain
    state: State[Any]
    data: Dataset
    batch_size: int
    seed: int
    precision: str


@dataclass(frozen=True)
class PassResult:
    """What a pass came to.

    Attributes:
        loss: mean over the training split of the learning blocks' losses.
        steps, examples: as they were counted.
    """

    loss: float
    steps: int
    examples: int


class Passes(Protocol):
    """Makes the passes of a training."""

    def begin(self, work: Work) -> None:
        """Called once, before the first pass, with net and state as they are then."""

    def one_pass(self, inputs: Dataset, phase: Phase, reader: Phase, pass_index: int) -> PassResult:
        """Train on every batch of the training split once.

        Args:
            inputs, reader: what the phase reads, and the phase that reads it, see :func:`bpfree.train.features.read_by`.
            pass_index: of all passes, from 0.
        """
        ...

    def validate(self, inputs: Dataset, phase: Phase, reader: Phase, *, with_loss: bool) -> Evaluation:
        """Score the validation split, which decides among the readouts of a rule that chooses one.

        Args:
            inputs, phase, reader: as of :meth:`one_pass`.
        """
        ...


class Losses:
    """The losses of a pass, step after step: of each the mean over the blocks that learn.

    On a processor values are read, and averaged as numbers of Python: between two small steps the code of torch's own mean is no
    longer in the first cache, and takes a tenth of a step. On a GPU reading a value would wait for the device.

    Args:
        means: 0-D, of the steps so far.
        rows: losses of further steps, as :meth:`add` takes them.
    """

    def __init__(self, means: Sequence[Tensor] = (), rows: Iterable[Tensor] = ()) -> None:
        self._means: list[Tensor | float] = list(means)
        for row in rows:
            self.add(row)

    def add(self, losses: Tensor) -> None:
        """Of a step, (n blocks,) or 0-D; the next step may overwrite them."""
        if losses.device.type != "cpu" or losses.dim() > 1:
            self._means.append(losses.mean())  # a tensor of its own
            return
        values = losses.tolist()
        self._means.append(values if isinstance(values, float) else sum(values) / len(values))

    def tensors(self) -> list[Tensor]:
        """0-D, of every step so far."""
        return [mean if isinstance(mean, Tensor) else torch.tensor(mean, dtype=torch.float64) for mean in self._means]

    def mean(self, sizes: list[int]) -> float:
        """See :func:`mean_loss`."""
        numbers = [mean for mean in self._means if isinstance(mean, float)]
        if len(numbers) < len(self._means):
            return mean_loss(self.tensors(), sizes)
        return sum(map(operator.mul, numbers, sizes)) / sum(sizes)


class SerialPasses:
    """Batch after batch in this process.

    Args:
        take_step: in the tier that was asked for.
        keeper: of checkpoints within a pass.
    """

    def __init__(self, take_step: Stepper, keeper: Keeper | None = None) -> None:
        self._take_step = take_step
        self._keeper = keeper or Keeper()

    def begin(self, work: Work) -> None:
        """Note what is trained."""
        self._work = work

    def one_pass(self, inputs: Dataset, phase: Phase, reader: Phase, pass_index: int) -> PassResult:
        """See :class:`Passes`."""
        del phase
        work, keeper, device = self._work, self._keeper, self._work.net.device
        losses, sizes = Losses(), list[int]()
        self._take_step.begin_pass()
        with seeded(work, pass_index), products_in(work.precision):
            if (begun := keeper.take()) is not None:
                losses, sizes = Losses(begun.losses), list(begun.sizes)
                put_draws(begun.draws, device)
            for batch in batches_of(work, inputs, pass_index, first=len(sizes)):
                losses.add(self._take_step(batch, reader))
                sizes.append(len(batch.y))
                if keeper.due(len(sizes)):
                    keeper.keep(PassSoFar(losses.tensors(), sizes, draws_now(device)))
        return PassResult(losses.mean(sizes), len(sizes), sum(sizes))

    def validate(self, inputs: Dataset, phase: Phase, reader: Phase, *, with_loss: bool) -> Evaluation:
        """See :class:`Passes`."""
        del phase
        work = self._work
        with products_in(work.precision):
            return evaluate(
                work.algorithm, work.net, work.state, inputs, "validation", reader, with_loss=with_loss, choosing=True
            )


def passes_for(passes: Passes | None, tier: str, work: Work, keeper: Keeper) -> Passes:
    """``passes``, or those of this process in a tier.

    Raises:
        UsageError: others are asked for a tier that they do not have, or one that this device does not have; or to write or read
            checkpoints within a pass.
    """
    if passes is None:
        return SerialPasses(stepper(tier, work.algorithm, work.net, work.state, work.precision), keeper)
    if keeper.every is not None:
        raise UsageError("steps in several processes have checkpoints after each pass alone; leave out --checkpoint-every")
    if keeper.begun is not None:
        raise UsageError(
            "the checkpoint was written within a pass, which only one process can go on with; do that until the pass is over"
        )
    if tier != "eager":
        raise UsageError(f"steps in several processes are made in the tier eager, and {tier} was asked for; use --tier eager")
    return passes


def batches_of(work: Work, inputs: Dataset, pass_index: int, first: int = 0) -> Iterator[Batch]:
    """Of the training split, in the order of this pass, from number ``first`` on."""
    return inputs.batches("train", work.batch_size, pass_index=pass_index, seed=work.seed, first=first)


@contextmanager
def seeded(work: Work, pass_index: int) -> Iterator[None]:
    """Modules of a user (dropout) draw from torch's global generator: the same on resume; the caller's is left unchanged."""
    generators = _generators(work.net.device)
    before = [generator.get_state() for generator in generators]
    draws = stream_key(work.seed, pass_index)
    try:
        for generator in generators:
            generator.manual_seed(draws)
        yield
    finally:
        for generator, state in zip(generators, before, strict=True):
            generator.set_state(state)


def mean_loss(losses: list[Tensor], sizes: list[int]) -> float:
    """Of a pass, weighted by the examples of each step; summed in float64 at its end, where the device is waited for once."""
    of_steps = torch.stack(losses).double()
    return float(of_steps @ torch.tensor(sizes, dtype=torch.float64, device=of_steps.device)) / sum(sizes)


def _generators(device: torch.device) -> list[torch.Generator]:
    """What torch draws from by default, on the processor and on one GPU.

    Each is seeded by itself: ``torch.manual_seed`` queues a call for every device that torch knows, each with the caller's stack
    as text, and loads torch's compiler.
    """
    if device.type != "cuda":
        return [torch.default_generator]
    index = torch.cuda.current_device() if device.index is None else device.index
    return [torch.default_generator, torch.cuda.default_generators[index]]
