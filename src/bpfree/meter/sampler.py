"""The thread of the meter: it reads power and counters often enough, and records the timeline.

It touches neither the step nor its stream: everything it calls is a driver query or a small file.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Sequence

from bpfree.meter.sources import EnergySource, SourceError
from bpfree.meter.timeline import Probe, Timeline

__all__ = ["BackgroundSampler"]

_TENANT_PERIOD_S = 5.0
"""How often other processes on the device are looked for (s)."""


class BackgroundSampler:
    """Polls ``sources`` and ``probe`` while it is running.

    Attributes:
        timeline: what the probe saw.
        last_j: by name the last count of each polled source, for the message if it fails.
        others: first description of a co-tenant that was seen, or ``None``.
        cpu_s: processor seconds that the thread took itself.
    """

    def __init__(
        self,
        sources: Sequence[EnergySource],
        probe: Probe | None = None,
        *,
        probe_period_s: float = 0.1,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._polled = [(source, source.poll_s) for source in sources if source.poll_s is not None]
        self._probe, self._probe_period_s, self._clock = probe, probe_period_s, clock
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self.timeline = Timeline()
        self.others: str | None = None
        self.last_j: dict[str, float] = {}
        self.cpu_s = 0.0

    def start(self) -> None:
        """Start the thread, if there is anything to do for it."""
        if self._polled or self._probe is not None:
            self._thread = threading.Thread(target=self._run, args=(self._clock(),), name="bpfree-sampler", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """End the thread; at most one reading later."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()

    def _run(self, start_s: float) -> None:
        due = {source.name: start_s + poll_s for source, poll_s in self._polled}
        next_probe_s = start_s
        next_tenant_s = start_s
        while True:
            now_s = self._clock()
            for source, poll_s in self._polled:
                if now_s >= due[source.name]:
                    # A source that failed raises again at the end of the window, where the reason is recorded.
                    with contextlib.suppress(SourceError):
                        self.last_j[source.name] = source.joules()
                    due[source.name] = now_s + poll_s
            if self._probe is not None:
                if now_s >= next_probe_s:
                    self.timeline.add(self._probe.sample(now_s - start_s))
                    next_probe_s = now_s + self._probe_period_s
                if now_s >= next_tenant_s:
                    self.others = self.others or self._probe.others()
                    next_tenant_s = now_s + _TENANT_PERIOD_S
            self.cpu_s = time.thread_time()
            waits = [*due.values(), *([next_probe_s] if self._probe is not None else [])]
            if self._stop.wait(max(0.0, min(waits) - self._clock())):
                return
