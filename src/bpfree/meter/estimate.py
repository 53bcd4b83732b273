"""An estimate of a run's energy, on request only. It is a model, not a measurement, and always says so.

    joules = processor seconds of this process x watts of a busy hardware thread

On a machine without an energy counter (a virtual machine, most often) processor seconds are all that can be observed. The watts
are those of whole servers at the plug, under full load, over their hardware threads; they follow the family of the processor.
The interval is how far one server lay from the others of its family when each was predicted from the rest; on a virtual machine,
whose host is unknown, it is wider by judgement: x 0.6 to x 2.3. A graphics card is not in it.

An estimate is seconds times a constant, so it says of two rules what their processor seconds say, and nothing more: the report
compares nothing by it.

Source of the watts: SPECpower_ssj2008 results (the results are SPEC's), from the cleaned table of Green Coding's cloud-energy
(MIT). Rated power times load, as CodeCarbon computes it, was found up to 40 % off a wall meter (arXiv 2509.22092).
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from bpfree.meter.sources import EnergySource

__all__ = ["FAMILIES", "EstimateSource", "Watts", "watts_of"]

CPUINFO = Path("/proc/cpuinfo")

VIRTUAL = (0.6, 2.3)
"""Interval on a virtual machine, as multiples: our judgement."""


@dataclass(frozen=True)
class Watts:
    """Power of one busy hardware thread, at the plug.

    Attributes:
        family: of the processor, in words.
        busy_w: watts.
        low, high: the interval, as multiples of ``busy_w``.
        host: what the interval allows for, in words.
    """

    family: str
    busy_w: float
    low: float
    high: float
    host: str = "one server of the family"

    @property
    def basis(self) -> str:
        """How the joules are made, with the interval and the source."""
        low_w, high_w = self.busy_w * self.low, self.busy_w * self.high
        return (
            f"processor seconds of this process x {self.busy_w:.3g} W a busy hardware thread of {self.family} "
            f"({low_w:.2g} to {high_w:.2g} W, x {self.low:.3g} to x {self.high:.3g}: {self.host}; SPECpower results of SPEC, "
            "table of cloud-energy)"
        )


FAMILIES = {
    "epyc-1": Watts("AMD EPYC, 1st generation", 2.32, 0.76, 2.13),
    "epyc-2": Watts("AMD EPYC, 2nd generation", 1.67, 0.80, 1.20),
    "epyc-3": Watts("AMD EPYC, 3rd generation", 1.82, 0.76, 1.24),
    "skylake": Watts("Intel Xeon, Skylake SP", 4.08, 0.68, 2.08),
    "cascade-lake": Watts("Intel Xeon, Cascade Lake", 3.75, 0.61, 2.29),
    "ice-lake": Watts("Intel Xeon, Ice Lake SP", 3.89, 0.72, 1.82),
}
"""Processor families that were measured."""

UNKNOWN = Watts("a processor of no family in the table (geometric mean of six server families)", 2.74, 0.37, 3.4, "any of them")
"""From the least family on the thriftiest host to the greatest on the hungriest, 1.0 to 9.4 W."""


def watts_of(cpuinfo: str) -> Watts:
    """The watts for a processor as Linux describes it (``/proc/cpuinfo``); empty where there is no such file."""
    facts = dict(line.split(":", 1) for line in cpuinfo.partition("\n\n")[0].splitlines() if ":" in line)
    facts = {key.strip(): value.strip() for key, value in facts.items()}
    family = FAMILIES.get(_family(facts))
    if family is None:
        return UNKNOWN
    if "hypervisor" in facts.get("flags", "").split():
        return Watts(family.family, family.busy_w, *VIRTUAL, "a virtual machine of unknown host, by judgement")
    return family


def _family(facts: dict[str, str]) -> str:
    """A key of :data:`FAMILIES`, or empty. Desktop processors share the numbers, so the name must be that of a server."""
    try:
        family, model, stepping = (int(facts[key]) for key in ("cpu family", "model", "stepping"))
    except (KeyError, ValueError):
        return ""
    name = facts.get("model name", "")
    if facts.get("vendor_id") == "AuthenticAMD" and "EPYC" in name:
        return {(0x17, 0x0): "epyc-1", (0x17, 0x3): "epyc-2", (0x19, 0x0): "epyc-3"}.get((family, model >> 4), "")
    if facts.get("vendor_id") == "GenuineIntel" and "Xeon" in name and family == 6:
        if model == 85:
            return "skylake" if stepping <= 4 else "cascade-lake" if stepping <= 7 else ""
        return {106: "ice-lake", 108: "ice-lake"}.get(model, "")
    return ""


@functools.cache
def _here() -> Watts:
    try:
        return watts_of(CPUINFO.read_text(encoding="utf-8"))
    except OSError:
        return UNKNOWN


class EstimateSource(EnergySource):
    """The formula above as a counter.

    Args:
        watts: of the processor; by default of the one that this runs on.
        processor_s: processor seconds of this process so far, all threads.
    """

    name = "estimate:processor"
    scope = "machine (estimate)"
    method = "estimate"
    measured = False
    period_s = 0.01
    """The kernel's accounting tick (100 Hz)."""

    def __init__(self, watts: Watts | None = None, *, processor_s: Callable[[], float] = time.process_time) -> None:
        self.watts = _here() if watts is None else watts
        self.basis = self.watts.basis
        self._processor_s = processor_s

    def joules(self) -> float:
        return self.watts.busy_w * self._processor_s()
