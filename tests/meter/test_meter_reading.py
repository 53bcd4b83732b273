"""From counter differences to a reading: nothing is counted twice, nothing unmeasured is ever 0."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from meter_fakes import Clock, Scripted

from bpfree.meter import Missing, SourceError
from bpfree.meter.reading import build_reading, summed
from bpfree.meter.sources import CountingSource
from bpfree.records import Energy

CLOCK = Clock()


def counter(**how) -> Scripted:
    return Scripted("nvml-counter:GPU-a", clock=CLOCK, scope="gpu-board", method="nvml-counter", period_s=0.1, **how)


def power(**how) -> Scripted:
    return Scripted("nvml-power:GPU-a", clock=CLOCK, scope="gpu-board", method="nvml-power", period_s=1.0, **how)


def package(number: int = 0) -> Scripted:
    return Scripted(f"rapl:package-{number}", clock=CLOCK)


def dram(number: int = 0) -> Scripted:
    return Scripted(f"rapl:dram-{number}", clock=CLOCK, scope="dram")


def estimate() -> Scripted:
    return Scripted("estimate:cpu+ram", clock=CLOCK, scope="machine (estimate)", method="estimate", measured=False)


def test_board_packages_and_memory_add_up() -> None:
    sources = [counter(), power(), package(0), package(1), dram(0), dram(1)]
    spent = dict(zip([source.name for source in sources], [100.0, 98.0, 10.0, 20.0, 3.0, 4.0], strict=True))
    reading = build_reading(30.0, sources, spent)
    assert reading.joules == 137.0
    assert reading.method == "nvml-counter+rapl"
    assert reading.scope == "gpu-board+cpu-package+dram"
    assert reading.sources["nvml-power:GPU-a"] == 98.0, "the cross-check is listed"


def test_power_alone_is_the_sum_and_its_averaging_second_decides_what_is_resolved() -> None:
    reading = build_reading(19.0, [power()], {"nvml-power:GPU-a": 50.0})
    assert (reading.joules, reading.method, reading.resolved) == (50.0, "nvml-power", False)
    assert build_reading(20.0, [power()], {"nvml-power:GPU-a": 50.0}).resolved


def test_the_order_of_sources_does_not_decide_which_is_summed() -> None:
    assert [source.method for source in summed([power(), counter()])] == ["nvml-counter"]


def test_a_meter_at_the_plug_contains_the_others() -> None:
    plug = Scripted("plug:wall", clock=CLOCK, scope="machine", method="replay")
    spent = {"plug:wall": 500.0, "nvml-counter:GPU-a": 100.0}
    assert build_reading(10.0, [counter(), plug], spent).joules == 500.0


@pytest.mark.parametrize(("time_s", "resolved"), [(1.99, False), (2.0, True)])
def test_resolved_is_twenty_periods_of_the_slowest_summed_counter(time_s: float, resolved: bool) -> None:
    sources = [counter(), power(), package()]
    spent = {source.name: 100.0 for source in sources}
    assert build_reading(time_s, sources, spent).resolved is resolved


@pytest.mark.parametrize(("check_j", "flagged"), [(100.0, False), (105.0, False), (95.0, False), (105.1, True), (94.9, True)])
def test_more_than_five_per_cent_is_flagged(check_j: float, flagged: bool) -> None:
    spent = {"nvml-counter:GPU-a": 100.0, "nvml-power:GPU-a": check_j}
    reading = build_reading(60.0, [counter(), power()], spent)
    assert ("cross-check" in reading.flags) is flagged
    assert reading.joules == 100.0


def test_a_short_window_is_not_flagged() -> None:
    spent = {"nvml-counter:GPU-a": 100.0, "nvml-power:GPU-a": 50.0}
    assert build_reading(19.0, [counter(), power()], spent).flags == {}


def test_a_counter_that_stands_still_is_null() -> None:
    reading = build_reading(60.0, [counter()], {"nvml-counter:GPU-a": 0.0})
    assert reading.joules is None
    assert "stood still for 60 s" in reading.reasons["energy.joules"]


def test_a_sum_without_one_of_its_parts_is_null_but_the_parts_are_kept() -> None:
    spent = {"nvml-counter:GPU-a": 100.0, "rapl:package-0": "it died"}
    reading = build_reading(60.0, [counter(), package()], spent)
    assert (reading.joules, reading.method, reading.measured, reading.resolved) == (None, None, False, False)
    assert reading.sources == {"nvml-counter:GPU-a": 100.0, "rapl:package-0": None}
    assert "rapl:package-0: it died" in reading.reasons["energy.joules"]


def test_a_dead_cross_check_does_not_take_the_joules_along() -> None:
    spent = {"nvml-counter:GPU-a": 100.0, "nvml-power:GPU-a": "it died"}
    reading = build_reading(60.0, [counter(), power()], spent)
    assert reading.joules == 100.0
    assert reading.reasons["energy.sources.nvml-power:GPU-a"] == "it died"


def test_without_sources_the_reason_names_what_is_missing() -> None:
    missing = [Missing("nvml", "no driver", "install it"), Missing("rapl", "virtual machine", "leave it")]
    reading = build_reading(1.0, [], {}, missing=missing)
    assert reading.reasons["energy.joules"] == "no energy source: nvml: no driver; rapl: virtual machine"


def test_net_needs_the_idle_power_of_every_summed_source() -> None:
    sources, spent = [counter(), package()], {"nvml-counter:GPU-a": 1000.0, "rapl:package-0": 500.0}
    whole = build_reading(10.0, sources, spent, idle_w={"nvml-counter:GPU-a": 50.0, "rapl:package-0": 20.0})
    assert whole.net_joules == 1000 + 500 - 10 * 70
    part = build_reading(10.0, sources, spent, idle_w={"nvml-counter:GPU-a": 50.0})
    assert part.net_joules is None
    assert "rapl:package-0" in part.reasons["energy.net_joules"]


def test_an_estimate_in_the_sum_makes_it_no_measurement() -> None:
    reading = build_reading(60.0, [counter(), estimate()], {"nvml-counter:GPU-a": 100.0, "estimate:cpu+ram": 50.0})
    assert not reading.measured
    assert reading.method == "nvml-counter+estimate"
    assert "estimate" in (reading.scope or "")


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_what_is_no_number_is_null(bad: float) -> None:
    assert build_reading(60.0, [counter()], {"nvml-counter:GPU-a": bad}).joules is None


MAKERS = (counter, power, lambda: package(0), lambda: package(1), lambda: dram(0), estimate)
STATES = st.sampled_from(["absent", "works", "refused", "died", "still"])


@given(
    states=st.tuples(*[STATES] * len(MAKERS)),
    time_s=st.floats(0, 1e5),
    watts=st.floats(1e-3, 1e4),
    idle=st.booleans(),
    alone=st.booleans(),
)
def test_nothing_unmeasured_is_ever_zero(states: tuple[str, ...], time_s: float, watts: float, idle: bool, alone: bool) -> None:
    """Over every combination of sources that work, are absent, refuse, die or stand still."""
    sources = [make() for make, state in zip(MAKERS, states, strict=True) if state != "absent"]
    present = [state for state in states if state != "absent"]
    told = {"works": watts * (time_s + 1e-6), "refused": "not permitted", "died": "gone", "still": 0.0}
    spent = {source.name: told[state] for source, state in zip(sources, present, strict=True)}
    reading = build_reading(
        time_s,
        sources,
        spent,
        missing=[Missing("rapl", "no", "none")],
        idle_w={source.name: watts / 2 for source in sources} if idle else None,
        others=None if alone else "another process",
    )
    works = {source.name for source, state in zip(sources, present, strict=True) if state == "works"}
    for name, value in reading.sources.items():
        assert (value is None) == (name not in works)
        assert value is None or value > 0
        assert (value is None) == (f"energy.sources.{name}" in reading.reasons)
    whole = bool(sources) and {source.name for source in summed(sources)} <= works
    assert (reading.joules is not None) == whole
    for key in ("joules", "net_joules", "method", "scope"):
        assert (getattr(reading, key) is None) == (f"energy.{key}" in reading.reasons)
    if reading.joules is None:
        assert not reading.measured
        assert not reading.resolved
    else:
        assert reading.joules > 0
    fields = {key: getattr(reading, key) for key in Energy.model_fields}
    assert Energy(**fields).joules == reading.joules


RAW = st.integers(0, 10**6)


@given(start=RAW, steps=st.lists(st.integers(0, 10**5), min_size=1, max_size=20))
def test_a_counter_that_wraps_gives_the_same_joules_as_one_that_does_not(start: int, steps: list[int]) -> None:
    modulus, clock, count = 10**6, Clock(), [start]
    source = CountingSource(
        "rapl:package-0",
        scope="cpu-package",
        method="rapl",
        period_s=0.001,
        read=lambda: count[0] % modulus,
        joules_per_count=1e-3,
        modulus=modulus,
        max_power_w=200.0,
        clock=clock,
    )
    first_j = source.joules()
    previous_j = first_j
    for step in steps:
        count[0] += step
        clock.now_s += 1.0
        now_j = source.joules()
        assert now_j >= previous_j
        previous_j = now_j
    assert previous_j - first_j == pytest.approx(sum(steps) * 1e-3)


def wrapping(clock: Clock, count: list[int]) -> CountingSource:
    return CountingSource(
        "rapl:package-0",
        scope="cpu-package",
        method="rapl",
        period_s=0.001,
        read=lambda: count[0],
        joules_per_count=1e-6,
        modulus=65_000_000_000,
        max_power_w=1000.0,
        clock=clock,
    )


def test_a_counter_that_may_have_wrapped_unseen_is_not_believed(clock: Clock) -> None:
    """65 kJ at no more than 1 kW: after 65 s without a reading nobody knows how often."""
    count = [10]
    source = wrapping(clock, count)
    source.joules()
    clock.now_s += 70.0
    count[0] = 20_000_000
    with pytest.raises(SourceError, match="was not read for 70 s"):
        source.joules()
    with pytest.raises(SourceError, match="was not read"):
        source.joules()
    source.open()
    before_j = source.joules()
    count[0] += 5_000_000
    assert source.joules() - before_j == pytest.approx(5.0)


def test_a_jump_back_that_no_hardware_could_draw_is_a_reset(clock: Clock) -> None:
    count = [30_000_000_000]
    source = wrapping(clock, count)
    source.joules()
    clock.now_s += 1.0
    count[0] = 0  # as a wrap: 35 kJ within a second
    with pytest.raises(SourceError, match="reset"):
        source.joules()
