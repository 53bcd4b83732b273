"""Energy as the integral of a power reading: the cross-check beside a counter, or the only way where there is
none."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from bpfree.meter.sources import EnergySource, SourceError

__all__ = ["PowerIntegral"]

MAX_GAP_S = 1.0
"""Longest time between two readings (s); from Ampere on, the reading itself is an average over 1 s (arXiv
2312.02741)."""


class PowerIntegral(EnergySource):
    """Trapezoidal integral of ``read_w``; the meter's sampler reads it every ``poll_s``, 10 times a second.

    Args:
        read_w: power now (W); raises :class:`SourceError`.
    """

    measured = True

    def __init__(
        self,
        name: str,
        *,
        scope: str,
        method: str,
        read_w: Callable[[], float],
        period_s: float = MAX_GAP_S,
        poll_s: float = 0.1,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.name, self.scope, self.method = name, scope, method
        self.period_s, self.poll_s = period_s, poll_s
        self._read_w, self._clock = read_w, clock
        self._lock = threading.Lock()
        self._last: tuple[float, float] | None = None
        self._total_j = 0.0
        self._broken: str | None = None

    def open(self) -> None:
        with self._lock:
            self._last, self._broken = None, None

    def joules(self) -> float:
        with self._lock:
            if self._broken is not None:
                raise SourceError(self._broken)
            power_w, now_s = self._read_w(), self._clock()
            if self._last is not None:
                last_w, last_s = self._last
                if now_s - last_s > MAX_GAP_S:
                    gap = f"power was not read for {now_s - last_s:.1f} s"
                    self._broken = f"{gap}; an integral needs a reading every {MAX_GAP_S:g} s"
                    raise SourceError(self._broken)
                self._total_j += (power_w + last_w) / 2 * (now_s - last_s)
            self._last = (power_w, now_s)
            return self._total_j
