"""An estimate of the machine's power, on request only. It is a model, not a measurement, and always says so.

    P = P_cpu + P_ram
    P_cpu = TDP x (0.1 + 0.9 load)       a tenth of the TDP when idle, all of it when busy
    P_ram = CodeCarbon's constant for the memory that is installed (about 5 W a module)

TDP (W) is CodeCarbon's table entry for the processor's name; where it has none, 4 W a thread. ``load`` is the machine's (not the
process's) share of busy processor time between two readings, from psutil. A graphics card is not in it.

CodeCarbon's own tracker samples the load and, in mode "machine", takes TDP x (0.1 + 0.9 load^3); here the load enters linearly,
because then the energy of a window depends on its busy time alone and not on how often it was sampled. Known error: the table
lists whole processors, so a virtual machine with two of 64 cores is charged for all of them.
"""

from __future__ import annotations

import functools
import threading
import time
from collections.abc import Callable

import psutil

from bpfree.meter.quiet import quiet_codecarbon
from bpfree.meter.sources import EnergySource
from bpfree.meter.timeline import busy_and_total_s

__all__ = ["EstimateSource", "cpu_tdp_w", "ram_w"]

IDLE_FRACTION = 0.1
"""Share of the TDP drawn when idle (codecarbon.external.hardware.CPU)."""

W_PER_THREAD = 4.0
"""TDP a thread of a processor that CodeCarbon does not know (codecarbon.core.cpu.DEFAULT_POWER_PER_CORE)."""


@functools.cache
def cpu_tdp_w() -> float:
    """Thermal design power of the processor (W): CodeCarbon's table, else 4 W a thread."""
    with quiet_codecarbon():
        from codecarbon.core.cpu import TDP  # slow to import

        tdp_w = TDP().tdp
    return float(tdp_w) if tdp_w else W_PER_THREAD * (psutil.cpu_count() or 1)


@functools.cache
def ram_w() -> float:
    """Power of the installed memory by CodeCarbon's model (W)."""
    with quiet_codecarbon():
        from codecarbon.external.ram import RAM  # slow to import

        return float(RAM(tracking_mode="machine").total_power().W)


class EstimateSource(EnergySource):
    """The formula above as a counter."""

    name = "estimate:cpu+ram"
    scope = "machine (estimate)"
    method = "estimate"
    measured = False
    period_s = 0.01
    """The kernel's accounting tick (100 Hz)."""

    def __init__(
        self,
        *,
        tdp_w: float | None = None,
        memory_w: float | None = None,
        clock: Callable[[], float] = time.monotonic,
        busy_and_total: Callable[[], tuple[float, float]] = busy_and_total_s,
    ) -> None:
        self._tdp_w = cpu_tdp_w() if tdp_w is None else tdp_w
        self._memory_w = ram_w() if memory_w is None else memory_w
        self._clock, self._busy_and_total = clock, busy_and_total
        self._lock = threading.Lock()
        self._last = (clock(), *busy_and_total())
        self._total_j = 0.0

    def open(self) -> None:
        with self._lock:
            self._last = (self._clock(), *self._busy_and_total())

    def joules(self) -> float:
        with self._lock:
            now_s, (busy_s, total_s) = self._clock(), self._busy_and_total()
            last_now_s, last_busy_s, last_total_s = self._last
            elapsed_s = now_s - last_now_s
            if total_s > last_total_s:
                load = min(1.0, max(0.0, (busy_s - last_busy_s) / (total_s - last_total_s)))
                cpu_w = self._tdp_w * (IDLE_FRACTION + (1 - IDLE_FRACTION) * load)
                self._total_j += (cpu_w + self._memory_w) * elapsed_s
                self._last = (now_s, busy_s, total_s)
            return self._total_j
