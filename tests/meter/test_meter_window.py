"""The meter's window: synchronised edges, what survives an exception, idle power, repetition."""

from __future__ import annotations

import threading
import time
from collections.abc import Collection

import pytest
import torch
from meter_fakes import Clock, Scripted

import bpfree.meter.meter as meter_module
import bpfree.meter.repeat as repeat_module
from bpfree.errors import UsageError
from bpfree.meter import Meter, Missing, Reading, detect
from bpfree.meter.repeat import measure_repeated
from bpfree.meter.timeline import Probe, Sample


def cpu_meter(clock: Clock, *sources: Scripted, **how) -> Meter:
    return Meter("cpu", sources, clock=clock, sleep=clock.sleep, **how)


def test_joules_and_seconds_of_a_window(clock: Clock) -> None:
    meter = cpu_meter(clock, Scripted(clock=clock, watts=10.0))
    clock.now_s += 1000  # what happens before is not counted
    with meter.window() as window:
        clock.now_s += 3.0
        assert window.reading is None
        assert window.elapsed_s() == pytest.approx(3.0)
        assert window.joules_so_far() == pytest.approx(30.0)
        clock.now_s += 1.0
    reading = window.reading
    assert reading is not None
    assert (reading.time_s, reading.joules) == (pytest.approx(4.0), pytest.approx(40.0))
    assert (reading.measured, reading.resolved) == (True, True)
    clock.now_s += 50
    assert (window.elapsed_s(), window.joules_so_far()) == (reading.time_s, reading.joules)


def test_without_sources_time_is_measured_and_joules_are_null_with_the_reason(clock: Clock) -> None:
    meter = cpu_meter(clock, missing=[Missing("rapl", "a virtual machine", "leave it")])
    with meter.window() as window:
        clock.now_s += 2.0
        assert window.joules_so_far() is None
    reading = window.reading
    assert reading is not None
    assert (reading.time_s, reading.joules, reading.sources) == (pytest.approx(2.0), None, {})
    assert "a virtual machine" in reading.reasons["energy.joules"]


def test_on_this_machine_whatever_it_offers_a_window_has_a_reading() -> None:
    with Meter.detect("cpu").window() as window:
        torch.ones(100, 100) @ torch.ones(100, 100)
    reading = window.reading
    assert reading is not None
    assert reading.time_s > 0
    assert (reading.joules is None) == ("energy.joules" in reading.reasons)


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_an_exception_leaves_what_was_measured_until_then(clock: Clock, error: type[BaseException]) -> None:
    meter = cpu_meter(clock, Scripted(clock=clock, watts=10.0))
    with pytest.raises(error), meter.window() as window:
        clock.now_s += 2.0
        raise error
    assert window.reading is not None
    assert window.reading.joules == pytest.approx(20.0)


def test_a_source_that_dies_inside_is_null_with_what_it_had_measured(clock: Clock) -> None:
    source = Scripted(clock=clock, watts=10.0)
    with cpu_meter(clock, source).window() as window:
        clock.now_s += 2.0
        window.joules_so_far()
        source.dead = True
        clock.now_s += 2.0
        assert window.joules_so_far() is None
    reading = window.reading
    assert reading is not None
    assert (reading.joules, reading.time_s) == (None, pytest.approx(4.0))
    assert "died (20 J had been measured by then)" in reading.reasons["energy.joules"]


def test_a_source_that_is_dead_from_the_start_says_so(clock: Clock) -> None:
    source = Scripted(clock=clock)
    source.dead = True
    with cpu_meter(clock, source).window() as window:
        clock.now_s += 2.0
        source.dead = False  # half of the window is not the window
        assert window.joules_so_far() is None
    assert window.reading is not None
    assert window.reading.joules is None


