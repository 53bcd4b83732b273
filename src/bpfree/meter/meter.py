"""The meter: one synchronised window over a stretch of work, and what it cost.

::

    meter = Meter.detect("cuda")
    with meter.window() as window:
        train()
    window.reading.joules
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

import torch

from bpfree.errors import UsageError
from bpfree.meter.detect import detect
from bpfree.meter.reading import RESOLVED_PERIODS, Reading, build_reading, gaps, summed
from bpfree.meter.sampler import BackgroundSampler
from bpfree.meter.sources import EnergySource, Missing, SourceError
from bpfree.meter.timeline import MEASURED, Probe, Sample, Trace

__all__ = ["Meter", "Window", "synchronise"]


def synchronise(device: torch.device) -> None:
    """Wait until the device has done all that it was given; the processor has nothing to wait for."""
    if device.type not in ("cpu", "meta"):
        getattr(torch, device.type).synchronize(*([device] if device.type == "cuda" else []))


class Meter:
    """Measures windows of work on one device.

    Args:
        device: where the work runs; waited for at both edges of a window.
        sources: energy sources; those that measure the same thing are cross-checks of each other (:func:`summed`).
        missing: sources that the machine does not offer; they give the reasons of the nulls.
        idle_w: idle power by source name (W), for net joules.
        clock: monotonic seconds.
        probe: what the timeline is read from; ``None`` for no timeline.
        sleep: waits that many seconds (idle measurement).

    Attributes:
        idle_w: as given, or as :meth:`measure_idle` found it.
        not_idle: why it could not be measured: the machine was not idle.

    Raises:
        UsageError: two sources of the same name.
    """

    def __init__(
        self,
        device: torch.device | str,
        sources: Sequence[EnergySource] = (),
        *,
        missing: Sequence[Missing] = (),
        idle_w: Mapping[str, float] | None = None,
        clock: Callable[[], float] = time.monotonic,
        probe: Probe | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        names = [source.name for source in sources]
        if len(set(names)) != len(names):
            raise UsageError(f"energy sources need different names, got {', '.join(names)}")
        self.device = torch.device(device)
        self.sources, self.missing, self.probe = tuple(sources), tuple(missing), probe
        self.idle_w = dict(idle_w) if idle_w is not None else None
        self.not_idle: str | None = None
        self.clock, self._sleep = clock, sleep
        self._n_open = 0

    @classmethod
    def detect(cls, device: torch.device | str, *, estimate: bool = False) -> Meter:
        """A meter with every source that this machine offers for ``device``."""
        detection = detect(device, estimate=estimate)
        return cls(device, detection.sources, missing=detection.missing, probe=detection.probe)

    @contextmanager
    def window(self) -> Iterator[Window]:
        """Meter what happens inside. ``window.reading`` is there afterwards, also after an exception or Ctrl-C."""
        window = Window(self)
        try:
            yield window
        except BaseException:
            window.close(failed=True)
            raise
        window.close(failed=False)

    def measure_idle(self, seconds: float) -> dict[str, float]:
        """Power of each source while nothing runs (W), by name; stored as ``self.idle_w`` for the windows that follow.

        A source that gave nothing in that time is left out. The time is lengthened to 20 periods of the slowest counter. Where
        the probe sees other processes at work meanwhile, there is no idle power: what they draw would be subtracted from the
        runs. The result is then empty and :attr:`not_idle` says why, as do the windows that follow.

        Raises:
            UsageError: ``seconds`` is not positive.
        """
        if not seconds > 0:
            raise UsageError(f"idle power needs a time above 0 s to be measured in, got {seconds}")
        resolved_s = [RESOLVED_PERIODS * source.period_s for source in summed(self.sources)]
        with self.window() as window:
            self._sleep(max(seconds, *resolved_s) if resolved_s else 0.0)
        reading = window.reading
        assert reading is not None
        scopes = {source.scope for source in self.sources}
        self.not_idle = self.probe.not_idle(scopes) if self.probe is not None and scopes else None
        if self.not_idle is not None:
            self.idle_w = None
            return {}
        self.idle_w = {name: value / reading.time_s for name, value in reading.sources.items() if value is not None}
        return dict(self.idle_w)

    def _opened(self) -> None:
        if self._n_open == 0:
            for source in self.sources:
                source.open()
            if self.probe is not None:
                self.probe.open()
        self._n_open += 1

    def _closed(self) -> None:
        self._n_open -= 1


class Window:
    """A metered stretch of work; made by :meth:`Meter.window`.

    Attributes:
        reading: the result, once the window is closed.
        timeline: what the device did in the meantime.
        sampler_cpu_s: processor seconds that the sampler thread took.
    """

    def __init__(self, meter: Meter) -> None:
        self.reading: Reading | None = None
        self.timeline: tuple[Sample, ...] = ()
        self.sampler_cpu_s = 0.0
        self._meter = meter
        self._last_j: dict[str, float] = {}  # counters as joules_so_far saw them
        synchronise(meter.device)
        meter._opened()
        self._start_j = {source.name: _read(source) for source in meter.sources}
        self._sampler = BackgroundSampler(meter.sources, meter.probe, clock=meter.clock)
        self._start_s = meter.clock()
        self._sampler.start()

    @property
    def trace(self) -> Trace:
        """:attr:`timeline`, and where it is from."""
        probe = self._meter.probe
        return Trace(self.timeline, MEASURED if probe is None else probe.origin)

    def elapsed_s(self) -> float:
        """Seconds since the window opened; does not wait for the device."""
        return self.reading.time_s if self.reading is not None else self._meter.clock() - self._start_s

    def joules_so_far(self) -> float | None:
        """Joules of the summed sources since the window opened, or ``None``; cheap, for once a pass. Does not wait."""
        if self.reading is not None:
            return self.reading.joules
        if gaps(self._meter.sources, self._meter.missing):
            return None
        spent = [self._spent(source) for source in summed(self._meter.sources)]
        values = [value for value in spent if not isinstance(value, str) and value > 0]
        return sum(values) if values and len(values) == len(spent) else None

    def close(self, *, failed: bool) -> None:
        """End the window. An error of the device is raised once the reading is there, unless the work has ``failed`` already."""
        meter, lost = self._meter, None
        try:
            synchronise(meter.device)
        except RuntimeError as error:  # the reading is made even if the device has failed
            lost = error
        end_s = meter.clock()
        spent = {source.name: self._spent(source) for source in meter.sources}
        self._sampler.stop()
        meter._closed()
        self.timeline, self.sampler_cpu_s = self._sampler.timeline.samples, self._sampler.cpu_s
        others = (meter.probe.others() if meter.probe is not None else None) or self._sampler.others
        self.reading = build_reading(
            end_s - self._start_s,
            meter.sources,
            spent,
            missing=meter.missing,
            idle_w=meter.idle_w,
            not_idle=meter.not_idle,
            others=others,
        )
        if lost is not None and not failed:
            raise lost

    def _spent(self, source: EnergySource) -> float | str:
        start = self._start_j[source.name]
        if isinstance(start, str):
            return start
        now = _read(source)
        if isinstance(now, str):
            known = [read[source.name] for read in (self._last_j, self._sampler.last_j) if source.name in read]
            return now + (f" ({max(known) - start:.6g} J had been measured by then)" if known else "")
        self._last_j[source.name] = now
        return now - start


def _read(source: EnergySource) -> float | str:
    """The counter, or why it cannot be read."""
    try:
        return source.joules()
    except SourceError as error:
        return str(error)
