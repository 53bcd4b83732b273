"""Counting what a rule does on twins: operations and live bytes, periodic work and the end of a pass each by itself.

A twin is a deep copy of net and state, so that counting changes nothing. Nothing is known here of any rule: what is periodic, how
often, and what is reported apart, each rule declares (:meth:`bpfree.algorithms.Algorithm.upkeep`).
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass

import torch

from bpfree.algorithms import Algorithm, Phase, State, Upkeep, frozen_features
from bpfree.data import Batch
from bpfree.meter import IN_PLACE_FORMULAS, Labels, counting_flops, followed_memory
from bpfree.nets import Chain

__all__ = [
    "ApartCount",
    "LiveStep",
    "apart_flops",
    "end_of_pass_flops",
    "evaluation_flops",
    "every_step",
    "features_flops",
    "live_call",
    "live_step",
    "step_flops",
    "twins",
]

GRADIENTS = "gradients"


def twins(net: Chain, state: State) -> tuple[Chain, State]:
    """Copies that share between them what the originals share (a head that is the net's output)."""
    return copy.deepcopy((net, state))


@torch.no_grad()
def step_flops(algorithm: Algorithm, net: Chain, state: State, batch: Batch, phase: Phase) -> int:
    """FLOPs of one training step in the long run: ``learn``, and of each periodic work its share, but for what is apart.

    Work done once, before the first step, is no part of a step.

    Raises:
        FlopCountError: an operation that multiplies matrices has no formula.
    """
    twin, twin_state = twins(net, state)
    with counting_flops() as count:
        algorithm.learn(twin, twin_state, batch, phase)
    total = float(count.total)
    for work in algorithm.upkeep():
        if work.every is not None and not work.apart:
            total += _upkeep_flops(work, net, state, batch) / work.every
    return round(total)


@torch.no_grad()
def _upkeep_flops(work: Upkeep, net: Chain, state: State, batch: Batch) -> int:
    twin, twin_state = twins(net, state)
    with counting_flops(formulas=IN_PLACE_FORMULAS) as count:
        work.do(twin, twin_state, batch)
        _operation_of_no_cost(twin)
    return count.total


def _operation_of_no_cost(net: Chain) -> None:
    """A count that saw no operation at all is refused."""
    net.output.weight.detach().clone()


@dataclass(frozen=True)
class ApartCount:
    """Work that is reported beside the step: its name, the steps between two times, FLOPs of one."""

    name: str
    every: int
    flops: int


def apart_flops(algorithm: Algorithm, net: Chain, state: State, batch: Batch) -> ApartCount | None:
    """The periodic work that is reported apart (orthogonalisation); None for a rule that has none.

    Several works of a rule count as one: their names joined, FLOPs of each by its share in the most frequent one's period.
    """
    works = [(work, work.every) for work in algorithm.upkeep() if work.apart and work.every is not None]
    if not works:
        return None
    every = min(every for _, every in works)
    flops = sum(_upkeep_flops(work, net, state, batch) * every / its for work, its in works)
    return ApartCount(" and ".join(work.name for work, _ in works), every, round(flops))


def evaluation_flops(algorithm: Algorithm, net: Chain, state: State, batch: Batch, phase: Phase) -> int:
    """FLOPs of scoring one batch as the rule predicts after ``phase``."""
    twin, twin_state = twins(net, state)
    twin.eval()
    with counting_flops() as count:
        algorithm.scores(twin, twin_state, batch.x, phase)
    return count.total


def features_flops(net: Chain, state: State, batch: Batch, n_blocks: int) -> int:
    """FLOPs of the features of a batch: the activities of the first ``n_blocks`` blocks, frozen."""
    twin, _ = twins(net, state)
    twin.eval()
    with counting_flops() as count:
        list(frozen_features(twin, batch.x, n_blocks))
    return count.total


@torch.no_grad()
def end_of_pass_flops(algorithm: Algorithm, net: Chain, state: State, batch: Batch, phase: Phase) -> int | None:
    """FLOPs of what closes each pass of ``phase`` (a ridge solution); ``None`` where that multiplies nothing.

    torch's own counter is blind to decompositions; they count as in Golub and Van Loan (:mod:`bpfree.meter.flop_formulas`).
    """
    if type(algorithm).close is Algorithm.close:
        return None
    twin, twin_state = twins(net, state)
    algorithm.learn(twin, twin_state, batch, phase)  # there must be something to close
    with counting_flops() as count:
        algorithm.close(twin, twin_state, phase)
        _operation_of_no_cost(twin)
    return count.total or None


@dataclass(frozen=True)
class LiveStep:
    """Bytes of tensors at the highest moment of a step, beyond what was there before: gradients, and all the rest."""

    gradients_bytes: int
    activations_bytes: int

    @property
    def peak_bytes(self) -> int:
        return self.gradients_bytes + self.activations_bytes


@torch.no_grad()
def every_step(algorithm: Algorithm, net: Chain, state: State, batch: Batch, phase: Phase) -> None:
    """What every training step does: ``learn``, and the upkeep that is due each time."""
    works = [work for work in algorithm.upkeep() if work.every == 1]
    for work in works:
        if work.before:
            work.do(net, state, batch)
    algorithm.learn(net, state, batch, phase)
    for work in works:
        if not work.before:
            work.do(net, state, batch)


def live_step(algorithm: Algorithm, net: Chain, state: State, batch: Batch, phase: Phase) -> LiveStep:
    """Follow what every training step does, on twins."""
    twin, twin_state = twins(net, state)
    return live_call(lambda: every_step(algorithm, twin, twin_state, batch, phase), twin_state)


def live_call(step: Callable[[], object], state: State) -> LiveStep:
    """Follow a step that changes ``state``. A gradient is a tensor that an optimiser of the state is handed in the step."""
    labels = Labels()
    for optimiser in state.optimisers():
        optimiser.observer = labels.naming(GRADIENTS)
    with followed_memory(labels) as followed:
        step()
    live = followed.memory
    gradients = live.labelled_bytes.get(GRADIENTS, 0)
    return LiveStep(gradients, live.peak_bytes - gradients)
