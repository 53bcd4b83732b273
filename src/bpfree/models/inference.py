"""What it costs to use a model: seconds of a call, examples a second, joules per thousand, multiply-adds, live bytes.

Several models are measured in one run, in turns, so that whatever else the machine does hits all of them alike. Seconds depend
on shapes, readout and machine, not on the values of weights or examples; the examples are normal noise.
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch

from bpfree.errors import UsageError
from bpfree.meter import FlopCountError, Meter, Repeated, count_flops, live_memory, measure_repeated
from bpfree.meter.meter import synchronise
from bpfree.models.model import Model

__all__ = ["BATCH_SIZES", "InferenceCost", "measure_inference"]

BATCH_SIZES = (1, 128)
"""One example as it comes, and a batch as in training."""

ROUNDS = 5
"""Turns in which the calls of a model are timed."""

LEAST_FOR_P95 = 20
"""Calls below which a 95th percentile would be the largest of them."""


@dataclass(frozen=True)
class InferenceCost:
    """Of one model at one batch size.

    Attributes:
        name: of the model.
        batch_size: examples in a call.
        n_calls: timed one by one, the device waited for before and after each.
        latency_p50_s, latency_p95_s, latency_min_s: of them (s).
        processor_p50_s: median processor time of them, all threads of this process together (s); other processes on a busy
            machine lengthen a call, but hardly this. On a GPU it is only what giving the orders takes.
        images_per_s: from windows of calls one after another, the device waited for seldom.
        joules_per_1000: gross energy of a thousand examples from the same windows (J), null where they were not resolved.
        energy_method, energy_scope: of these joules.
        multiply_adds: of one example.
        live_bytes: peak of what a call allocates (weights are not in it).
        reasons: why each null is null, by attribute.
    """

    name: str
    batch_size: int
    n_calls: int
    latency_p50_s: float
    latency_p95_s: float | None
    latency_min_s: float
    processor_p50_s: float
    images_per_s: float
    joules_per_1000: float | None
    energy_method: str | None
    energy_scope: str | None
    multiply_adds: int | None
    live_bytes: int | None
    reasons: dict[str, str] = field(default_factory=dict)


Call = Callable[[], object]
Timed = tuple[float, float]
"""Seconds of a call by the clock, and of the processor."""


def measure_inference(
    models: Mapping[str, Model],
    meter: Meter,
    *,
    batch_sizes: Sequence[int] = BATCH_SIZES,
    repeats: int = 100,
    window_s: float = 0.5,
    n_windows: int = 3,
    max_s: float = 20.0,
    counted: bool = True,
) -> list[InferenceCost]:
    """Measure models against each other, in turns.

    Args:
        models: by name, all on the device of ``meter``.
        repeats: calls of each model and batch size that are timed one by one.
        window_s: least length of a window; where there are energy sources it is lengthened until they resolve it.
        n_windows: of each model and batch size; their median is reported.
        max_s: a model's timed calls at one batch size take about this long at most (there are then fewer of them), and
            so does each of its windows.
        counted: count multiply-adds and live bytes too.

    Returns:
        For each batch size, in the order of ``models``.

    Raises:
        UsageError: no models, a batch size or number below 1, or a batch that does not fit into memory.
    """
    if not models:
        raise UsageError("no model was given; name at least one")
    for what, numbers in (("batch size", batch_sizes), ("number of repeats", (repeats,)), ("number of windows", (n_windows,))):
        for number in numbers:
            if number < 1:
                raise UsageError(f"a {what} must be at least 1, got {number}")
    costs = []
    for batch_size in batch_sizes:
        calls = {name: _call(model, batch_size, meter.device) for name, model in models.items()}
        timed = _latencies(calls, meter.device, repeats, max_s)
        windows = _windows(calls, meter, n_windows, min(window_s, max_s), max_s)
        for name, call in calls.items():
            costs.append(_cost(name, batch_size, timed[name], windows[name], call if counted else None))
    return costs


def _call(model: Model, batch_size: int, device: torch.device) -> Call:
    try:
        x = torch.randn(batch_size, *model.net.in_shape, generator=torch.Generator().manual_seed(0))
        x = x.to(device, model.net.dtype)
        model.normalised_scores(x)  # kernels are loaded, and thread pools awake, before any clock starts
    except (RuntimeError, MemoryError) as error:
        reason = str(error).splitlines()[0] if str(error) else "out of memory"
        raise UsageError(f"a batch of {batch_size} cannot be scored ({reason}); choose a smaller one") from error
    return lambda: model.normalised_scores(x)


def _timed(call: Call, device: torch.device) -> Timed:
    synchronise(device)
    before_s, processor_before_s = time.perf_counter(), time.process_time()
    call()
    synchronise(device)
    processor_s = time.process_time() - processor_before_s
    return time.perf_counter() - before_s, processor_s


def _latencies(calls: Mapping[str, Call], device: torch.device, repeats: int, max_s: float) -> dict[str, list[Timed]]:
    """Single calls, in rounds; every other round runs backwards, so that none always follows the same one."""
    n_rounds = min(ROUNDS, repeats)
    timed: dict[str, list[Timed]] = {name: [] for name in calls}
    for turn in range(n_rounds):
        for name in list(calls)[:: -1 if turn % 2 else 1]:
            calls[name]()  # its weights are back in the caches
            spent_s = 0.0
            for _ in range(repeats // n_rounds + (turn < repeats % n_rounds)):
                timed[name].append(_timed(calls[name], device))
                spent_s += timed[name][-1][0]
                if spent_s >= max_s / n_rounds:
                    break
    return timed


def _windows(calls: Mapping[str, Call], meter: Meter, n_windows: int, window_s: float, max_s: float) -> dict[str, list[Repeated]]:
    windows: dict[str, list[Repeated]] = {name: [] for name in calls}
    for turn in range(n_windows):
        for name in list(calls)[:: -1 if turn % 2 else 1]:
            windows[name].append(measure_repeated(meter, calls[name], min_s=window_s, max_s=max_s))
    return windows


def _cost(name: str, batch_size: int, timed: list[Timed], windows: list[Repeated], call: Call | None) -> InferenceCost:
    latencies_s = [latency_s for latency_s, _ in timed]
    reasons: dict[str, str] = {}
    p95_s = float(np.quantile(latencies_s, 0.95)) if len(latencies_s) >= LEAST_FOR_P95 else None
    if p95_s is None:
        reasons["latency_p95_s"] = f"{len(latencies_s)} timed calls are too few for a 95th percentile; {LEAST_FOR_P95} are needed"
    resolved = [window for window in windows if window.reading.resolved and window.call_j is not None]
    joules = statistics.median(window.call_j or math.nan for window in resolved) * 1000 / batch_size if resolved else None
    if joules is None:
        reading = windows[-1].reading
        unresolved = f"a window of {reading.time_s:.3g} s is too short for the counters"
        reasons["joules_per_1000"] = reading.reasons.get("energy.joules", unresolved)
        reasons |= dict.fromkeys(("energy_method", "energy_scope"), "no energy was measured")
    multiply_adds = live_bytes = None
    if call is None:
        reasons |= dict.fromkeys(("multiply_adds", "live_bytes"), "they were not asked for")
    else:
        live_bytes = live_memory(call).peak_bytes
        try:
            multiply_adds = round(count_flops(call) / 2 / batch_size)
        except FlopCountError as error:
            reasons["multiply_adds"] = str(error)
    return InferenceCost(
        name=name,
        batch_size=batch_size,
        n_calls=len(latencies_s),
        latency_p50_s=statistics.median(latencies_s),
        latency_p95_s=p95_s,
        latency_min_s=min(latencies_s),
        processor_p50_s=statistics.median(processor_s for _, processor_s in timed),
        images_per_s=batch_size / statistics.median(window.call_s for window in windows),
        joules_per_1000=joules,
        energy_method=resolved[-1].reading.method if resolved else None,
        energy_scope=resolved[-1].reading.scope if resolved else None,
        multiply_adds=multiply_adds,
        live_bytes=live_bytes,
        reasons=reasons,
    )
