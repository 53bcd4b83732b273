"""A recorded trace as an energy source: what makes everything above the meter testable on any machine."""

from __future__ import annotations

import bisect
import itertools
import time
from collections.abc import Callable, Sequence

from bpfree.errors import UsageError
from bpfree.meter.sources import EnergySource, SourceError

__all__ = ["ReplaySource"]


class ReplaySource(EnergySource):
    """Plays back (time, joules) points, interpolating between them, against a clock.

    Args:
        times_s: rising times since the start of the trace (s).
        joules: the counter at those times (J), not falling.
        clock: seconds; time 0 of the trace is the clock's reading when the source is made.
        period_s: update period to claim (s).

    Raises:
        UsageError: a trace that is empty, of two lengths, or goes back.
    """

    method = "replay"
    measured = True

    def __init__(
        self,
        times_s: Sequence[float],
        joules: Sequence[float],
        *,
        name: str = "replay:trace",
        scope: str = "machine",
        period_s: float = 0.01,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if not times_s or len(times_s) != len(joules):
            raise UsageError(f"a trace needs as many times as joules, and at least one; got {len(times_s)}, {len(joules)}")
        for what, values in (("times", times_s), ("joules", joules)):
            if any(later < earlier for earlier, later in itertools.pairwise(values)):
                raise UsageError(f"the {what} of a trace must not go back")
        self.name, self.scope, self.period_s = name, scope, period_s
        self._times_s, self._joules = list(times_s), list(joules)
        self._clock, self._start_s = clock, clock()

    def joules(self) -> float:
        now_s = self._clock() - self._start_s
        after = bisect.bisect_right(self._times_s, now_s)
        if after == 0:
            return self._joules[0]
        if after == len(self._times_s):
            if now_s > self._times_s[-1]:
                raise SourceError(f"the recorded trace ended after {self._times_s[-1]:.3g} s")
            return self._joules[-1]
        t0, t1 = self._times_s[after - 1 : after + 1]
        e0, e1 = self._joules[after - 1 : after + 1]
        return e0 + (e1 - e0) * (now_s - t0) / (t1 - t0)
