"""What a device did over time: clocks, power, utilisation, temperature, memory."""

from __future__ import annotations

import dataclasses
import json
import statistics
from abc import ABC, abstractmethod
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

__all__ = [
    "MEASURED", "HostProbe", "Probe", "Sample", "Spread", "Timeline", "Trace", "busy_and_total_s", "busy_processors",
    "processor_seconds", "spread",
]  # fmt: skip

MEASURED = "measured"
"""Origin of a trace that was sampled while the work ran."""

_OTHERS_SHARE = 0.1
"""Share of the busy processor time from which other processes are reported."""

_IDLE_PROCESSORS, _IDLE_SHARE = 0.1, 0.01
"""An idle machine keeps no more than this many processors busy, or this share of all, whichever is more."""

_LEAST_BUSY_S = 1.0
"""Less busy time than this says nothing: the kernel accounts in ticks of 10 ms, for each processor."""


def busy_and_total_s(processors: Collection[int] | None = None) -> tuple[float, float]:
    """Processor seconds spent busy, and all processor seconds, since the machine started.

    Args:
        processors: numbers of the hardware threads that count; None for the whole machine, which counts too where they are not
            known by their numbers.
    """
    if processors is None:
        every = [psutil.cpu_times()]
    else:
        known = psutil.cpu_times(percpu=True)  # by place: where some are switched off or hidden, places are no numbers
        all_on = f"0-{len(known) - 1}" if len(known) > 1 else "0"
        by_number = len(known) == psutil.cpu_count() and _online() in (None, all_on)
        every = [known[number] for number in processors] if by_number and max(processors) < len(known) else known
    busy_s = all_s = 0.0
    for times in (each._asdict() for each in every):
        # guest times are counted in user and nice already
        total_s = sum(value for key, value in times.items() if key not in ("guest", "guest_nice"))
        busy_s += total_s - times["idle"] - times.get("iowait", 0.0)
        all_s += total_s
    return busy_s, all_s


ONLINE = Path("/sys/devices/system/cpu/online")
"""Where Linux lists the hardware threads that are switched on, such as 0-3."""


def _online() -> str | None:
    try:
        return ONLINE.read_text().strip()
    except OSError:
        return None


def processor_seconds(process: psutil.Process) -> tuple[float, float, float]:
    """Processor seconds of a process, then those busy and all of :func:`busy_and_total_s`."""
    times = process.cpu_times()
    return times.user + times.system, *busy_and_total_s()


def busy_processors(start: Sequence[float], end: Sequence[float]) -> str | None:
    """Why the processors were not idle, in words; ``None`` where they were.

    Args:
        start, end: :func:`processor_seconds` of this process at both ends of a time in which it waited.
    """
    own_s, busy_s, total_s = (later - earlier for earlier, later in zip(start, end, strict=True))
    n_processors = psutil.cpu_count() or 1
    busy = n_processors * (busy_s - own_s) / total_s if total_s > 0 else 0.0
    if busy <= max(_IDLE_PROCESSORS, _IDLE_SHARE * n_processors):
        return None
    return f"other processes kept {busy:.2g} of {n_processors} processors busy"


@dataclass(frozen=True)
class Sample:
    """One moment; what could not be read is ``None``. ``time_s`` runs from the start of the window."""

    time_s: float
    power_w: float | None = None
    clock_mhz: float | None = None
    memory_clock_mhz: float | None = None
    utilisation: float | None = None
    temperature_c: float | None = None
    memory_bytes: int | None = None


QUANTITIES = tuple(field.name for field in dataclasses.fields(Sample) if field.name != "time_s")
"""Fields of a sample other than its time."""


@dataclass(frozen=True)
class Trace:
    """The samples of a window, and where they are from: :data:`MEASURED`, or words such as ``"replayed from FILE"``."""

    samples: tuple[Sample, ...]
    origin: str = MEASURED

    def reasons(self) -> dict[str, str]:
        """Why a quantity is in no sample, by its name."""
        if not self.samples:
            return dict.fromkeys(QUANTITIES, "nothing was sampled")
        why = "this device does not report it (see bpfree doctor)"
        return {name: why for name in QUANTITIES if all(getattr(sample, name) is None for sample in self.samples)}

    def lines(self, about: dict[str, Any]) -> str:
        """The trace as JSON lines: first what it is ``about``, its origin and its reasons, then one sample a line."""
        header = {**about, "origin": self.origin, "reasons": self.reasons()}
        rows = [
            {key: round(value, 6) for key, value in dataclasses.asdict(sample).items() if value is not None}
            for sample in self.samples
        ]
        return "".join(json.dumps(row) + "\n" for row in (header, *rows))

    @classmethod
    def read(cls, text: str) -> Trace:
        """A trace from its lines; its origin is as written."""
        header, *rows = (json.loads(line) for line in text.splitlines() if line.strip())
        return cls(tuple(Sample(**row) for row in rows), str(header.get("origin", MEASURED)))


