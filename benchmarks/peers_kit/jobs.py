"""What everyone trains: a net on batches that are ready, and who trains it."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from bpfree import data as datasets
from bpfree.bench.arm import Arm
from bpfree.data import Dataset
from bpfree.nets import Chain, build
from bpfree.train import initialise, read_by, stepper

__all__ = ["LR", "Contender", "Job", "of_arm"]

LR = 1e-3
N_BATCHES = 4
"""Different batches that are used in turns."""


@dataclass(frozen=True)
class Contender:
    """One that trains.

    Attributes:
        label: the peer's function, or the arm.
        run: takes so many steps, in each of ``stages`` that train one after another.
        stages: 1 where everything learns at once.
    """

    label: str
    run: Callable[[int], object]
    stages: int = 1


@dataclass(frozen=True)
class Job:
    """A net, examples, and a batch size.

    Attributes:
        net_name: such as ``mlp:2x1000``.
        data: examples (1, edge, edge).
        n: examples in a batch.
    """

    net_name: str
    data: Dataset
    n: int

    @classmethod
    def of(cls, net_name: str, n: int, edge: int = 28) -> Job:
        """On random pictures of ten classes."""
        examples = max(500, 2 * N_BATCHES * n)
        return cls(net_name, datasets.load(f"synthetic:n={examples}:inputs=1x{edge}x{edge}").without_test(), n)

    @property
    def net(self) -> Chain:
        """A new one."""
        return build(self.net_name, self.data.in_shape, self.data.n_classes)

    @property
    def widths(self) -> list[int]:
        """Of the blocks."""
        return [block.n_features for block in self.net]

    @property
    def n_inputs(self) -> int:
        """Numbers in an example."""
        return torch.Size(self.data.in_shape).numel()

    def ready(self, steps: int) -> list[tuple[Tensor, Tensor]]:
        """So many batches of examples and labels, as peers' loaders give them."""
        batches = [(batch.x, batch.y) for batch in self.data.batches("train", self.n) if len(batch.y) == self.n][:N_BATCHES]
        return list(itertools.islice(itertools.cycle(batches), steps))


def of_arm(text: str, job: Job, *, last_phase: bool = False) -> Contender:
    """An arm of this library on the job, in all of its phases, or in the last alone."""
    arm = Arm.parse(text)
    rule, net = arm.build({}), job.net
    state = initialise(rule, net, 0, job.data.device)
    net.train()
    parts = []
    for phase in rule.phases(net)[-1 if last_phase else 0 :]:
        read, reader = read_by(net, job.data, phase)
        full = [batch for batch in read.batches("train", job.n) if len(batch.y) == job.n][:N_BATCHES]
        parts.append((stepper("eager", rule, net, state), reader, full))  # each phase its own, as in a training one after another

    def run(steps: int) -> None:
        for take_step, reader, full in parts:
            for batch in itertools.islice(itertools.cycle(full), steps):
                take_step(batch, reader)

    return Contender(arm.label, run, len(parts))
