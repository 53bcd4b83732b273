"""What a step costs, counted on a twin before the window opens: operations and live bytes.

The twin is a deep copy of net and state, so that counting changes nothing; running it is also the warm-up of every run.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass

from torch import Tensor

from bpfree.algorithms import Algorithm, State
from bpfree.data import Dataset
from bpfree.meter import FlopCountError, count_flops, live_memory, tensor_bytes
from bpfree.nets import Chain
from bpfree.records import Flops, Memory

__all__ = ["StepCost", "step_cost", "warm_up"]

FLOPS_METHOD = "FlopCounterMode on one eager step, 2 per multiply-add"
MEMORY_METHOD = "live tensor bytes of one eager step (dispatch mode)"
GRADIENTS_REASON = "counted within activations: both live only inside a step"


@dataclass(frozen=True)
class StepCost:
    """FLOPs and bytes of a step, and the reasons for what could not be counted."""

    flops: Flops
    memory: Memory
    peak_bytes: int
    reasons: dict[str, str]


def _twins(net: Chain, state: State) -> tuple[Chain, State]:
    """Copies that share between them what the originals share (a head that is the net's output)."""
    return copy.deepcopy((net, state))


def warm_up(algorithm: Algorithm, net: Chain, state: State, data: Dataset, batch_size: int) -> None:
    """One step and one scoring on twins: kernels are loaded and thread pools awake before the clock starts."""
    net, state = _twins(net, state)
    phase = algorithm.phases(net)[-1]
    batch = next(iter(data.batches("train", batch_size)))
    algorithm.step(net, state, batch, phase)
    net.eval()
    algorithm.scores(net, state, batch.x, phase)


def step_cost(algorithm: Algorithm, net: Chain, state: State, data: Dataset, batch_size: int) -> StepCost:
    """Count one whole training step (all passes of the rule; for several phases their mean), and the scoring of a batch."""
    batch = next(iter(data.batches("train", batch_size)))
    phases = algorithm.phases(net)
    reasons = {"flops.orthogonalisation": "the rule has none", "memory.gradients": GRADIENTS_REASON}
    train: int | None = None
    evaluation: int | None = None
    try:
        counts = []
        for phase in phases:
            twin, twin_state = _twins(net, state)
            counts.append(count_flops(lambda t=twin, s=twin_state, p=phase: algorithm.step(t, s, batch, p)))
        train = round(sum(counts) / len(counts))
        twin, twin_state = _twins(net, state)
        twin.eval()
        evaluation = count_flops(lambda: algorithm.scores(twin, twin_state, batch.x, phases[-1]))
    except FlopCountError as error:
        reasons["flops.train_step"] = reasons["flops.evaluation"] = str(error)

    live = 0
    for phase in phases:
        twin, twin_state = _twins(net, state)
        live = max(live, live_memory(lambda t=twin, s=twin_state, p=phase: algorithm.step(t, s, batch, p)).peak_bytes)
    used = _used_parameters(algorithm, net)
    shared = {id(parameter) for parameter in net.parameters()}
    auxiliary = tensor_bytes([p for p in state.parameters() if id(p) not in shared])
    moments = tensor_bytes([moment for optimiser in state.optimisers() for moment in optimiser.moments()])
    weights = tensor_bytes(used)
    memory = Memory(
        weights=weights, auxiliary=auxiliary, gradients=None, optimiser=moments, activations=live, method=MEMORY_METHOD
    )
    flops = Flops(
        train_step=train,
        evaluation=evaluation,
        orthogonalisation=None,
        batch_size=len(batch.y),
        method=FLOPS_METHOD,
    )
    return StepCost(flops, memory, weights + auxiliary + moments + live, reasons)


def _used_parameters(algorithm: Algorithm, net: Chain) -> list[Tensor]:
    """Parameters of the net that the rule trains and uses (the output only where it does)."""
    parameters = [parameter for block in net for parameter in block.parameters()]
    return [*parameters, *(net.output.parameters() if algorithm.traits(net).trains_output else ())]


def n_parameters(algorithm: Algorithm, net: Chain) -> int:
    """How many of them there are."""
    return sum(parameter.numel() for parameter in _used_parameters(algorithm, net))
