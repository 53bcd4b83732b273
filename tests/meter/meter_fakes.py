"""Stand-ins for tests of the meter: a clock moved by hand, scripted sources, a powercap tree."""

from __future__ import annotations

import math
from pathlib import Path

from bpfree.meter.sources import EnergySource, SourceError


class Clock:
    """Seconds that pass only when the test says so."""

    def __init__(self, now_s: float = 100.0) -> None:
        self.now_s = now_s

    def __call__(self) -> float:
        return self.now_s

    def sleep(self, seconds: float) -> None:
        self.now_s += seconds


class Scripted(EnergySource):
    """Constant power on a hand-moved clock; dies, stands still or refuses when told to."""

    def __init__(
        self,
        name: str = "rapl:package-0",
        *,
        clock: Clock,
        watts: float = 10.0,
        scope: str = "cpu-package",
        method: str = "rapl",
        period_s: float = 0.001,
        measured: bool = True,
        poll_s: float | None = None,
    ) -> None:
        self.name, self.scope, self.method = name, scope, method
        self.period_s, self.measured, self.poll_s = period_s, measured, poll_s
        self.watts, self.clock, self.dead, self.extra_j = watts, clock, False, 0.0
        self.n_reads = self.n_opened = 0

    def open(self) -> None:
        self.n_opened += 1

    def joules(self) -> float:
        self.n_reads += 1
        if self.dead:
            raise SourceError("the scripted source died")
        ticks = math.floor(self.clock() / self.period_s + 1e-9)
        return 1e6 + self.watts * ticks * self.period_s + self.extra_j


def write_domain(folder: Path, name: str, energy_uj: int, range_uj: int = 262_143_328_850) -> Path:
    """One domain of a powercap tree."""
    folder.mkdir(parents=True)
    (folder / "name").write_text(f"{name}\n")
    (folder / "energy_uj").write_text(f"{energy_uj}\n")
    (folder / "max_energy_range_uj").write_text(f"{range_uj}\n")
    return folder / "energy_uj"
