"""The sources that are computed here: integral of a power, estimate, replay; and the timeline."""

from __future__ import annotations

import itertools

import psutil
import pytest
from meter_fakes import Clock

from bpfree.errors import UsageError
from bpfree.meter import ReplaySource, Sample, SourceError
from bpfree.meter import timeline as timeline_module
from bpfree.meter.power import PowerIntegral
from bpfree.meter.sources import CountingSource
from bpfree.meter.timeline import HostProbe, Timeline, spread


def integral(clock: Clock, watts: list[float]) -> PowerIntegral:
    return PowerIntegral(
        "nvml-power:GPU-a",
        scope="gpu-board",
        method="nvml-power",
        read_w=lambda: watts[0],
        clock=clock,
    )


def test_the_integral_of_a_ramp_is_exact(clock: Clock) -> None:
    watts = [100.0]
    source = integral(clock, watts)
    start_j = source.joules()
    for step in range(1, 11):
        clock.now_s += 0.1
        watts[0] = 100.0 + 20.0 * step
        source.joules()
    assert source.joules() - start_j == pytest.approx(200.0)  # mean of 100 and 300 W over 1 s


def test_an_integral_with_a_hole_is_not_believed(clock: Clock) -> None:
    source = integral(clock, [100.0])
    source.joules()
    clock.now_s += 1.2
    with pytest.raises(SourceError, match=r"not read for 1\.2 s"):
        source.joules()
    clock.now_s += 0.1
    with pytest.raises(SourceError):
        source.joules()
    source.open()
    source.joules()
    clock.now_s += 0.5
    assert source.joules() == pytest.approx(50.0)


def test_a_trace_is_interpolated_and_ends(clock: Clock) -> None:
    source = ReplaySource([0.0, 1.0, 3.0], [0.0, 10.0, 50.0], clock=clock)
    assert source.joules() == 0.0
    for later_s, joules in [(0.5, 5.0), (1.0, 10.0), (2.0, 30.0), (3.0, 50.0)]:
        clock.now_s = 100.0 + later_s
        assert source.joules() == pytest.approx(joules)
    clock.now_s += 0.1
    with pytest.raises(SourceError, match="ended after 3 s"):
        source.joules()


@pytest.mark.parametrize(
    ("times_s", "joules"), [([], []), ([0.0], [1.0, 2.0]), ([1.0, 0.0], [0.0, 1.0]), ([0.0, 1.0], [1.0, 0.0])]
)
def test_a_trace_that_is_none_is_refused(times_s: list[float], joules: list[float]) -> None:
    with pytest.raises(UsageError, match="trace"):
        ReplaySource(times_s, joules)


def test_a_timeline_of_any_length_stays_small_and_even() -> None:
    timeline = Timeline(capacity=64)
    for step in range(10_000):
        timeline.add(Sample(step * 0.1))
    times = [sample.time_s for sample in timeline.samples]
    assert 32 <= len(times) <= 64
    gaps = {round(later - earlier, 6) for earlier, later in itertools.pairwise(times)}
    assert len(gaps) == 1
    assert times[0] == 0.0
    assert times[-1] > 950.0


def test_spread_leaves_out_what_was_not_read() -> None:
    samples = [Sample(0.0, clock_mhz=1000.0), Sample(0.1), Sample(0.2, clock_mhz=2000.0)]
    clocks = spread(samples, "clock_mhz")
    assert clocks is not None
    assert (clocks.mean, clocks.deviation, clocks.least, clocks.most) == (1500.0, 500.0, 1000.0, 2000.0)
    assert clocks.variation == pytest.approx(1 / 3)
    assert spread(samples, "power_w") is None


def test_the_host_reports_its_load_and_resident_set() -> None:
    sample = HostProbe().sample(0.25)
    assert sample.time_s == 0.25
    assert 0.0 <= (sample.utilisation or 0.0) <= 1.0
    assert abs((sample.memory_bytes or 0) - psutil.Process().memory_info().rss) < 2**26
    assert sample.power_w is None


@pytest.mark.parametrize(("others_s", "flagged"), [(0.5, False), (1.0, False), (1.25, True), (5.0, True)])
def test_other_processes_on_the_processor_are_seen(monkeypatch: pytest.MonkeyPatch, others_s: float, flagged: bool) -> None:
    probe = HostProbe()
    own_s, all_s = 2.0, 10.0
    monkeypatch.setattr(HostProbe, "_seconds", lambda self: (own_s, all_s, 1000.0))
    probe.open()
    own_s, all_s = 2.0 + 10.0, 10.0 + 10.0 + others_s
    assert (probe.others() is not None) is flagged
    if others_s == 5.0:
        assert "33%" in (probe.others() or "")


