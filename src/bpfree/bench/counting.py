"""Counting one step of a rule on twins: operations and live bytes, the work of every k-th step and of a pass's end apart.

A twin is a deep copy of net and state, so that counting changes nothing.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from bpfree.algorithms import Algorithm, Phase, State
from bpfree.algorithms._state import Optimiser
from bpfree.data import Batch
from bpfree.meter import IN_PLACE_FORMULAS, Labels, count_flops, live_memory
from bpfree.nets import Chain

__all__ = [
    "LiveStep",
    "end_of_pass_flops",
    "evaluation_flops",
    "live_step",
    "orthogonalisation_flops",
    "orthogonalised_every",
    "step_flops",
    "twins",
    "without_first_work",
]

_ONCE = {"premirror_steps": 0}
"""Work of the first step only, by the field that says how much: no part of a step."""

_PERIODIC = ("mirror_every", "refresh_every")
"""Fields that give work to every k-th step: a step is charged a k-th of it."""

_ORTHOGONALISE = "orthogonalise_every"
_NEVER = 1 << 40
GRADIENTS = "gradients"


def twins(net: Chain, state: State) -> tuple[Chain, State]:
    """Copies that share between them what the originals share (a head that is the net's output)."""
    return copy.deepcopy((net, state))


def _with(algorithm: Algorithm, values: Mapping[str, Any]) -> Algorithm:
    """The rule with those of ``values`` that are hyper-parameters of it."""
    known = algorithm.params()
    return dataclasses.replace(algorithm, **{name: value for name, value in values.items() if name in known})


def without_first_work(algorithm: Algorithm) -> Algorithm:
    """The rule less what it does once, in its first step (PEPITA's mirroring before training)."""
    return _with(algorithm, _ONCE)


def step_flops(algorithm: Algorithm, net: Chain, state: State, batch: Batch, phase: Phase) -> int:
    """FLOPs of one training step in the long run: all passes of the rule, orthogonalisation apart, periodic work shared out.

    Raises:
        FlopCountError: an operation that multiplies matrices has no formula.
    """
    rest = {**_ONCE, **dict.fromkeys((*_PERIODIC, _ORTHOGONALISE), _NEVER)}
    plain = _step(_with(algorithm, rest), net, state, batch, phase)
    total = float(plain)
    for name in _PERIODIC:
        if (every := algorithm.params().get(name)) is not None:
            with_it = _step(_with(algorithm, {**rest, name: 1}), net, state, batch, phase)
            total += (with_it - plain) / float(every)
    return round(total)


def _step(algorithm: Algorithm, net: Chain, state: State, batch: Batch, phase: Phase) -> int:
    twin, twin_state = twins(net, state)
    return count_flops(lambda: algorithm.step(twin, twin_state, batch, phase))


def evaluation_flops(algorithm: Algorithm, net: Chain, state: State, batch: Batch, phase: Phase) -> int:
    """FLOPs of scoring one batch as the rule predicts after ``phase``."""
    twin, twin_state = twins(net, state)
    twin.eval()
    return count_flops(lambda: algorithm.scores(twin, twin_state, batch.x, phase))


def orthogonalised_every(algorithm: Algorithm) -> int | None:
    """Steps between two orthogonalisations; ``None`` for a rule that has none."""
    params = algorithm.params()
    every = params.get(_ORTHOGONALISE)
    off = params.get("orthogonalise_by") == "none" or params.get("orthogonal", "kept") != "kept"
    return None if every is None or off else int(every)


def orthogonalisation_flops(algorithm: Algorithm, net: Chain, state: State) -> int | None:
    """FLOPs of one whole orthogonalisation; ``None`` for a rule that has none."""
    orthogonalise = getattr(algorithm, "orthogonalise", None)
    if orthogonalise is None or orthogonalised_every(algorithm) is None:
        return None
    twin, _ = twins(net, state)
    return count_flops(lambda: orthogonalise(twin), formulas=IN_PLACE_FORMULAS)


def end_of_pass_flops(algorithm: Algorithm, net: Chain, state: State, batch: Batch, phase: Phase) -> int | None:
    """FLOPs of what closes each pass of ``phase`` (Cascaded-Forward's ridge); ``None`` where that multiplies nothing.

    torch's own counter is blind to decompositions; they count as in Golub and Van Loan (:mod:`bpfree.meter.flop_formulas`).
    """
    if type(algorithm).end_pass is Algorithm.end_pass:
        return None
    twin, twin_state = twins(net, state)
    algorithm.step(twin, twin_state, batch, phase)  # there must be something to solve
    # A count that saw no operation at all is refused, hence the one that costs nothing.
    flops = count_flops(lambda: (algorithm.end_pass(twin, twin_state, phase), twin.output.weight.clone()))
    return flops or None


@dataclass(frozen=True)
class LiveStep:
    """Bytes of tensors at the highest moment of a step, beyond what was there before: gradients, and all the rest."""

    gradients_bytes: int
    activations_bytes: int

    @property
    def peak_bytes(self) -> int:
        return self.gradients_bytes + self.activations_bytes


def live_step(algorithm: Algorithm, net: Chain, state: State, batch: Batch, phase: Phase) -> LiveStep:
    """Follow one training step. A gradient is a tensor that an optimiser of the state is handed in the step."""
    algorithm = without_first_work(algorithm)
    twin, twin_state = twins(net, state)
    labels = Labels()
    for optimiser in twin_state.optimisers():
        _tell(optimiser, labels)
    live = live_memory(lambda: algorithm.step(twin, twin_state, batch, phase), labels=labels)
    gradients = live.labelled_bytes.get(GRADIENTS, 0)
    return LiveStep(gradients, live.peak_bytes - gradients)


def _tell(optimiser: Optimiser, labels: Labels) -> None:
    original = optimiser.step

    def step(parameters: list[Tensor], gradients: Iterable[Tensor], first: int = 0) -> None:
        kept = list(gradients)
        labels.name(kept, GRADIENTS)
        original(parameters, kept, first)

    optimiser.step = step
