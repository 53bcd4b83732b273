"""What a step costs, counted on a twin before the window opens: operations and live bytes.

The twin is a deep copy of net and state, so that counting changes nothing; running it is also the warm-up of every run.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field

from torch import Tensor

from bpfree.algorithms import Algorithm, Phase, State
from bpfree.bench.counting import (
    ApartCount,
    apart_flops,
    end_of_pass_flops,
    evaluation_flops,
    every_step,
    features_flops,
    live_step,
    step_flops,
    twins,
)
from bpfree.data import Batch, Dataset, Examples
from bpfree.meter import FlopCountError, followed_memory, tensor_bytes
from bpfree.nets import Chain
from bpfree.records import Flops, Memory
from bpfree.train import evaluate, read_by
from bpfree.train.evaluation import EVALUATION_BATCH

__all__ = ["StepCost", "auxiliary_bytes", "n_parameters", "step_cost", "used_parameters", "warm_up"]

FLOPS_METHOD = "FlopCounterMode on one eager step, 2 per multiply-add"
MEMORY_METHOD = "live tensor bytes of one eager step (dispatch mode)"
NO_ORTHOGONALISATION = "the rule has none"


@dataclass(frozen=True)
class StepCost:
    """FLOPs and bytes of a step, and the reasons for what could not be counted.

    Attributes:
        phases: as they read: examples, or features that are computed once.
        by_phase: FLOPs of a training step in each phase; ``flops.train_step`` is their mean.
        end_of_pass: FLOPs of what closes a pass, besides its steps; ``None`` where that is nothing.
        ends_by_phase: the same for each phase, 0 where it is nothing.
        features_by_phase: FLOPs of the features of the whole training split, for a phase that reads them; else 0.
        apart: the periodic work that is reported beside the step, ``None`` where there is none.
        evaluation_peak_bytes: most live bytes while the validation split is scored, what persists included.
    """

    flops: Flops
    memory: Memory
    peak_bytes: int | None
    reasons: dict[str, str]
    phases: tuple[Phase, ...] = ()
    by_phase: tuple[int, ...] = ()
    end_of_pass: int | None = None
    ends_by_phase: tuple[int, ...] = ()
    features_by_phase: tuple[int, ...] = ()
    apart: ApartCount | None = None
    evaluation_peak_bytes: int | None = 0

    def run_flops(self, passes: Mapping[int, int], steps: int, examples: int) -> int | None:
        """FLOPs of a whole training: phases by their passes, work apart by its share of the steps, solves, features cached once.

        Args:
            passes: of each phase, by index.
            steps, examples: of the run; a smaller last batch costs in proportion.
        """
        if not self.by_phase or not passes:
            return None
        in_pass = examples / self.flops.batch_size / sum(passes.values())  # full steps that a pass amounts to
        total = sum(count * (in_pass * self.by_phase[phase] + self.ends_by_phase[phase]) for phase, count in passes.items())
        total += sum(self.features_by_phase[phase] for phase, count in passes.items() if count)
        if self.apart is not None:
            total += self.apart.flops * (steps // self.apart.every)
        return round(total)


@dataclass
class _Counts:
    """FLOPs as far as they could be counted."""

    by_phase: list[int] = field(default_factory=list)
    evaluation: int | None = None
    apart: ApartCount | None = None
    ends: list[int] = field(default_factory=list)
    features: list[int] = field(default_factory=list)

    @property
    def end_of_pass(self) -> int | None:
        return sum(self.ends) or None


def warm_up(algorithm: Algorithm, net: Chain, state: State, data: Dataset, batch_size: int) -> None:
    """One step and one scoring on twins: kernels are loaded and thread pools awake before the clock starts."""
    net, state = twins(net, state)
    phase = algorithm.phases(net)[-1]
    batch = next(iter(data.batches("train", batch_size)))
    every_step(algorithm, net, state, batch, phase)
    net.eval()
    algorithm.scores(net, state, batch.x, phase)


def step_cost(algorithm: Algorithm, net: Chain, state: State, data: Dataset, batch_size: int) -> StepCost:
    """Count one whole training step (all passes of the rule; for several phases their mean), and the scoring of a batch.

    Orthogonalisation, and what closes a pass, are counted apart; bytes are those of the phase that needs most.
    """
    batch = next(iter(data.batches("train", batch_size)))
    read = _read_by_phases(algorithm, net, data, batch, batch_size)
    reasons: dict[str, str] = {}
    counts = _Counts()
    try:
        counts.by_phase = [step_flops(algorithm, net, state, given, phase) for given, phase in read]
        counts.evaluation = evaluation_flops(algorithm, net, state, batch, algorithm.phases(net)[-1])
        counts.apart = apart_flops(algorithm, net, state, batch)
        counts.ends = [end_of_pass_flops(algorithm, net, state, given, phase) or 0 for given, phase in read]
        n_batches = data.n("train") / len(batch.y)
        counts.features = [
            round(n_batches * features_flops(net, state, batch, phase.frozen)) if phase.cached else 0 for _, phase in read
        ]
    except FlopCountError as error:
        counts = _Counts()
        reasons |= dict.fromkeys(("flops.train_step", "flops.evaluation", "flops.orthogonalisation"), str(error))
    if counts.apart is None:
        reasons.setdefault("flops.orthogonalisation", NO_ORTHOGONALISATION)

    live = max((live_step(algorithm, net, state, given, phase) for given, phase in read), key=lambda step: step.peak_bytes)
    examples = data.n("train") + data.n("validation")
    cache_bytes = max((given.x[0].nbytes * examples for given, phase in read if phase.cached), default=0)
    memory = Memory(
        weights=tensor_bytes(used_parameters(algorithm, net)),
        auxiliary=auxiliary_bytes(net, state),
        gradients=live.gradients_bytes,
        optimiser=tensor_bytes([moment for optimiser in state.optimisers() for moment in optimiser.moments()]),
        activations=live.activations_bytes,
        feature_cache=cache_bytes,
        method=MEMORY_METHOD,
    )
    flops = Flops(
        train_step=round(sum(counts.by_phase) / len(counts.by_phase)) if counts.by_phase else None,
        evaluation=counts.evaluation,
        orthogonalisation=None if counts.apart is None else counts.apart.flops,
        batch_size=len(batch.y),
        method=_flops_method(counts),
    )
    parts = (memory.weights, memory.auxiliary, memory.gradients, memory.optimiser, memory.activations, cache_bytes)
    peak_bytes = sum(part for part in parts if part is not None)
    lasting = peak_bytes - live.peak_bytes
    return StepCost(
        flops,
        memory,
        peak_bytes,
        reasons,
        phases=tuple(phase for _, phase in read),
        by_phase=tuple(counts.by_phase),
        end_of_pass=counts.end_of_pass,
        ends_by_phase=tuple(counts.ends),
        features_by_phase=tuple(counts.features),
        apart=counts.apart,
        evaluation_peak_bytes=lasting + _evaluation_bytes(algorithm, net, state, data),
    )


def _evaluation_bytes(algorithm: Algorithm, net: Chain, state: State, data: Dataset) -> int:
    """Most bytes that scoring one batch of the validation split adds."""
    twin, twin_state = twins(net, state)
    whole = data.stored().without_test()
    few = {name: Examples(e.x[:EVALUATION_BATCH], e.y[:EVALUATION_BATCH]) for name, e in whole.splits.items()}
    small = dataclasses.replace(whole, splits=few)
    phase = algorithm.phases(net)[-1]
    with followed_memory() as followed:
        evaluate(algorithm, twin, twin_state, small, "validation", phase, choosing=True)
    return followed.memory.peak_bytes


def _flops_method(counts: _Counts) -> str:
    words = FLOPS_METHOD
    if counts.apart is not None:
        words += f"; one orthogonalisation apart, done every {counts.apart.every} steps"
    if counts.end_of_pass is not None:
        words += f"; besides, {counts.end_of_pass} at the end of each pass (decompositions as in Golub and Van Loan)"
    return words


def auxiliary_bytes(net: Chain, state: State) -> int:
    """What the rule keeps beside net and moments: heads, feedback, mirrors, sums; scalars left out."""
    elsewhere = {id(tensor) for tensor in net.parameters()}
    elsewhere |= {id(moment) for optimiser in state.optimisers() for moment in optimiser.moments()}
    return tensor_bytes([t for t in (*state.parameters(), *state.buffers()) if t.dim() > 0 and id(t) not in elsewhere])


def _read_by_phases(algorithm: Algorithm, net: Chain, data: Dataset, batch: Batch, batch_size: int) -> list[tuple[Batch, Phase]]:
    """For every phase the batch that it reads, and the phase that reads it."""
    cached = _cached(algorithm, net, data, batch_size)
    return [cached.get(phase.index, (batch, phase)) for phase in algorithm.phases(net)]


def _cached(algorithm: Algorithm, net: Chain, data: Dataset, batch_size: int) -> dict[int, tuple[Batch, Phase]]:
    """What the phases read that read something computed once (see ``Phase.frozen``): a batch of it, by index of the phase."""
    stored = data.stored().without_test()
    few = {name: Examples(e.x[:batch_size], e.y[:batch_size]) for name, e in stored.splits.items()}
    small = dataclasses.replace(stored, splits=few)
    cached = {}
    for phase in algorithm.phases(net):
        inputs, reader = read_by(net, small, phase)
        if reader.cached:
            cached[phase.index] = (next(iter(inputs.batches("train", batch_size))), reader)
    return cached


def used_parameters(algorithm: Algorithm, net: Chain) -> list[Tensor]:
    """Parameters of the net that the rule trains and uses (the output only where it does)."""
    parameters = [parameter for block in net for parameter in block.parameters()]
    return [*parameters, *(net.output.parameters() if algorithm.traits(net).trains_output else ())]


def n_parameters(algorithm: Algorithm, net: Chain) -> int:
    """How many of them there are."""
    return sum(parameter.numel() for parameter in used_parameters(algorithm, net))
