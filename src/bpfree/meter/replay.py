"""A recorded trace as an energy source and as a timeline, so that all users of the meter can be tested on any machine."""

from __future__ import annotations

import bisect
import dataclasses
import itertools
import time
from collections.abc import Callable, Sequence

from bpfree.errors import UsageError
from bpfree.meter.sources import EnergySource, SourceError
from bpfree.meter.timeline import Probe, Sample

__all__ = ["ReplayProbe", "ReplaySource"]


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


class ReplayProbe(Probe):
    """Plays back the samples of a trace from the start of each window; after its end nothing is read.

    Args:
        samples: in time, at least one.
        name: of the trace, for its origin, which tells it from a measurement of this run.

    Raises:
        UsageError: a trace that is empty or goes back.
    """

    def __init__(self, samples: Sequence[Sample], *, name: str) -> None:
        times_s = [sample.time_s for sample in samples]
        if not times_s or any(later < earlier for earlier, later in itertools.pairwise(times_s)):
            raise UsageError(f"the trace {name} needs samples, and their times must not go back")
        self._samples, self._times_s = list(samples), times_s
        self.origin = f"replayed from {name}, not measured in this run"

    def sample(self, time_s: float) -> Sample:
        """The last recorded sample up to that time."""
        at = bisect.bisect_right(self._times_s, time_s) - 1
        if at < 0 or time_s > self._times_s[-1]:
            return Sample(time_s)
        return dataclasses.replace(self._samples[at], time_s=time_s)
