"""Joules in the middle of a window: a counter that has not moved yet is not 0 J."""

from __future__ import annotations

import pytest
from meter_fakes import Clock, Scripted

from bpfree.meter import Meter
from bpfree.meter.sampler import BackgroundSampler


def test_nothing_counted_yet_is_not_zero_joules(clock: Clock) -> None:
    slow = Scripted(clock=clock, watts=0.0)
    with Meter("cpu", [slow], clock=clock, sleep=clock.sleep).window() as window:
        assert window.joules_so_far() is None
        clock.now_s += 2.0
        assert window.joules_so_far() is None
        slow.watts = 10.0
        clock.now_s += 2.0
        assert window.joules_so_far() == pytest.approx(10.0 * clock.now_s)


def test_a_polled_counter_is_first_read_after_its_period(clock: Clock) -> None:
    """The thread looks at the clock at once, and reads nothing before the period of the source is over."""
    source = Scripted(clock=clock, poll_s=3600.0)
    sampler = BackgroundSampler([source], clock=clock)
    sampler.start()
    sampler.stop()
    assert source.n_reads == 0
    assert sampler.last_j == {}
