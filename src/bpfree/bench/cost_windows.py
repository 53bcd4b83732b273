"""One metered window of training steps, or of training passes, of one arm in one phase: the raw value of a comparison of costs.

Windows are long (seconds), so that a counter resolves them, and are run by the caller, one arm after another, so that what
drifts (clocks, temperature, other load) meets all arms alike. Every window starts from the same initial parameters and reads the
same batches: what the numbers are decides what a GPU draws, zeros less than others.

* ``step``: ``learn`` and its upkeep alone. The full batches of one pass are made ready before the window opens, and read in turn,
  each as a copy: a rule may write into its batch.
* ``pass``: all of a pass but its validation: batches drawn, augmented and normalised, steps, the end of the pass.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

import torch

from bpfree.algorithms import check_net, step
from bpfree.bench.arm import Arm
from bpfree.bench.pass_cost import training_pass
from bpfree.data import Batch, Dataset
from bpfree.meter import Meter, Spread, device_peak, measure_repeated, reset_device_peak, spread, tensor_bytes
from bpfree.nets import named
from bpfree.train import initialise, read_by

__all__ = ["KINDS", "CostWindow", "Kind", "cost_window", "phase_names"]

Kind = Literal["step", "pass"]
KINDS: tuple[Kind, ...] = ("pass", "step")

_STEADY = ("clock_mhz", "power_w", "temperature_c", "utilisation")
"""What of the device's samples stands beside the window, see :class:`bpfree.meter.Sample`."""


@dataclass(frozen=True)
class CostWindow:
    """What one window measured, and its share for a call and for a step.

    Attributes:
        kind: ``"step"`` or ``"pass"``: what a call is.
        phase, phase_index, n_phases: the arm's phase, by name and place.
        reads_features: the phase reads features that were computed once, before the window.
        n_calls, n_steps: calls in the window, and training steps in all of them.
        window_s: wall time between the synchronised edges (s).
        joules, net_joules: gross, and above idle power (J); ``None`` with a reason.
        resolved: whether a counter was given its 20 periods.
        allocator_bytes: peak of the device's allocator in the window, beyond the data set and the batches that were made ready;
            ``None`` with a reason.
        device: mean, deviation and range of what was sampled, by quantity.
        reasons: why a quantity is ``None``, and flags, as in a record.
    """

    arm: str
    net: str
    batch_size: int
    kind: Kind
    phase: str
    phase_index: int
    n_phases: int
    reads_features: bool
    n_calls: int
    n_steps: int
    window_s: float
    joules: float | None
    net_joules: float | None
    resolved: bool
    method: str | None
    scope: str | None
    allocator_bytes: int | None
    device: dict[str, Spread] = field(default_factory=dict)
    reasons: dict[str, str] = field(default_factory=dict)

    @property
    def call_s(self) -> float:
        """Seconds of a step or of a pass, as :attr:`kind` says."""
        return self.window_s / self.n_calls

    @property
    def call_j(self) -> float | None:
        """Joules of it, gross."""
        return None if self.joules is None else self.joules / self.n_calls

    @property
    def net_call_j(self) -> float | None:
        """Joules of it above idle power."""
        return None if self.net_joules is None else self.net_joules / self.n_calls


def phase_names(arm: Arm, spec: str, data: Dataset) -> list[str]:
    """Names of the phases in which the arm trains the net, in order.

    Raises:
        UsageError: the arm cannot train the net.
    """
    rule, net = arm.build({}), named(spec, data.in_shape, data.n_classes)
    check_net(rule, net)
    return [phase.name for phase in rule.phases(net)]


def cost_window(
    arm: Arm,
    spec: str,
    data: Dataset,
    meter: Meter,
    *,
    batch_size: int,
    kind: Kind,
    phase_index: int = 0,
    min_s: float = 10.0,
    max_s: float = 60.0,
    warm_up_s: float = 0.5,
) -> CostWindow:
    """Train ``arm``, at its default hyper-parameters and from seed 0, for one window.

    Args:
        spec: of the net, such as ``"mlp:3x2000"``.
        data: on the meter's device; its test split is not touched. Batches of a pass are augmented as it says.
        phase_index: of the phase; the blocks that it reads are as they were drawn.
        min_s, max_s: least and greatest length of the window (s), see :func:`bpfree.meter.measure_repeated`.
        warm_up_s: time of calls before the window (s).

    Raises:
        UsageError: the arm cannot train the net, a batch larger than the training split, times in the wrong order.
    """
    data = data.without_test()
    rule, net = arm.build({}), named(spec, data.in_shape, data.n_classes).to(data.dtype)
    check_net(rule, net)
    held_bytes = _allocated_bytes(meter.device)
    state = initialise(rule, net, 0, data.device)
    net.train()
    phases = rule.phases(net)
    read, reader = read_by(net, data, phases[phase_index])
    call: Callable[[], object] = training_pass(rule, net, state, read, reader, batch_size)
    steps_of_call = -(-data.n("train") // batch_size)
    if kind == "step":
        batches = [batch for batch in read.batches("train", batch_size) if len(batch.y) == batch_size]
        held_bytes += tensor_bytes([batch.x for batch in batches])
        ready = itertools.cycle(batches)
        call, steps_of_call = lambda: step(rule, net, state, _copy(next(ready)), reader), 1
    call()  # work of the first step alone is no part of a step
    reset_device_peak(meter.device)
    repeated = measure_repeated(meter, call, min_s=min_s, max_s=max_s, warm_up=1, warm_up_s=warm_up_s)
    peak, reading = device_peak(meter.device), repeated.reading
    reasons = dict(reading.reasons)
    if peak.allocated_bytes is None:
        reasons["allocator_bytes"] = peak.reason or "not known"
    return CostWindow(
        arm=arm.label,
        net=spec,
        batch_size=batch_size,
        kind=kind,
        phase=phases[phase_index].name,
        phase_index=phase_index,
        n_phases=len(phases),
        reads_features=reader.cached,
        n_calls=repeated.n_calls,
        n_steps=repeated.n_calls * steps_of_call,
        window_s=reading.time_s,
        joules=reading.joules,
        net_joules=reading.net_joules,
        resolved=reading.resolved,
        method=reading.method,
        scope=reading.scope,
        allocator_bytes=None if peak.allocated_bytes is None else peak.allocated_bytes - held_bytes,
        device={name: seen for name in _STEADY if (seen := spread(repeated.trace.samples, name)) is not None},
        reasons=reasons,
    )


def _allocated_bytes(device: torch.device) -> int:
    return torch.cuda.memory_allocated(device) if device.type == "cuda" else 0


def _copy(batch: Batch) -> Batch:
    return dataclasses.replace(batch, x=batch.x.clone())
