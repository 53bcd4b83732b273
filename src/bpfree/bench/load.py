"""Processor time of a run, its own and that of other processes: what wall time alone does not tell on a busy machine."""

from __future__ import annotations

import time
from dataclasses import dataclass

from bpfree.meter.timeline import busy_and_total_s

__all__ = ["Load", "LoadWatch"]

LEAST_BUSY_S = 0.5
"""Less busy processor time than this says nothing of others: the kernel accounts in ticks of 10 ms, for each processor."""


@dataclass(frozen=True)
class Load:
    """Processor seconds of this process, and the share of other processes in the busy time (None: too short to tell).

    Both are None where several processes train together: those of one say little, and the rest are not other programs.
    """

    cpu_s: float | None
    others: float | None


class LoadWatch:
    """Watches from its construction until :meth:`stop`."""

    def __init__(self) -> None:
        self._start = self._now()

    def _now(self) -> tuple[float, float]:
        return time.process_time(), busy_and_total_s()[0]

    def stop(self) -> Load:
        """What was used since then."""
        own_s, busy_s = (now - start for now, start in zip(self._now(), self._start, strict=True))
        others = None if busy_s < LEAST_BUSY_S else min(1.0, max(0.0, (busy_s - own_s) / busy_s))
        return Load(own_s, others)