@pytest.mark.parametrize(
    ("n_processors", "others_s", "words"),
    [
        (2, 0.9, None),  # of 10 s: 0.09 processors
        (2, 1.1, "other processes kept 0.11 of 2 processors busy"),
        (64, 6.0, None),  # 0.6 of 64
        (64, 10.0, "other processes kept 1 of 64 processors busy"),
    ],
)
def test_a_machine_is_idle_below_a_tenth_of_a_processor_or_one_in_a_hundred(
    monkeypatch: pytest.MonkeyPatch, n_processors: int, others_s: float, words: str | None
) -> None:
    monkeypatch.setattr(psutil, "cpu_count", lambda: n_processors)
    probe = HostProbe()
    start, own_s, seconds = (3.0, 50.0, 200.0), 2.0, 10.0
    now = start
    monkeypatch.setattr(HostProbe, "_seconds", lambda self: now)
    probe.open()
    now = (3.0 + own_s, 50.0 + own_s + others_s, 200.0 + n_processors * seconds)
    assert probe.not_idle({"cpu-package"}) == words


def test_busy_time_counts_guests_once(monkeypatch: pytest.MonkeyPatch) -> None:
    from collections import namedtuple

    times = namedtuple("scputimes", "user nice system idle iowait guest guest_nice")
    monkeypatch.setattr(psutil, "cpu_times", lambda: times(30.0, 1.0, 9.0, 50.0, 10.0, 20.0, 1.0))
    assert timeline_module.busy_and_total_s() == (40.0, 100.0)


def test_a_trapezoid_is_not_a_rectangle(clock: Clock) -> None:
    watts = [100.0]
    source = integral(clock, watts)
    start_j = source.joules()
    clock.now_s += 0.5
    watts[0] = 300.0
    assert source.joules() - start_j == pytest.approx(100.0)  # 200 W on average; 50 J by the first, 150 J by the last reading


@pytest.mark.parametrize(("gap_s", "trusted"), [(1.0, True), (1.25, False)])
def test_the_longest_gap_of_an_integral(clock: Clock, gap_s: float, trusted: bool) -> None:
    source = integral(clock, [100.0])
    clock.now_s = 0.0
    start_j = source.joules()
    clock.now_s = gap_s
    if trusted:
        assert source.joules() - start_j == pytest.approx(100.0)
    else:
        with pytest.raises(SourceError, match="needs a reading every 1 s"):
            source.joules()


@pytest.mark.parametrize("make", ["counter", "integral"])
def test_a_source_that_failed_gives_the_same_reason_until_a_window_opens(clock: Clock, make: str) -> None:
    """Also when later readings are good again: what was missed in between is lost."""
    count = [900]
    counter = CountingSource(
        "rapl:package-0", scope="cpu-package", method="rapl", period_s=0.001, read=lambda: count[0],
        joules_per_count=1.0, modulus=1000, max_power_w=20.0, clock=clock,
    )  # fmt: skip
    source = counter if make == "counter" else integral(clock, [100.0])
    source.joules()
    clock.now_s += 60.0
    with pytest.raises(SourceError) as first:
        source.joules()
    clock.now_s += 0.1
    with pytest.raises(SourceError) as second:
        source.joules()
    assert str(first.value) == str(second.value)
    source.open()
    before_j = source.joules()
    clock.now_s += 0.1
    assert source.joules() >= before_j


def test_a_wrap_is_counted_to_the_count(clock: Clock) -> None:
    """From 990 over 1,000 = 0 to 5 are 15 counts, not 14 or 16; a full turn less one is 999."""
    count = [990]
    source = CountingSource(
        "rapl:package-0", scope="cpu-package", method="rapl", period_s=0.001, read=lambda: count[0],
        joules_per_count=1.0, modulus=1000, max_power_w=900.0, clock=clock,
    )  # fmt: skip
    assert source.joules() == 0.0
    clock.now_s += 1.0
    count[0] = 5
    assert source.joules() == 15.0
    clock.now_s += 1.0
    count[0] = 904
    assert source.joules() == 914.0
