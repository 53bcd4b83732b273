"""The thread that samples, repeated calls, what a machine was doing, and counters: by value, on a clock moved by hand."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest

import bpfree.meter.estimate as estimate
import bpfree.meter.repeat as repeat_module
import bpfree.meter.sampler as sampler_module
from bpfree.meter import Meter, Sample, Trace, timeline
from bpfree.meter.repeat import measure_repeated
from bpfree.meter.sampler import BackgroundSampler
from bpfree.meter.sources import CountingSource, SourceError
from bpfree.meter.timeline import HostProbe, Probe
from tests.meter.meter_fakes import Clock, Scripted


class Eye(Probe):
    """A probe that tells when it was asked; a sample takes a while."""

    def __init__(self, clock: Clock, takes_s: float = 0.0) -> None:
        self.clock, self.takes_s, self.looked_at = clock, takes_s, []

    def sample(self, time_s: float) -> Sample:
        self.clock.now_s += self.takes_s
        return Sample(time_s)

    def others(self) -> str | None:
        self.looked_at.append(self.clock.now_s)
        return None if len(self.looked_at) < 2 else f"{len(self.looked_at)} seen"


class Script:
    """The event that stops the thread: each wait takes as long as asked, the last one ends it."""

    def __init__(self, clock: Clock, n_turns: int) -> None:
        self.clock, self.left, self.waits = clock, n_turns, []

    def wait(self, seconds: float) -> bool:
        self.waits.append(seconds)
        self.clock.now_s += seconds
        self.left -= 1
        return self.left == 0


def run(monkeypatch: pytest.MonkeyPatch, sampler: BackgroundSampler, clock: Clock, n_turns: int) -> list[float]:
    """The turns of the thread, without one; its waits."""
    script = Script(clock, n_turns)
    monkeypatch.setattr(sampler, "_stop", script)
    monkeypatch.setattr(sampler_module, "time", SimpleNamespace(thread_time=lambda: clock.now_s / 4))
    sampler._run(8.0)
    return script.waits


def test_the_schedule_of_the_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """A source every 3/4 s, samples every 1/2 s, processes every 5 s; from the start of the window on."""
    clock = Clock(8.0)
    source, twice, read_at = Scripted(clock=clock, poll_s=0.75), Scripted("a:b", clock=clock), []
    monkeypatch.setattr(source, "joules", lambda: read_at.append(clock.now_s - 8.0) or float(len(read_at)))
    probe = Eye(clock)
    sampler = BackgroundSampler([source, twice], probe, probe_period_s=0.5, clock=clock)
    assert (sampler.cpu_s, sampler.others, sampler.last_j) == (0.0, None, {})
    assert run(monkeypatch, sampler, clock, 26)[:6] == [0.5, 0.25, 0.25, 0.5, 0.5, 0.25]
    assert [sample.time_s for sample in sampler.timeline.samples] == [k / 2 for k in range(20)]
    assert read_at == [0.75 * (k + 1) for k in range(12)]
    assert probe.looked_at == [8.0, 13.0]
    assert (sampler.others, sampler.last_j, twice.n_reads) == ("2 seen", {source.name: 12.0}, 0)
    assert sampler.cpu_s == 17.5 / 4


def test_the_first_process_that_was_seen_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(8.0)
    sampler = BackgroundSampler([], Eye(clock), probe_period_s=2.5, clock=clock)
    assert run(monkeypatch, sampler, clock, 7) == [2.5] * 7
    assert sampler.others == "2 seen", "not what came later"


def test_a_thread_that_is_late_waits_for_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """A sample takes 3/4 s; the next one is due 1/2 s after the last one began."""
    clock = Clock(8.0)
    sampler = BackgroundSampler([], Eye(clock, 0.75), probe_period_s=0.5, clock=clock)
    assert run(monkeypatch, sampler, clock, 3) == [0.0, 0.0, 0.0]
    assert [sample.time_s for sample in sampler.timeline.samples] == [0.0, 0.75, 1.5]


def test_a_source_alone_is_read_when_it_is_due_also_after_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(8.0)
    source = Scripted(clock=clock, poll_s=2.0)
    source.dead = True
    sampler = BackgroundSampler([source], clock=clock)
    assert run(monkeypatch, sampler, clock, 4) == [2.0] * 4
    assert (source.n_reads, sampler.last_j, sampler.timeline.samples) == (3, {}, ())


def test_the_thread_ends_with_the_process_and_is_there_only_for_work() -> None:
    clock = Clock()
    for sources, probe, works in (
        ([], None, False), ([Scripted(clock=clock)], None, False), ([Scripted(clock=clock, poll_s=9.0)], None, True),
        ([], Eye(clock), True),
    ):  # fmt: skip
        sampler = BackgroundSampler(sources, probe, clock=clock)
        sampler.start()
        found = [thread for thread in threading.enumerate() if thread.name == "bpfree-sampler"]
        sampler.stop()
        assert [thread.daemon for thread in found] == [True] * works
        assert not any(thread.is_alive() for thread in found)


@pytest.mark.parametrize(
    ("call_s", "min_s", "bursts"),
    [
        (0.125, 1.0, [1, 2, 4, 1]),
        (0.125, 0.890625, [1, 2, 4, 1]),  # an eighth of a call is a call
        (0.125, 0.75, [1, 2, 3]),
        (0.5, 1.0, [1, 1]),
        (1.0, 1.0, [1]),
        (4.0, 1.0, [1]),
    ],
)
def test_bursts_double_up_to_what_is_left(
    clock: Clock, monkeypatch: pytest.MonkeyPatch, call_s: float, min_s: float, bursts: list[int]
) -> None:
    calls, waited = [], []
    monkeypatch.setattr(repeat_module, "synchronise", lambda device: waited.append(len(calls)))
    made = measure_repeated(
        Meter("cpu", clock=clock), lambda: (calls.append(1), clock.sleep(call_s)), min_s=min_s, max_s=min_s, warm_up=3
    )
    assert waited == [3 + sum(bursts[: k + 1]) for k in range(len(bursts))]
    assert (made.n_calls, made.call_s, made.call_j) == (sum(bursts), call_s, None)


@pytest.mark.parametrize(("min_s", "max_s", "lasts_s"), [(1.0, 60.0, 10.0), (16.0, 60.0, 16.0), (1.0, 4.0, 4.0)])
def test_repeated_calls_last_until_the_summed_counters_resolve_them(
    clock: Clock, min_s: float, max_s: float, lasts_s: float
) -> None:
    given = [
        Scripted("a:0", clock=clock, period_s=0.5), Scripted("b:0", clock=clock, scope="dram"),
        Scripted("c:0", clock=clock, method="other", period_s=9.0),
    ]  # fmt: skip
    made = measure_repeated(Meter("cpu", given, clock=clock), lambda: clock.sleep(0.5), min_s=min_s, max_s=max_s)
    assert (made.reading.time_s, made.n_calls) == (lasts_s, 2 * lasts_s)
    assert made.call_j == pytest.approx(10.0)


@pytest.mark.parametrize(("warm_up", "warm_up_s", "n"), [(0, 1.0, 4), (5, 1.0, 5), (3, 0.75, 3), (0, 0.0, 0)])
def test_calls_before_the_window(clock: Clock, warm_up: int, warm_up_s: float, n: int) -> None:
    """At least so many, and for so long."""
    calls: list[int] = []
    made = measure_repeated(
        Meter("cpu", clock=clock), lambda: (calls.append(1), clock.sleep(0.25)), min_s=1.0, warm_up=warm_up, warm_up_s=warm_up_s
    )
    assert (len(calls), made.n_calls, made.net_call_j) == (n + 4, 4, None)


def test_a_window_that_has_lasted_already_still_holds_one_call() -> None:
    """The clock goes on by 2 s whenever it is read."""
    clock, calls = Clock(), []

    def late() -> float:
        clock.now_s += 2.0
        return clock.now_s

    assert measure_repeated(Meter("cpu", clock=late), lambda: calls.append(1), min_s=1.0, warm_up=0).n_calls == len(calls) == 1


def times(**values: float) -> Any:
    return SimpleNamespace(_asdict=lambda: values)


def test_processor_seconds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the system has no time of waiting for its disks, nothing is left out."""
    monkeypatch.setattr(psutil, "cpu_times", lambda: times(user=30.0, system=9.0, idle=50.0))
    process: Any = SimpleNamespace(cpu_times=lambda: SimpleNamespace(user=5.0, system=2.0, children_user=9.0))
    assert timeline.processor_seconds(process) == (7.0, 39.0, 89.0)
    monkeypatch.setattr(
        psutil, "cpu_times", lambda: times(user=30.0, system=9.0, idle=50.0, iowait=4.0, guest=8.0, guest_nice=1.0)
    )
    assert timeline.busy_and_total_s() == (39.0, 93.0)
    each = [times(user=1.0, idle=2.0), times(user=4.0, idle=8.0), times(user=16.0, idle=32.0, iowait=64.0)]
    monkeypatch.setattr(psutil, "cpu_times", lambda percpu: each if percpu else None)
    monkeypatch.setattr(psutil, "cpu_count", lambda: 3)
    monkeypatch.setattr(timeline, "ONLINE", tmp_path / "online")
    assert timeline.busy_and_total_s([0, 2]) == (17.0, 115.0)
    (tmp_path / "online").write_text("0-2\n")
    assert timeline.busy_and_total_s([0, 2]) == (17.0, 115.0)
    whole = (21.0, 127.0)
    assert timeline.busy_and_total_s([1, 7]) == whole, "a number that has no place"
    (tmp_path / "online").write_text("0,2-3\n")
    assert timeline.busy_and_total_s([0, 2]) == whole, "number 1 is switched off: the second place is number 2"


