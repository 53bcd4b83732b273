"""Energy as the integral of a power reading: the cross-check of a counter, or the only way where there is none."""

from __future__ import annotations

import time
from collections.abc import Callable

from bpfree.meter.sources import PolledSource

__all__ = ["PowerIntegral"]

MAX_GAP_S = 1.0
"""Longest time between two readings (s); from Ampere on, the reading itself is an average over 1 s (arXiv 2312.02741)."""


class PowerIntegral(PolledSource[float]):
    """Trapezoidal integral of ``read_w``; the meter's sampler reads it every ``poll_s``, 10 times a second.

    Args:
        read_w: power now (W); raises :class:`SourceError`.
    """

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
        super().__init__(name, scope=scope, method=method, period_s=period_s, read=read_w, poll_s=poll_s, clock=clock)
        self._total_j = 0.0

    def _add(self, value: float, now_s: float, last_value: float, last_s: float) -> None:
        elapsed_s = now_s - last_s
        if elapsed_s > MAX_GAP_S:
            self._fail(f"power was not read for {elapsed_s:.1f} s; an integral needs a reading every {MAX_GAP_S:g} s")
        self._total_j += (value + last_value) / 2 * elapsed_s

    def _total_joules(self) -> float:
        return self._total_j
