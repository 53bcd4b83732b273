"""Training alone and evaluation alone: passes repeated in windows of their own, long enough for the counters.

A measured run has one window, validation included; it says what the whole costs. Here the two parts are told apart: training
passes are repeated without any evaluation until their window is resolved (20 periods of the slowest counter), and so are
evaluation passes. A single pass is often far below that, and is never reported from a window that is too short without saying so.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch

from bpfree.algorithms import Algorithm, Phase, State, check_net, step
from bpfree.bench.arm import Arm
from bpfree.data import Dataset
from bpfree.meter import Meter, Repeated, measure_repeated
from bpfree.nets import Chain, named
from bpfree.train import evaluate, initialise, read_by

__all__ = ["PassCost", "pass_costs", "reading_per_s", "training_pass"]


@dataclass(frozen=True)
class PassCost:
    """One kind of pass of one arm, in one of its phases.

    Attributes:
        kind: ``"training"`` or ``"evaluation"`` (of the validation split).
        pass_s, pass_j: of one pass, the window's share (s, J); joules ``None`` with a reason.
        n_passes, window_s: how many passes the window held, and how long it was.
        resolved: whether a counter was given its 20 periods; false where there is none.
        method, scope: of the joules, as in a record.
        reasons: why a quantity is ``None``, and flags, as in a record's energy.
        examples: of a pass.
    """

    arm: str
    net: str
    phase: str
    kind: str
    pass_s: float
    pass_j: float | None
    n_passes: int
    window_s: float
    resolved: bool
    method: str | None
    scope: str | None
    reasons: dict[str, str] = field(default_factory=dict)
    examples: int = 0

    @property
    def examples_per_s(self) -> float:
        """Of the pass, its batches read and its steps made."""
        return self.examples / self.pass_s


def pass_costs(
    arms: Sequence[Arm],
    spec: str,
    data: Dataset,
    meter: Meter,
    *,
    batch_size: int,
    min_s: float = 1.0,
    max_s: float = 60.0,
    on_row: Callable[[PassCost], None] = lambda _: None,
) -> list[PassCost]:
    """Measure a training pass and an evaluation pass of every arm, in each phase that differs (its first and its last).

    Args:
        data: on the meter's device; its test split is not touched.
        min_s, max_s: least and greatest length of a window (s), see :func:`bpfree.meter.measure_repeated`.

    Raises:
        UsageError: a rule that cannot train the net, a batch larger than the split, times in the wrong order.
    """
    rows = []
    for arm in arms:
        rule, net = arm.build({}), named(spec, data.in_shape, data.n_classes).to(data.device)
        check_net(rule, net)
        state = initialise(rule, net, 0, data.device)
        state.count.advance()  # work of the first step alone is no part of a pass
        phases = rule.phases(net)
        for phase in dict.fromkeys((phases[0], phases[-1])):
            read, reader = read_by(net, data.without_test(), phase)
            train = training_pass(rule, net, state, read, reader, batch_size)
            for kind, call in (("training", train), ("evaluation", _evaluation_pass(rule, net, state, read, reader))):
                n = data.n("train" if kind == "training" else "validation")
                rows.append(_row(arm, spec, phase, kind, n, measure_repeated(meter, call, min_s=min_s, max_s=max_s)))
                on_row(rows[-1])
    return rows


def training_pass(rule: Algorithm, net: Chain, state: State, data: Dataset, phase: Phase, batch_size: int) -> Callable[[], None]:
    """A call that trains for one pass: its batches drawn and augmented, its steps, its end; each call is the next pass.

    Args:
        data, phase: what the phase reads, and the phase that reads it (:func:`bpfree.train.read_by`).
    """
    index = 0

    def one_pass() -> None:
        nonlocal index
        for batch in data.batches("train", batch_size, pass_index=index, seed=0):
            step(rule, net, state, batch, phase)
        rule.close(net, state, phase)
        index += 1

    return one_pass


def _evaluation_pass(rule: Algorithm, net: Chain, state: State, data: Dataset, phase: Phase) -> Callable[[], object]:
    return lambda: evaluate(rule, net, state, data, "validation", phase)


def reading_per_s(data: Dataset, batch_size: int, *, least_s: float = 0.5) -> float:
    """Examples per second of the training batches alone: drawn, read, normalised and augmented, without a step.

    Where that is not far above :attr:`PassCost.examples_per_s`, training waits for its data.

    Args:
        least_s: of reading, at most one pass (s).
    """
    n, begin_s = 0, time.perf_counter()
    for batch in data.batches("train", batch_size):
        n += len(batch.y)
        if time.perf_counter() - begin_s >= least_s:
            break
    if data.device.type == "cuda":
        torch.cuda.synchronize(data.device)
    return n / (time.perf_counter() - begin_s)


def _row(arm: Arm, spec: str, phase: Phase, kind: str, examples: int, repeated: Repeated) -> PassCost:
    reading = repeated.reading
    return PassCost(
        arm.label,
        spec,
        phase.name,
        kind,
        repeated.call_s,
        repeated.call_j,
        repeated.n_calls,
        reading.time_s,
        reading.resolved,
        reading.method,
        reading.scope,
        dict(reading.reasons),
        examples,
    )
