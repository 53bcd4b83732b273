"""The contract of an energy source: a counter of joules that never goes back and says what it is."""

from __future__ import annotations

import math
import time
from typing import ClassVar

import pytest

from bpfree.meter import EnergySource, Meter

__all__ = ["SourceContract"]


class SourceContract:
    """Every check of an energy source; subclass it and give it a fixture ``source``."""

    work_s: ClassVar[float] = 0.05
    """Seconds to let pass between two readings that should differ; a source on a clock of its own overrides :meth:`wait`."""

    @pytest.fixture
    def source(self) -> EnergySource:
        """The source to check, fresh."""
        raise NotImplementedError("give your contract class a fixture `source` that returns the energy source")

    def wait(self) -> None:
        """Let time pass for the source."""
        time.sleep(self.work_s)

    def test_it_says_what_it_is(self, source: EnergySource) -> None:
        """``kind:domain``, scope, method, period; an estimate says so in its scope and is not called measured."""
        kind, colon, domain = source.name.partition(":")
        assert kind and colon and domain, f"{source.name!r} is not kind:domain"
        assert source.domain == domain
        assert source.scope and source.method
        assert math.isfinite(source.period_s) and source.period_s > 0
        assert source.poll_s is None or source.poll_s > 0
        assert isinstance(source.measured, bool)
        assert source.measured or "estimate" in source.scope

    def test_the_counter_never_goes_back(self, source: EnergySource) -> None:
        """Finite joules, not falling over many readings, and rising over time."""
        source.open()
        readings = [source.joules() for _ in range(20)]
        self.wait()
        readings.append(source.joules())
        assert all(isinstance(joules, float) and math.isfinite(joules) for joules in readings)
        assert readings == sorted(readings)
        assert readings[-1] > readings[0], f"no energy in {self.work_s} s"

    def test_it_can_be_opened_again(self, source: EnergySource) -> None:
        """Opening forgets nothing that was counted: only differences have a meaning, and they never become negative."""
        source.open()
        self.wait()
        before = source.joules()
        source.open()
        assert source.joules() >= before

    def test_a_meter_takes_it(self, source: EnergySource) -> None:
        """A window around some time reads positive joules from it, by its name."""
        with Meter("cpu", [source]).window() as window:
            self.wait()
        reading = window.reading
        assert reading is not None
        joules = reading.sources[source.name]
        assert joules is not None and joules > 0
        assert reading.measured == source.measured