@pytest.mark.parametrize(
    ("n_processors", "own_s", "busy_s", "total_s", "words"),
    [
        (2, 0.0, 0.5, 10.0, None),  # .1 of 2
        (2, 1.0, 1.75, 10.0, "other processes kept 0.15 of 2 processors busy"),
        (64, 0.0, 1.0, 100.0, None),  # .64 of 64
        (64, 0.0, 1.5, 100.0, "other processes kept 0.96 of 64 processors busy"),
        (None, 0.0, 1.0, 10.0, None),
        (None, 0.0, 1.5, 10.0, "other processes kept 0.15 of 1 processors busy"),
        (2, 0.0, 5.0, 0.0, None),
    ],
)
def test_when_a_machine_is_idle(
    monkeypatch: pytest.MonkeyPatch, n_processors: int | None, own_s: float, busy_s: float, total_s: float, words: str | None
) -> None:
    monkeypatch.setattr(psutil, "cpu_count", lambda: n_processors)
    assert timeline.busy_processors((3.0, 20.0, 500.0), (3.0 + own_s, 20.0 + busy_s, 500.0 + total_s)) == words


@pytest.mark.parametrize(
    ("own_s", "all_s", "words"),
    [
        (9.0, 10.0, None),
        (8.0, 10.0, "other processes used 20% of the busy processor time, and the joules include theirs"),
        (0.0, 0.75, None),
        (0.5, 1.0, "other processes used 50% of the busy processor time, and the joules include theirs"),
    ],
)
def test_other_processes_of_a_window(monkeypatch: pytest.MonkeyPatch, own_s: float, all_s: float, words: str | None) -> None:
    """From the moment at which the window opens."""
    seen = iter([(0.0, 0.0, 0.0), (2.0, 30.0, 90.0), (2.0 + own_s, 30.0 + all_s, 99.0), (2.0 + own_s, 30.0 + all_s, 99.0)])
    monkeypatch.setattr(timeline, "processor_seconds", lambda process: next(seen))
    monkeypatch.setattr(timeline, "busy_processors", lambda start, end: (start, end))
    probe = HostProbe()
    probe.open()
    assert probe.others() == words
    assert probe.not_idle({"cpu-package"}) == ((2.0, 30.0, 90.0), (2.0 + own_s, 30.0 + all_s, 99.0))


