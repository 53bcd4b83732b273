"""What a training of an arm will do: operations, multiply-adds and bytes of its steps, followed on fakes; nothing is computed."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from bpfree.algorithms import Algorithm, ChoosesReadout, Phase, State, frozen_features
from bpfree.bench.cost import auxiliary_bytes, used_parameters
from bpfree.bench.cost_table import MemoryBytes
from bpfree.bench.counting import every_step, live_call
from bpfree.data import Batch, Dataset
from bpfree.meter import IN_PLACE_FORMULAS, FlopCountError, count_flops, live_memory, tensor_bytes
from bpfree.nets import Chain
from bpfree.planning.fakes import fake_batch, fake_mode, fake_twins
from bpfree.planning.operations import Operation, operations_of
from bpfree.train import can_replay
from bpfree.train.evaluation import EVALUATION_BATCH
from bpfree.train.features import CACHED_AT_ONCE

__all__ = ["PhaseWork", "RuleWork", "Work", "step_bytes", "work_of"]


@dataclass(frozen=True)
class Work:
    """Operations with how often each is done, a fraction where it is not done each time, and their multiply-adds.

    Attributes:
        macs: None where an operation that multiplies matrices has no formula; ``why_no_macs`` then names it.
    """

    operations: dict[Operation, float] = field(default_factory=dict)
    macs: float | None = 0.0
    why_no_macs: str = ""

    def __add__(self, other: Work) -> Work:
        operations = {
            key: self.operations.get(key, 0) + other.operations.get(key, 0) for key in {**self.operations, **other.operations}
        }
        macs = None if self.macs is None or other.macs is None else self.macs + other.macs
        return Work(operations, macs, self.why_no_macs or other.why_no_macs)

    def __mul__(self, times: float) -> Work:
        macs = None if self.macs is None else self.macs * times
        return Work({key: count * times for key, count in self.operations.items()}, macs, self.why_no_macs)


@dataclass(frozen=True)
class PhaseWork:
    """One phase.

    Attributes:
        step: a training step in the long run: ``learn``, and of periodic work its share.
        close: what closes a pass.
        features: what is computed once for every example, at the start of the phase; ``cache_bytes`` it takes.
        gradients_bytes, activations_bytes: at the highest moment of a step, beside what persists.
    """

    phase: Phase
    step: Work
    close: Work
    features: Work
    cache_bytes: int
    gradients_bytes: int
    activations_bytes: int


@dataclass(frozen=True)
class RuleWork:
    """A training of one arm on one net with one size of batch.

    Attributes:
        scoring: of the whole validation split.
        memory: of the phase that needs most.
        cache_bytes: of what is computed once for all examples.
        scoring_bytes: most bytes while the validation split is scored, what persists included.
        repeated: steps are repeated from a list (:mod:`bpfree.train.replay`).
    """

    phases: tuple[PhaseWork, ...]
    scoring: Work
    memory: MemoryBytes
    cache_bytes: int
    scoring_bytes: int
    repeated: bool


def work_of(
    rule: Algorithm, net: Chain, state: State, data: Dataset, batch_size: int, mode: FakeTensorMode | None = None
) -> RuleWork:
    """Follow every phase of a rule, and its scoring.

    Args:
        net, state: ready for training; they are not changed.
        data: only its shapes and sizes are used.
        mode: of a state that holds fakes already (:func:`bpfree.planning.fakes.fake_state`).
    """
    mode = fake_mode() if mode is None else mode
    phases = tuple(_phase_work(mode, rule, net, state, data, batch_size, phase) for phase in rule.phases(net))
    highest = max(phases, key=lambda each: each.gradients_bytes + each.activations_bytes)
    memory = _memory(rule, net, state, highest.gradients_bytes, highest.activations_bytes)
    lasting = memory.peak - memory.gradients - memory.activations
    cache_bytes = max(each.cache_bytes for each in phases)
    scoring, bytes_ = _scoring(mode, rule, net, state, data)
    return RuleWork(phases, scoring, memory, cache_bytes, lasting + cache_bytes + bytes_, can_replay(rule, net))


def step_bytes(rule: Algorithm, net: Chain, state: State, data: Dataset, batch_size: int) -> int:
    """Most bytes of a training step, what persists included: :func:`work_of` for those who ask for nothing else."""
    mode, most = fake_mode(), 0
    for phase in rule.phases(net):
        reader, shape = _read(net, data, phase)
        twin, twin_state = fake_twins(mode, net, state)
        batch = _batch(mode, data, batch_size, shape)
        with mode:
            live = live_call(lambda: every_step(rule, twin, twin_state, batch, reader), twin_state)  # noqa: B023 - called at once
        most = max(most, live.peak_bytes + _cache_bytes(net, data, reader, shape))
    return most + _memory(rule, net, state, 0, 0).peak


def _memory(rule: Algorithm, net: Chain, state: State, gradients: int, activations: int) -> MemoryBytes:
    return MemoryBytes(
        weights=tensor_bytes(used_parameters(rule, net)),
        auxiliary=auxiliary_bytes(net, state),
        optimiser=tensor_bytes([moment for optimiser in state.optimisers() for moment in optimiser.moments()]),
        gradients=gradients,
        activations=activations,
    )


def _read(net: Chain, data: Dataset, phase: Phase) -> tuple[Phase, tuple[int, ...]]:
    """The phase as it reads, and the shape of an example that it reads (see :func:`bpfree.train.read_by`)."""
    if phase.frozen == 0 or (phase.or_examples and data.augmentation != "none"):
        return phase, data.in_shape
    first = phase.frozen - 1 if phase.last_only else 0
    width = sum(block.n_features for block in list(net)[first : phase.frozen])
    return dataclasses.replace(phase, cached=True), (width,)


def _cache_bytes(net: Chain, data: Dataset, phase: Phase, shape: tuple[int, ...]) -> int:
    return (data.n("train") + data.n("validation")) * shape[0] * net.dtype.itemsize if phase.cached else 0


def _batch(mode: FakeTensorMode, data: Dataset, n: int, shape: tuple[int, ...]) -> Batch:
    return fake_batch(mode, n, shape, data.dtype, weighted=data.class_weight is not None)


def _phase_work(
    mode: FakeTensorMode, rule: Algorithm, net: Chain, state: State, data: Dataset, n: int, phase: Phase
) -> PhaseWork:
    reader, shape = _read(net, data, phase)
    batch = _batch(mode, data, n, shape)
    twin, twin_state = fake_twins(mode, net, state)
    steps: list[Work] = []
    with mode, torch.no_grad():
        live = live_call(lambda: steps.append(_followed(lambda: every_step(rule, twin, twin_state, batch, reader))), twin_state)
    step = steps[0]
    for work in rule.upkeep():
        if work.every is not None and work.every > 1:
            twin, twin_state = fake_twins(mode, net, state)
            with mode, torch.no_grad():
                step += _followed(lambda: work.do(twin, twin_state, batch)) * (1 / work.every)  # noqa: B023 - called at once
    return PhaseWork(
        reader,
        step,
        _closing(mode, rule, net, state, batch, reader),
        _features(mode, net, state, data, reader) if reader.cached else Work(),
        _cache_bytes(net, data, reader, shape),
        live.gradients_bytes,
        live.activations_bytes,
    )


def _closing(mode: FakeTensorMode, rule: Algorithm, net: Chain, state: State, batch: Batch, phase: Phase) -> Work:
    if type(rule).close is Algorithm.close:
        return Work()
    twin, twin_state = fake_twins(mode, net, state)
    with mode, torch.no_grad():
        rule.learn(twin, twin_state, batch, phase)  # there must be something to close
        return _followed(lambda: rule.close(twin, twin_state, phase))


def _features(mode: FakeTensorMode, net: Chain, state: State, data: Dataset, phase: Phase) -> Work:
    twin, _ = fake_twins(mode, net, state)
    twin.eval()
    examples = data.n("train") + data.n("validation")
    size = min(CACHED_AT_ONCE, data.n("train"))
    batch = _batch(mode, data, size, data.in_shape)
    with mode, torch.no_grad():
        return _followed(lambda: torch.cat(list(frozen_features(twin, batch.x, phase.frozen)), 1)) * (examples / size)


def _scoring(mode: FakeTensorMode, rule: Algorithm, net: Chain, state: State, data: Dataset) -> tuple[Work, int]:
    twin, twin_state = fake_twins(mode, net, state)
    twin.eval()
    size = min(EVALUATION_BATCH, data.n("validation"))
    batch, phase = _batch(mode, data, size, data.in_shape), rule.phases(net)[-1]

    def scored() -> object:
        """As :func:`bpfree.train.evaluate`, which reads its result, so that it cannot be followed itself."""
        if isinstance(rule, ChoosesReadout):
            every = rule.candidates(twin, twin_state, batch.x, phase)
        else:
            every = rule.scores(twin, twin_state, batch.x, phase).unsqueeze(0)
        predicted = every.amax(2).isfinite()
        known, correct = predicted.all(1), (every.argmax(2) == batch.y) & predicted
        hits, finite, y = torch.cat([correct], 1), torch.stack([known]).all(0), torch.cat([batch.y])
        best = torch.where(finite, hits.sum(1), hits.sum(1) - hits.shape[1] - 1).argmax()
        counts = torch.zeros(2, data.n_classes, dtype=torch.int64)
        for row in counts:
            row.index_add_(0, y, torch.ones_like(y))
        return best, hits[0].double().mean(), counts

    works: list[Work] = []
    with mode, torch.no_grad():
        live = live_memory(lambda: works.append(_followed(scored)))
    read = data.dtype.itemsize * size * torch.Size(data.in_shape).numel()  # the batch itself is made inside an evaluation
    return works[0] * (data.n("validation") / size), live.peak_bytes + read


def _followed(call: Callable[[], object]) -> Work:
    """Run on fakes once, with the operations counted and their multiply-adds."""
    counts: list[int] = []
    why = ""

    def counted() -> None:
        nonlocal why
        try:
            counts.append(count_flops(lambda: (call(), torch.empty(0)), formulas=IN_PLACE_FORMULAS))
        except FlopCountError as error:
            why = str(error)

    operations: Counter[Operation] = operations_of(counted)
    if not counts:
        operations = operations_of(call)
    return Work(dict(operations), counts[0] / 2 if counts else None, why)
