"""Readings, counters, traces and factors by value: each reason whole, each limit just below and just at it."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import pytest

from bpfree.errors import UsageError
from bpfree.meter import CarbonFactor, ReplayProbe, ReplaySource, Sample, timeline
from bpfree.meter.carbon import carbon_factor, co2e_g
from bpfree.meter.estimate import EstimateSource, Watts, watts_of
from bpfree.meter.power import PowerIntegral
from bpfree.meter.reading import build_reading, summed
from bpfree.meter.repeat import measure_repeated
from bpfree.meter.sources import CountingSource, Missing, SourceError
from tests.meter.meter_fakes import Clock


def source(name: str = "rapl:package-0", **changes: Any) -> Any:
    facts = {"scope": "cpu-package", "method": "rapl", "measured": True, "period_s": 0.1, "basis": ""} | changes
    return SimpleNamespace(name=name, domain=name.partition(":")[2], **facts)


GPU = source("nvml:0", scope="gpu-board", method="nvml-counter", period_s=0.5)
POWER = source("power:0", scope="gpu-board", method="nvml-power", period_s=1.0)
CPU = source()


def test_a_reading_of_two_sources_and_a_cross_check() -> None:
    """30 s at 2 and 3 W idle; the power integral is 10 % above the counter."""
    reading = build_reading(
        30.0, [POWER, GPU, CPU], {"nvml:0": 100.0, "power:0": 110.0, "rapl:package-0": 400.0},
        idle_w={"nvml:0": 2.0, "rapl:package-0": 3.0}, others="one more process",
    )  # fmt: skip
    assert (reading.joules, reading.net_joules, reading.time_s) == (500.0, 500.0 - 150.0, 30.0)
    assert (reading.method, reading.scope) == ("nvml-counter+rapl", "gpu-board+cpu-package")
    assert (reading.measured, reading.resolved) == (True, True)
    assert reading.sources == {"power:0": 110.0, "nvml:0": 100.0, "rapl:package-0": 400.0}
    flags = {"cross-check": "power:0 gives 110 J, nvml:0 100 J (+10.0%)", "co-tenant": "one more process"}
    assert reading.flags == flags
    assert reading.reasons == {f"energy.flag.{name}": text for name, text in flags.items()}


@pytest.mark.parametrize(("time_s", "resolved", "checked"), [(9.9, False, False), (10.0, True, False), (20.0, True, True)])
def test_a_window_is_resolved_after_20_periods(time_s: float, resolved: bool, checked: bool) -> None:
    """Of the counter .5 s; the check moves every second."""
    reading = build_reading(time_s, [GPU, POWER], {"nvml:0": 100.0, "power:0": 50.0})
    assert (reading.resolved, "cross-check" in reading.flags) == (resolved, checked)


@pytest.mark.parametrize(("check_j", "flagged"), [(105.0, False), (105.1, True), (95.0, False), (94.9, True)])
def test_counters_that_differ_by_more_than_5_per_cent_are_flagged(check_j: float, flagged: bool) -> None:
    reading = build_reading(30.0, [GPU, POWER], {"nvml:0": 100.0, "power:0": check_j})
    assert bool(reading.flags) == flagged
    elsewhere = source("power:1", scope="gpu-board", method="nvml-power")
    assert not build_reading(30.0, [GPU, elsewhere], {"nvml:0": 100.0, "power:1": check_j}).flags


NOT_IDLE = "idle power was not measured, since a job ran while the machine should have been idle"


@pytest.mark.parametrize(
    ("sources", "spent", "options", "reasons"),
    [
        ([], {}, {}, {"joules": "no energy source was given", "net_joules": "no energy source was given"}),
        (
            [], {}, {"missing": [Missing("rapl", "no right", "x"), Missing("nvml", "no GPU", "y")]},
            dict.fromkeys(("joules", "net_joules"), "no energy source: rapl: no right; nvml: no GPU"),
        ),
        (
            [GPU, CPU], {"nvml:0": "it died", "rapl:package-0": 5.0}, {},
            {
                "sources.nvml:0": "it died",
                **dict.fromkeys(
                    ("joules", "net_joules"), "not every source could be read, and a part is no total (nvml:0: it died)"
                ),
            },
        ),
        (
            [CPU], {"rapl:package-0": math.inf}, {},
            {
                "sources.rapl:package-0": "the source gave inf, which is no number of joules",
                **dict.fromkeys(
                    ("joules", "net_joules"),
                    "not every source could be read, and a part is no total (rapl:package-0: the source gave inf, which is no "
                    "number of joules)",
                ),
            },
        ),
    ],
)  # fmt: skip
def test_a_reading_without_joules(sources: list[Any], spent: Any, options: Any, reasons: dict[str, str]) -> None:
    reading = build_reading(3.0, sources, spent, **options)
    assert (reading.joules, reading.net_joules, reading.method, reading.scope) == (None, None, None, None)
    assert (reading.measured, reading.resolved) == (False, False)
    told = {f"energy.{name}": why for name, why in reasons.items()}
    assert reading.reasons == told | dict.fromkeys(("energy.method", "energy.scope"), "no energy was measured")


@pytest.mark.parametrize(
    ("time_s", "why"),
    [
        (1.99, "the window (1.99 s) is too short for a counter that moves every 0.1 s"),
        (2.0, "the counter stood still for 2 s, so it was not counting"),
    ],
)
def test_a_counter_that_stood_still(time_s: float, why: str) -> None:
    assert build_reading(time_s, [CPU], {CPU.name: 0.0}).reasons[f"energy.sources.{CPU.name}"] == why


@pytest.mark.parametrize(
    ("options", "net", "why"),
    [
        ({"idle_w": {"rapl:package-0": 2.0}}, 4.0, None),
        ({"idle_w": {"rapl:package-0": 9.0}}, -17.0, None),
        ({"idle_w": {"rapl:package-0": 2.0}, "not_idle": "a job ran"}, None, NOT_IDLE),
        ({"idle_w": {"other": 2.0}}, None, "idle power was not measured before the run (rapl:package-0)"),
        ({}, None, "idle power was not measured before the run (rapl:package-0)"),
    ],
)
def test_joules_net_of_idle_power(options: dict[str, Any], net: float | None, why: str | None) -> None:
    reading = build_reading(3.0, [CPU], {CPU.name: 10.0}, **options)
    assert (reading.net_joules, reading.reasons.get("energy.net_joules")) == (net, why)


def test_what_is_summed() -> None:
    """One for each scope and domain, by the best method; a measured plug alone, an estimated one beside the others."""
    plug = source("plug:all", scope="machine", method="other")
    guess = source("estimate:cpu+ram", scope="machine", method="estimate", measured=False, basis="seconds x watts")
    assert summed([POWER, GPU, CPU]) == (GPU, CPU)
    assert summed([GPU, POWER]) == (GPU,)
    assert summed([POWER, GPU, plug, CPU]) == (plug,)
    assert summed([CPU, guess]) == (CPU, guess)
    methods = ["unheard-of", "estimate", "nvml-power", "zeus", "replay", "rapl", "nvml-counter"]
    ranked = [source("a:0", method=method) for method in methods]
    for k in range(1, len(ranked)):
        assert summed(ranked[: k + 1]) == (ranked[k],)
        assert summed(ranked[k::-1]) == (ranked[k],)
    reading = build_reading(30.0, [CPU, guess], {CPU.name: 1.0, guess.name: 2.0})
    assert (reading.measured, reading.joules) == (False, 3.0)
    assert reading.flags == {"estimate": "an estimate, not a measurement: seconds x watts"}


def counting(reads: list[int], clock: Clock, **options: Any) -> CountingSource:
    values = iter(reads)
    facts: dict[str, Any] = {"joules_per_count": 0.5, "modulus": 1000, "max_power_w": 40.0, "period_s": 0.2} | options
    return CountingSource("a:b", scope="s", method="m", read=lambda: next(values), clock=clock, **facts)


def test_a_counter_that_wraps_and_one_that_was_reset() -> None:
    """500 J of range at 40 W are 12.5 s. A step back of 950 to 20 is 70 counts, 35 J: in .675 + .2 s at most."""
    clock = Clock(0.0)
    counter = counting([900, 950, 20, 30], clock)
    assert counter.joules() == 0.0
    clock.now_s = 1.0
    assert counter.joules() == 25.0
    clock.now_s += 0.675
    assert counter.joules() == 60.0
    clock.now_s += 12.4
    assert counter.joules() == 65.0
    clock, late = Clock(0.0), "the counter was not read for 12 s, in which it may have wrapped unseen"
    for seconds, reads, why in (
        (0.674, [950, 20], "the counter went back from 950 to 20: it was reset (was the driver loaded again?)"),
        (12.5, [10, 20], late),
    ):
        clock.now_s = 0.0
        counter = counting(reads, clock)
        counter.joules()
        clock.now_s = seconds
        for _ in range(2):
            with pytest.raises(SourceError) as error:
                counter.joules()
            assert str(error.value) == why
    counter.open()
    assert (counter.poll_s, counter.domain, counter.measured) == (1.0, "b", True)


def test_power_is_integrated_by_trapezia() -> None:
    clock, watts = Clock(0.0), iter([10.0, 30.0, 30.0, 50.0])
    power = PowerIntegral("a:b", scope="s", method="m", read_w=lambda: next(watts), clock=clock)
    assert (power.period_s, power.poll_s, power.joules()) == (1.0, 0.1, 0.0)
    clock.now_s = 0.5
    assert power.joules() == 10.0
    clock.now_s = 1.5
    assert power.joules() == 40.0
    clock.now_s = 2.6
    with pytest.raises(SourceError) as error:
        power.joules()
    assert str(error.value) == "power was not read for 1.1 s; an integral needs a reading every 1 s"


def test_an_estimate_is_processor_seconds_times_watts() -> None:
    """4 W: 2.5 s are 10 J, an idle second adds nothing; 0.5 and 3 times 4 W are 2 and 12 W."""
    seconds = iter([0.0, 2.5, 2.5, 4.0])
    made = EstimateSource(Watts("One Processor", 4.0, 0.5, 3.0), processor_s=lambda: next(seconds))
    assert [made.joules() for _ in range(4)] == [0.0, 10.0, 10.0, 16.0]
    assert (made.name, made.method, made.scope) == ("estimate:processor", "estimate", "machine (estimate)")
    assert (made.measured, made.period_s, made.poll_s) == (False, 0.01, None)
    assert made.basis == (
        "processor seconds of this process x 4 W a busy hardware thread of One Processor (2 to 12 W, x 0.5 to x 3: one server of "
        "the family; SPECpower results of SPEC, table of cloud-energy)"
    )


def test_a_recorded_trace() -> None:
    clock = Clock(100.0)
    trace = ReplaySource([1.0, 2.0, 4.0], [10.0, 20.0, 60.0], clock=clock)
    values = {0.5: 10.0, 1.0: 10.0, 1.5: 15.0, 3.0: 40.0, 4.0: 60.0}
    for now_s, joules in values.items():
        clock.now_s = 100.0 + now_s
        assert trace.joules() == joules
    clock.now_s = 104.1
    with pytest.raises(SourceError) as error:
        trace.joules()
    assert str(error.value) == "the recorded trace ended after 4 s"
    assert (trace.name, trace.scope, trace.period_s, trace.method) == ("replay:trace", "machine", 0.01, "replay")
    for times, joules, told in (
        ([], [], "a trace needs as many times as joules, and at least one; got 0, 0"),
        ([1.0], [1.0, 2.0], "a trace needs as many times as joules, and at least one; got 1, 2"),
        ([2.0, 1.0], [1.0, 2.0], "the times of a trace must not go back"),
        ([1.0, 2.0], [2.0, 1.0], "the joules of a trace must not go back"),
    ):
        with pytest.raises(UsageError) as wrong:
            ReplaySource(times, joules)
        assert str(wrong.value) == told
    ReplaySource([1.0, 1.0], [2.0, 2.0])


def test_recorded_samples() -> None:
    probe = ReplayProbe([Sample(1.0, power_w=5.0), Sample(2.0, power_w=7.0)], name="x")
    assert probe.origin == "replayed from x, not measured in this run"
    read = {now_s: probe.sample(now_s) for now_s in (0.9, 1.0, 1.9, 2.0, 2.1)}
    assert [(each.time_s, each.power_w) for each in read.values()] == [
        (0.9, None),
        (1.0, 5.0),
        (1.9, 5.0),
        (2.0, 7.0),
        (2.1, None),
    ]
    for samples in ([], [Sample(2.0), Sample(1.0)]):
        with pytest.raises(UsageError) as error:
            ReplayProbe(samples, name="x")
        assert str(error.value) == "the trace x needs samples, and their times must not go back"


def test_grams() -> None:
    """3.6 MJ at 381 g/kWh."""
    factor = carbon_factor(grid_g_per_kwh=381)
    assert factor == CarbonFactor(381.0, "given", None)
    assert (co2e_g(3.6e6, factor), co2e_g(3.6e6, factor, 1.5)) == (pytest.approx(381.0), pytest.approx(571.5))
    assert (co2e_g(None, factor), co2e_g(1.0, None), carbon_factor()) == (None, None, None)
    assert carbon_factor(grid_g_per_kwh=0.0) == CarbonFactor(0.0, "given", None)
    for call, told in (
        (lambda: carbon_factor(grid_g_per_kwh=-1.0), "grid_g_per_kwh must be a number from 0 up, got -1.0"),
        (lambda: carbon_factor(grid_g_per_kwh=math.inf), "grid_g_per_kwh must be a number from 0 up, got inf"),
        (lambda: co2e_g(1.0, factor, 0.9), "pue must be a number from 1 up (1 is no overhead), got 0.9"),
        (lambda: co2e_g(1.0, factor, math.nan), "pue must be a number from 1 up (1 is no overhead), got nan"),
        (lambda: carbon_factor(" poland "), "a country is given by its two or three letters: POL for poland"),
    ):
        with pytest.raises(UsageError) as error:
            call()
        assert str(error.value) == told
    poland = carbon_factor(" pol ")
    assert poland is not None
    assert (poland.country, poland.source.split()[0], poland.source.split()[2:]) == ("POL", "codecarbon", ["table,", "POL"])
    assert carbon_factor("pl") == poland


@pytest.mark.parametrize(("options", "told"), [({"min_s": 0.0}, "0.0 and 60.0"), ({"min_s": 2.0, "max_s": 1.0}, "2.0 and 1.0")])
def test_times_of_repeated_calls(options: dict[str, float], told: str) -> None:
    meter: Any = SimpleNamespace(sources=())
    with pytest.raises(UsageError) as error:
        measure_repeated(meter, lambda: None, **options)
    assert str(error.value) == f"min_s must be above 0 and at most max_s, got {told}"


@pytest.mark.parametrize(
    ("busy", "total", "load"), [(1.0, 4.0, 0.25), (5.0, 4.0, 1.0), (-1.0, 4.0, 0.0), (4.0, 4.0, 1.0), (1.0, 0.0, None)]
)
def test_the_load_of_the_processor(monkeypatch: pytest.MonkeyPatch, busy: float, total: float, load: float | None) -> None:
    seen = iter([(10.0, 100.0), (10.0 + busy, 100.0 + total)])
    monkeypatch.setattr(timeline, "busy_and_total_s", lambda: next(seen))
    monkeypatch.setattr(timeline, "processor_seconds", lambda process: (0.0, 0.0, 0.0))
    sample = timeline.HostProbe().sample(3.0)
    assert (sample.time_s, sample.utilisation) == (3.0, load)
    assert sample.memory_bytes is not None


@pytest.mark.parametrize("share", [0.0, 0.999, 1.001, 3.0])
def test_other_processes_are_told_from_a_share_on(monkeypatch: pytest.MonkeyPatch, share: float) -> None:
    """Just below and just above the share that counts, and a busy time just too short."""
    limit, least = timeline._OTHERS_SHARE, timeline._LEAST_BUSY_S
    for all_s, told in ((2 * least, share > 1), (0.99 * least, False)):
        others_s = min(share * limit, 1.0) * all_s
        seen = iter([(0.0, 0.0, 0.0), (all_s - others_s, all_s, 99.0)])
        monkeypatch.setattr(timeline, "processor_seconds", lambda process, seen=seen: next(seen))
        text = timeline.HostProbe().others()
        words = f"other processes used {others_s / all_s:.0%} of the busy processor time, and the joules include theirs"
        assert text == (words if told else None)


def test_a_full_timeline_drops_every_second_sample() -> None:
    """Capacity 4: samples 0 to 3 become 0 and 2, then every second one is taken."""
    held = timeline.Timeline(4)
    for k in range(9):
        held.add(Sample(float(k)))
    assert [sample.time_s for sample in held.samples] == [0.0, 4.0, 8.0]
    made = timeline.spread([Sample(0.0, power_w=1.0), Sample(1.0), Sample(2.0, power_w=3.0)], "power_w")
    assert made == timeline.Spread(2.0, 1.0, 1.0, 3.0)
    assert (made.variation, timeline.Spread(0.0, 1.0, -1.0, 1.0).variation) == (0.5, 0.0)
    assert timeline.spread([Sample(0.0)], "power_w") is None


VIRTUAL = "a virtual machine of unknown host, by judgement"
ANY = ("a processor of no family in the table (geometric mean of six server families)", 2.74, 0.37, 3.4, "any of them")


@pytest.mark.parametrize(
    ("vendor", "name", "numbers", "flags", "watts"),
    [
        ("AuthenticAMD", "AMD EPYC", (0x17, 0x0F, 2), "", ("AMD EPYC, 1st generation", 2.32, 0.76, 2.13)),
        ("AuthenticAMD", "AMD EPYC", (0x17, 0x10, 2), "", ANY),
        ("AuthenticAMD", "AMD EPYC", (0x17, 0x30, 0), "", ("AMD EPYC, 2nd generation", 1.67, 0.80, 1.20)),
        ("AuthenticAMD", "AMD EPYC", (0x19, 0x0F, 0), "", ("AMD EPYC, 3rd generation", 1.82, 0.76, 1.24)),
        ("AuthenticAMD", "AMD EPYC", (0x19, 0x0F, 0), "hypervisor", ("AMD EPYC, 3rd generation", 1.82, 0.6, 2.3, VIRTUAL)),
        ("GenuineIntel", "Xeon", (6, 85, 4), "", ("Intel Xeon, Skylake SP", 4.08, 0.68, 2.08)),
        ("GenuineIntel", "Xeon", (6, 85, 5), "", ("Intel Xeon, Cascade Lake", 3.75, 0.61, 2.29)),
        ("GenuineIntel", "Xeon", (6, 85, 7), "", ("Intel Xeon, Cascade Lake", 3.75, 0.61, 2.29)),
        ("GenuineIntel", "Xeon", (6, 85, 8), "", ANY),
        ("GenuineIntel", "Xeon", (6, 106, 0), "", ("Intel Xeon, Ice Lake SP", 3.89, 0.72, 1.82)),
        ("GenuineIntel", "Xeon", (6, 108, 0), "", ("Intel Xeon, Ice Lake SP", 3.89, 0.72, 1.82)),
        ("GenuineIntel", "Xeon", (7, 106, 0), "", ANY),
        ("GenuineIntel", "AMD EPYC", (0x17, 0x30, 0), "", ANY),
        ("AuthenticAMD", "Xeon", (6, 106, 0), "hypervisor", ANY),
    ],
)  # fmt: skip
def test_the_watts_of_a_processor(
    vendor: str, name: str, numbers: tuple[int, int, int], flags: str, watts: tuple[Any, ...]
) -> None:
    """A family is known by vendor, name and the three numbers, each limit at it and just above it."""
    keys = ("cpu family", "model", "stepping")
    facts = {"vendor_id": vendor, "model name": name, "flags": f"fpu {flags} sse2"} | dict(zip(keys, numbers, strict=True))
    assert watts_of("".join(f"{key}\t: {value}\n" for key, value in facts.items())) == Watts(*watts)