def test_a_load_is_that_since_the_last_sample(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = iter([(0.0, 0.0), (0.0, 0.0), (1.0, 4.0), (4.0, 8.0)])
    monkeypatch.setattr(timeline, "busy_and_total_s", lambda: next(seen))
    probe = HostProbe()
    assert [probe.sample(time_s).utilisation for time_s in (1.0, 2.0)] == [0.25, 0.75]


def test_who_else_is_there_is_why_a_device_is_not_idle(monkeypatch: pytest.MonkeyPatch) -> None:
    class Bare(Probe):
        def sample(self, time_s: float) -> Sample:
            return Sample(time_s)

    probe = Bare()
    assert (probe.origin, probe.others(), probe.not_idle(())) == ("measured", None, None)
    monkeypatch.setattr(probe, "others", lambda: "a job computed here, and more, and more")
    assert probe.not_idle(()) == "a job computed here"


def test_the_lines_of_a_trace() -> None:
    """Six digits behind the point; a blank line is none, and a trace without an origin was measured."""
    trace = Trace((Sample(0.12345649, power_w=1.23456789), Sample(1.0, power_w=2.0, memory_bytes=3)), "a file")
    first, *rows = trace.lines({"arm": "x"}).splitlines()
    absent = ["clock_mhz", "memory_clock_mhz", "utilisation", "temperature_c"]
    why = "this device does not report it (see bpfree doctor)"
    assert json.loads(first) == {"arm": "x", "origin": "a file", "reasons": dict.fromkeys(absent, why)}
    assert rows == ['{"time_s": 0.123456, "power_w": 1.234568}', '{"time_s": 1.0, "power_w": 2.0, "memory_bytes": 3}']
    assert Trace.read('\n{}\n\n{"time_s": 1.0}\n') == Trace((Sample(1.0),))
    assert list(Trace(()).reasons()) == [
        "power_w",
        "clock_mhz",
        "memory_clock_mhz",
        "utilisation",
        "temperature_c",
        "memory_bytes",
    ]


RESET = "the counter went back from {} to {}: it was reset (was the driver loaded again?)"


@pytest.mark.parametrize(
    ("reads", "elapsed_s", "period_s", "joules"),
    [
        ([5, 5], 1.0, 0.2, 0.0),  # it stood still
        ([950, 20], 0.78, 0.01, 35.0),  # 35 J at 40 W are .875 s, less a tenth of a second of grace
        ([950, 20], 0.77, 0.01, None),
        ([999, 0], 1.0, 0.2, 0.5),
        ([1000, 0], 1.0, 0.2, 0.0),
        ([1001, 0], 1.0, 0.2, None),  # beyond its own range
    ],
)
def test_steps_of_a_counter(reads: list[int], elapsed_s: float, period_s: float, joules: float | None) -> None:
    clock, values = Clock(0.0), iter(reads)
    counter = CountingSource(
        "a", scope="s", method="m", period_s=period_s, read=lambda: next(values), joules_per_count=0.5, modulus=1000,
        max_power_w=40.0, clock=clock,
    )  # fmt: skip
    assert counter.joules() == 0.0
    clock.now_s = elapsed_s
    if joules is None:
        with pytest.raises(SourceError) as error:
            counter.joules()
        assert str(error.value) == RESET.format(*reads)
    else:
        assert counter.joules() == joules
    assert counter.domain == "a", "a name without a kind"


def read(text: str | None) -> Callable[..., str]:
    def reading(path: Path, **_: Any) -> str:
        assert path == Path("/proc/cpuinfo")
        if text is None:
            raise FileNotFoundError(path)
        return text

    return reading


def test_the_processor_that_this_runs_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the first processor of the file; a value may hold a colon; where there is no file, any family."""
    facts = "vendor_id: GenuineIntel\ncpu family: 6\nmodel: {}\nstepping: 4\nmodel name: Xeon: one: two\nno fact\n"
    for text, watts in (
        (f"{facts.format(85)}\n{facts.format(106)}", estimate.FAMILIES["skylake"]),
        (f"{facts.format(106)}\n{facts.format(85)}", estimate.FAMILIES["ice-lake"]),
        (facts.format(85).replace("stepping: 4", ""), estimate.UNKNOWN),
        (None, estimate.UNKNOWN),
    ):
        estimate._here.cache_clear()
        monkeypatch.setattr(Path, "read_text", read(text))
        assert estimate.EstimateSource().watts == watts
        monkeypatch.undo()
    estimate._here.cache_clear()