def test_the_device_is_waited_for_at_both_edges_and_nowhere_else(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    source = Scripted(clock=clock)
    seen: list[tuple[torch.device, int]] = []
    monkeypatch.setattr(meter_module, "synchronise", lambda device: seen.append((device, source.n_reads)))
    with cpu_meter(clock, source).window() as window:
        clock.now_s += 1.0
        window.elapsed_s()
        window.joules_so_far()
        assert len(seen) == 1
        n_reads = source.n_reads
    assert seen == [(torch.device("cpu"), 0), (torch.device("cpu"), n_reads)], "before the counter is read"


def test_cuda_is_waited_for_on_its_own_device(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    monkeypatch.setattr(torch.cuda, "synchronize", seen.append)
    meter_module.synchronise(torch.device("cuda:1"))
    meter_module.synchronise(torch.device("cpu"))
    assert seen == [torch.device("cuda:1")]


@pytest.mark.parametrize("already_failed", [False, True])
def test_a_dead_device_does_not_take_the_reading_with_it(
    clock: Clock, monkeypatch: pytest.MonkeyPatch, already_failed: bool
) -> None:
    def lost(device: torch.device) -> None:
        raise RuntimeError("CUDA error: device lost")

    meter = cpu_meter(clock, Scripted(clock=clock, watts=10.0))
    expected = "the step failed" if already_failed else "device lost"
    with pytest.raises(RuntimeError, match=expected), meter.window() as window:
        clock.now_s += 2.0
        monkeypatch.setattr(meter_module, "synchronise", lost)
        if already_failed:
            raise RuntimeError("the step failed")
    assert window.reading is not None
    assert window.reading.joules == pytest.approx(20.0)


def test_idle_power_makes_net_joules(clock: Clock) -> None:
    source = Scripted(clock=clock, watts=10.0)
    meter = cpu_meter(clock, source)
    assert meter.measure_idle(5.0) == {source.name: pytest.approx(10.0)}
    source.watts = 10.0
    with meter.window() as window:
        clock.now_s += 4.0
    assert window.reading is not None
    assert window.reading.net_joules == pytest.approx(0.0, abs=1e-6)


class Watched(Probe):
    """A probe that sees, or does not see, another process."""

    def __init__(self, busy: str | None) -> None:
        self.busy = busy

    def sample(self, time_s: float) -> Sample:
        return Sample(time_s)

    def not_idle(self, scopes: Collection[str]) -> str | None:
        assert set(scopes) == {"cpu-package"}
        return self.busy


def test_idle_power_of_a_busy_machine_is_not_measured(clock: Clock) -> None:
    """What others draw would be subtracted from the runs: they came out at less than nothing (-22 mJ)."""
    source, probe = Scripted(clock=clock, watts=10.0), Watched("other processes kept 1.5 of 2 processors busy")
    meter = Meter("cpu", [source], clock=clock, sleep=clock.sleep, probe=probe)
    assert meter.measure_idle(5.0) == {}
    assert meter.idle_w is None

    def reading() -> Reading:
        with meter.window() as window:
            clock.now_s += 4.0
        assert window.reading is not None
        return window.reading

    busy = reading()
    assert busy.joules == pytest.approx(40.0)
    assert busy.net_joules is None
    assert "other processes kept 1.5 of 2 processors busy" in busy.reasons["energy.net_joules"]
    probe.busy = None
    assert meter.measure_idle(5.0) == {source.name: pytest.approx(10.0)}
    idle = reading()
    assert idle.net_joules == pytest.approx(0.0, abs=1e-6)
    assert "energy.net_joules" not in idle.reasons


def test_idle_is_measured_for_twenty_periods_at_least(clock: Clock) -> None:
    before = clock.now_s
    cpu_meter(clock, Scripted(clock=clock, period_s=1.0)).measure_idle(0.5)
    assert clock.now_s - before == pytest.approx(20.0)


def test_idle_without_sources_waits_for_nothing(clock: Clock) -> None:
    before = clock.now_s
    assert cpu_meter(clock).measure_idle(5.0) == {}
    assert clock.now_s == before


@pytest.mark.parametrize("seconds", [0.0, -1.0, float("nan")])
def test_idle_needs_a_positive_time(clock: Clock, seconds: float) -> None:
    with pytest.raises(UsageError, match="above 0 s"):
        cpu_meter(clock).measure_idle(seconds)


def test_two_sources_of_one_name_are_refused(clock: Clock) -> None:
    with pytest.raises(UsageError, match="different names"):
        cpu_meter(clock, Scripted(clock=clock), Scripted(clock=clock))


def test_sources_are_reopened_by_the_outer_window_only(clock: Clock) -> None:
    source = Scripted(clock=clock)
    meter = cpu_meter(clock, source)
    with meter.window() as outer:
        clock.now_s += 1.0
        with meter.window() as inner:
            clock.now_s += 1.0
        assert source.n_opened == 1
    assert outer.reading is not None
    assert inner.reading is not None
    assert outer.reading.joules == pytest.approx(2 * (inner.reading.joules or 0))
    with meter.window():
        pass
    assert source.n_opened == 2


def test_no_thread_where_there_is_nothing_to_sample(clock: Clock) -> None:
    with cpu_meter(clock, Scripted(clock=clock)).window():
        assert not [thread for thread in threading.enumerate() if thread.name == "bpfree-sampler"]


class Counting(Probe):
    def __init__(self) -> None:
        self.threads: set[str] = set()

    def sample(self, time_s: float) -> Sample:
        self.threads.add(threading.current_thread().name)
        return Sample(time_s, utilisation=0.5)


def test_one_thread_polls_and_samples_and_ends_with_the_window() -> None:
    probe = Counting()
    source = Scripted(clock=Clock(), poll_s=0.05)
    meter = Meter("cpu", [source], probe=probe)
    with meter.window() as window:
        time.sleep(0.55)
        n_reads = source.n_reads
        elapsed_s = window.elapsed_s()
    assert probe.threads == {"bpfree-sampler"}
    assert 3 <= len(window.timeline) <= 2 + elapsed_s / 0.1
    assert n_reads >= 5
    assert not [thread for thread in threading.enumerate() if thread.name == "bpfree-sampler"]


def test_a_source_that_dies_while_polled_does_not_end_the_thread() -> None:
    clock = Clock()
    source, probe = Scripted(clock=clock, poll_s=0.02), Counting()
    with Meter("cpu", [source], probe=probe).window() as window:
        time.sleep(0.1)
        source.dead = True
        time.sleep(0.25)
    assert len(window.timeline) >= 3
    assert window.reading is not None
    assert window.reading.joules is None


def test_detect_names_what_is_missing_and_estimates_only_on_request(tmp_path) -> None:
    found = detect("cpu", powercap_root=tmp_path)
    assert found.sources == ()
    assert [entry.name for entry in found.missing] == ["rapl"]
    asked = detect("cpu", estimate=True, powercap_root=tmp_path)
    assert [(source.method, source.measured) for source in asked.sources] == [("estimate", False)]
    assert asked.missing == found.missing, "the estimate does not hide what is missing"


def test_repetition_goes_on_until_the_counter_resolves_it(clock: Clock) -> None:
    source = Scripted(clock=clock, watts=10.0, period_s=0.1)
    calls = []

    def call() -> None:
        calls.append(clock.now_s)
        clock.now_s += 0.013

    repeated = measure_repeated(cpu_meter(clock, source), call, min_s=0.5, warm_up=2)
    assert repeated.reading.resolved
    assert repeated.reading.time_s >= 2.0
    assert repeated.reading.time_s < 2.5, "it does not run far past what is needed"
    assert repeated.n_calls == len(calls) - 2
    assert repeated.call_s == pytest.approx(0.013)
    assert repeated.call_j == pytest.approx(0.13, rel=0.05)


def test_the_device_is_warmed_up_for_a_time_that_is_not_measured(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    waited: list[int] = []
    calls: list[float] = []

    def call() -> None:
        calls.append(clock.now_s)
        clock.now_s += 0.25

    monkeypatch.setattr(repeat_module, "synchronise", lambda _: waited.append(len(calls)))
    repeated = measure_repeated(cpu_meter(clock), call, min_s=1.0, warm_up_s=1.0)
    assert waited[:4] == [1, 2, 3, 4], "a GPU that only queues the calls would not be warm"
    assert (len(calls), repeated.n_calls) == (8, 4)
    assert repeated.reading.time_s == pytest.approx(1.0)


def test_repetition_gives_what_the_device_did_and_net_joules(clock: Clock) -> None:
    source, probe = Scripted(clock=clock, watts=10.0), Counting()
    meter = cpu_meter(clock, source, idle_w={source.name: 4.0}, probe=probe)
    repeated = measure_repeated(meter, lambda: clock.sleep(0.25) or time.sleep(0.01), min_s=1.0)
    assert repeated.trace.samples and {sample.utilisation for sample in repeated.trace.samples} == {0.5}
    assert repeated.net_call_j == pytest.approx(6.0 * 0.25)


def test_repetition_without_sources_lasts_its_least_time(clock: Clock) -> None:
    repeated = measure_repeated(cpu_meter(clock), lambda: clock.sleep(0.1), min_s=0.5)
    assert repeated.call_j is None
    assert repeated.call_s == pytest.approx(0.1)
    assert repeated.n_calls in (5, 6)


def test_repetition_that_may_not_last_long_enough_is_not_resolved(clock: Clock) -> None:
    source = Scripted(clock=clock, period_s=1.0)
    repeated = measure_repeated(cpu_meter(clock, source), lambda: clock.sleep(0.1), min_s=0.5, max_s=3.0)
    assert not repeated.reading.resolved


def test_repetition_refuses_times_in_the_wrong_order(clock: Clock) -> None:
    with pytest.raises(UsageError, match="at most max_s"):
        measure_repeated(cpu_meter(clock), lambda: None, min_s=5.0, max_s=1.0)


def test_repetition_waits_for_the_device_after_every_burst(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without it a GPU is handed thousands of calls, and the window outlasts its time by all of them."""
    queued, waited = [0], []

    def wait(device: torch.device) -> None:
        waited.append(queued[0])
        clock.now_s += 0.01 * queued[0]
        queued[0] = 0

    def launch() -> None:  # returns at once, as a kernel's launch does
        queued[0] += 1

    monkeypatch.setattr(repeat_module, "synchronise", wait)
    repeated = measure_repeated(cpu_meter(clock), launch, min_s=1.0, warm_up=0)
    assert sum(waited) == repeated.n_calls
    assert repeated.call_s == pytest.approx(0.01)
    assert repeated.reading.time_s < 1.1