class Probe(ABC):
    """Reads one :class:`Sample` from a device.

    Attributes:
        origin: of its samples, see :class:`Trace`.
    """

    origin: str = MEASURED

    def open(self) -> None:  # noqa: B027 - a hook
        """Called when a first window opens."""

    @abstractmethod
    def sample(self, time_s: float) -> Sample:
        """The device now. Never raises: what cannot be read is ``None``."""

    def others(self) -> str | None:
        """Other processes on the device in words, or ``None`` when there are none (or it cannot be known)."""
        return None

    def not_idle(self, scopes: Collection[str]) -> str | None:
        """Why the machine was not idle since :meth:`open`, while this process waited; ``None`` where it was.

        Args:
            scopes: of the sources whose idle power is measured.
        """
        others = self.others()
        return None if others is None else others.partition(",")[0]


class HostProbe(Probe):
    """The processor: load of the whole machine as a fraction, resident set of this process."""

    def __init__(self) -> None:
        self._process = psutil.Process()
        self._start = self._seconds()
        self._last = busy_and_total_s()  # psutil.cpu_percent has one memory for all its callers

    def open(self) -> None:
        self._start = self._seconds()

    def _seconds(self) -> tuple[float, float, float]:
        return processor_seconds(self._process)

    def others(self) -> str | None:
        process_s, all_s, _ = (now - start for now, start in zip(self._seconds(), self._start, strict=True))
        if all_s < _LEAST_BUSY_S or all_s - process_s <= _OTHERS_SHARE * all_s:
            return None
        share = (all_s - process_s) / all_s
        return f"other processes used {share:.0%} of the busy processor time, and the joules include theirs"

    def not_idle(self, scopes: Collection[str]) -> str | None:
        return busy_processors(self._start, self._seconds())

    def sample(self, time_s: float) -> Sample:
        now = busy_and_total_s()
        busy_s, total_s = (later - earlier for later, earlier in zip(now, self._last, strict=True))
        self._last = now
        load = min(1.0, max(0.0, busy_s / total_s)) if total_s > 0 else None
        return Sample(time_s, utilisation=load, memory_bytes=self._process.memory_info().rss)


class Timeline:
    """Samples of a window of unknown length in bounded space: when full, every second one is dropped.

    Args:
        capacity: most samples to hold; an hour at 10 Hz (36,000) ends as 2,250 samples 1.6 s apart.
    """

    def __init__(self, capacity: int = 4096) -> None:
        self._capacity, self._stride, self._seen = capacity, 1, 0
        self._samples: list[Sample] = []

    def add(self, sample: Sample) -> None:
        if self._seen % self._stride == 0:
            self._samples.append(sample)
            if len(self._samples) >= self._capacity:
                self._samples = self._samples[::2]
                self._stride *= 2
        self._seen += 1

    @property
    def samples(self) -> tuple[Sample, ...]:
        """The samples that remain, in order of time."""
        return tuple(self._samples)


@dataclass(frozen=True)
class Spread:
    """How unsteady a quantity was: whether clocks are "spiky". ``variation`` is deviation over mean."""

    mean: float
    deviation: float
    least: float
    most: float

    @property
    def variation(self) -> float:
        return self.deviation / self.mean if self.mean else 0.0


def spread(samples: Sequence[Sample], quantity: str) -> Spread | None:
    """Mean, standard deviation and range of a field of the samples; ``None`` where it was never read.

    Args:
        quantity: a field of :class:`Sample`, such as ``"clock_mhz"``.
    """
    values = [value for sample in samples if (value := getattr(sample, quantity)) is not None]
    if not values:
        return None
    mean, deviation = statistics.fmean(values), statistics.pstdev(values)
    return Spread(mean, deviation, min(values), max(values))
