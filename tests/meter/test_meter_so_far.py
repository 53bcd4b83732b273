"""Joules in the middle of a window: a counter that has not moved yet is not 0 J."""

from __future__ import annotations

import pytest
from meter_fakes import Clock, Scripted

from bpfree.meter import Meter


def test_nothing_counted_yet_is_not_zero_joules(clock: Clock) -> None:
    slow = Scripted(clock=clock, watts=0.0)
    with Meter("cpu", [slow], clock=clock, sleep=clock.sleep).window() as window:
        assert window.joules_so_far() is None
        clock.now_s += 2.0
        assert window.joules_so_far() is None
        slow.watts = 10.0
        clock.now_s += 2.0
        assert window.joules_so_far() == pytest.approx(10.0 * clock.now_s)
