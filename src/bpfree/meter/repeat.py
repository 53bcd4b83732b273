"""A call that is too short to be metered, repeated in one window until the counters resolve it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from bpfree.errors import UsageError
from bpfree.meter.meter import Meter, synchronise
from bpfree.meter.reading import RESOLVED_PERIODS, Reading, summed
from bpfree.meter.timeline import Trace

__all__ = ["Repeated", "measure_repeated"]


@dataclass(frozen=True)
class Repeated:
    """The reading of ``n_calls`` calls together, its share for one of them (s, J), and what the device did meanwhile."""

    reading: Reading
    n_calls: int
    trace: Trace = field(default_factory=lambda: Trace(()))

    @property
    def call_s(self) -> float:
        return self.reading.time_s / self.n_calls

    @property
    def call_j(self) -> float | None:
        return None if self.reading.joules is None else self.reading.joules / self.n_calls

    @property
    def net_call_j(self) -> float | None:
        return None if self.reading.net_joules is None else self.reading.net_joules / self.n_calls


def measure_repeated(
    meter: Meter, fn: Callable[[], object], *, min_s: float = 1.0, max_s: float = 60.0, warm_up: int = 1, warm_up_s: float = 0.0
) -> Repeated:
    """Call ``fn`` again and again within one window, until the window is resolved and lasts ``min_s``.

    A single inference, or one pass of training without its evaluation, is far below the period of a counter.

    Args:
        max_s: stop here even if a counter would need longer; the reading then says ``resolved: false``.
        warm_up: least calls before the window (compilation, caches).
        warm_up_s: least time of these calls, waited for: a GPU that was idle needs a moment to raise its clocks.

    Raises:
        UsageError: times that are not positive, or in the wrong order.
    """
    if not 0 < min_s <= max_s:
        raise UsageError(f"min_s must be above 0 and at most max_s, got {min_s} and {max_s}")
    resolved_s = max([min_s, *(RESOLVED_PERIODS * source.period_s for source in summed(meter.sources))])
    enough_s = min(resolved_s, max_s)
    start_s, n_warm = meter.clock(), 0
    while n_warm < warm_up or meter.clock() - start_s < warm_up_s:
        fn()
        n_warm += 1
        if warm_up_s > 0:
            synchronise(meter.device)
    n_calls, burst = 0, 1
    with meter.window() as window:
        while (elapsed_s := window.elapsed_s()) < enough_s or n_calls == 0:
            if n_calls:  # wait for the device seldom, but never run far past the end
                burst = max(1, min(2 * burst, round((enough_s - elapsed_s) / elapsed_s * n_calls)))
            for _ in range(burst):
                fn()
            n_calls += burst
            synchronise(meter.device)
    assert window.reading is not None
    return Repeated(window.reading, n_calls, window.trace)
