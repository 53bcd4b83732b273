"""A call that is too short to be metered, repeated in one window until the counters resolve it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from bpfree.errors import UsageError
from bpfree.meter.meter import Meter, synchronise
from bpfree.meter.reading import RESOLVED_PERIODS, Reading, summed

__all__ = ["Repeated", "measure_repeated"]


@dataclass(frozen=True)
class Repeated:
    """The reading of ``n_calls`` calls together, and its share for one of them (s, J)."""

    reading: Reading
    n_calls: int

    @property
    def call_s(self) -> float:
        return self.reading.time_s / self.n_calls

    @property
    def call_j(self) -> float | None:
        return None if self.reading.joules is None else self.reading.joules / self.n_calls


def measure_repeated(
    meter: Meter, fn: Callable[[], object], *, min_s: float = 1.0, max_s: float = 60.0, warm_up: int = 1
) -> Repeated:
    """Call ``fn`` again and again within one window, until the window is resolved and lasts ``min_s``.

    A single inference, or one pass of training without its evaluation, is far below the period of a counter.

    Args:
        max_s: stop here even if a counter would need longer; the reading then says ``resolved: false``.
        warm_up: calls before the window (compilation, caches).

    Raises:
        UsageError: times that are not positive, or in the wrong order.
    """
    if not 0 < min_s <= max_s:
        raise UsageError(f"min_s must be above 0 and at most max_s, got {min_s} and {max_s}")
    resolved_s = max([min_s, *(RESOLVED_PERIODS * source.period_s for source in summed(meter.sources))])
    enough_s = min(resolved_s, max_s)
    for _ in range(warm_up):
        fn()
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
    return Repeated(window.reading, n_calls)
