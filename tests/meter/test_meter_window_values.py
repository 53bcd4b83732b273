"""Windows by value: what a call stands for that names nothing, each fallback and each limit, on a clock moved by hand."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection
from typing import Any

import pytest
import torch

import bpfree.meter.meter as meter_module
import bpfree.meter.sampler as sampler_module
from bpfree.errors import UsageError
from bpfree.meter import (
    Detection,
    Meter,
    Missing,
    Sample,
    calibrate,
    carbon,
    detect,
    flop_formulas,
    power,
    replay,
    sources,
    timeline,
)
from bpfree.meter.reading import build_reading, gaps, summed
from bpfree.meter.repeat import measure_repeated
from bpfree.meter.timeline import Probe
from tests.meter.meter_fakes import Clock, Scripted


class Eye(Probe):
    """A probe that says what it is told to, one text after the other, then nothing."""

    origin = "replayed"

    def __init__(self, *others: str | None, busy: str | None = None) -> None:
        self.texts, self.busy = iter(others), busy
        self.n_opened, self.asked = 0, []

    def open(self) -> None:
        self.n_opened += 1

    def sample(self, time_s: float) -> Sample:
        return Sample(time_s)

    def others(self) -> str | None:
        return next(self.texts, None)

    def not_idle(self, scopes: Collection[str]) -> str | None:
        self.asked.append(scopes)
        return self.busy


DEFAULTS: dict[Callable[..., Any], dict[str, Any]] = {
    calibrate.matrix_load: {"size": 1024},
    calibrate.counter_period_s: {"seconds": 2.0},
    calibrate.calibrate: {"seconds": 5.0, "load": None, "country": None},
    carbon.co2e_g: {"pue": 1.0},
    flop_formulas.svd_flop: {"full_matrices": False, "compute_uv": True},
    flop_formulas.solve_triangular_flop: {"left": True},
    measure_repeated: {"min_s": 1.0, "max_s": 60.0, "warm_up": 1, "warm_up_s": 0.0},
    power.PowerIntegral: {"period_s": 1.0, "poll_s": 0.1},
    replay.ReplaySource: {"name": "replay:trace", "scope": "machine", "period_s": 0.01},
    sources.CountingSource: {"poll_s": 1.0},
    sampler_module.BackgroundSampler: {"probe_period_s": 0.1},
    timeline.Timeline: {"capacity": 4096},
    detect: {"estimate": False},
    Meter.detect: {"estimate": False},
    Meter: {"idle_w": None, "probe": None},
}


@pytest.mark.parametrize("call", DEFAULTS, ids=lambda call: call.__qualname__)
def test_what_is_not_named(call: Callable[..., Any]) -> None:
    parameters = inspect.signature(call).parameters
    assert {name: parameters[name].default for name in DEFAULTS[call]} == DEFAULTS[call]


def test_limits_by_value() -> None:
    assert (power.MAX_GAP_S, sampler_module._TENANT_PERIOD_S, calibrate.OVERHEAD_LIMIT) == (1.0, 5.0, 0.01)
    assert (timeline._OTHERS_SHARE, timeline._IDLE_PROCESSORS, timeline._IDLE_SHARE, timeline._LEAST_BUSY_S) == (
        0.1,
        0.1,
        0.01,
        1.0,
    )


def test_a_meter_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    source, probe, gone = Scripted(clock=Clock()), Eye(), Missing("nvml", "no GPU", "buy one")
    asked = []

    def found(device: str, *, estimate: bool) -> Detection:
        asked.append((device, estimate))
        return Detection((source,), (gone,), probe)

    monkeypatch.setattr(meter_module, "detect", found)
    meter = Meter.detect("cpu", estimate=True)
    Meter.detect("cpu")
    assert asked == [("cpu", True), ("cpu", False)]
    assert (meter.device, meter.sources, meter.missing, meter.probe) == (torch.device("cpu"), (source,), (gone,), probe)
    assert (meter.idle_w, meter.not_idle) == (None, None)
    with pytest.raises(UsageError) as error:
        Meter("cpu", [source, source])
    assert str(error.value) == "energy sources need different names, got rapl:package-0, rapl:package-0"


def test_which_devices_are_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    waited: list[Any] = []
    monkeypatch.setattr(torch.cuda, "synchronize", lambda *device: waited.append(device))
    monkeypatch.setattr(torch.mps, "synchronize", lambda *device: waited.append(("mps", *device)))
    for name in ("cpu", "meta", "cuda:1", "mps"):
        meter_module.synchronise(torch.device(name))
    assert waited == [(torch.device("cuda:1"),), ("mps",)]


def metered(clock: Clock, *given: Scripted, **more: Any) -> Meter:
    return Meter("cpu", given, clock=clock, sleep=clock.sleep, **more)


def test_joules_so_far_need_every_summed_source(clock: Clock) -> None:
    """Two sources and a check that stands still; then one of the two stands still, or is a part of what is there."""
    package, memory = Scripted("a:0", clock=clock), Scripted("b:0", clock=clock, scope="dram", watts=5.0)
    check = Scripted("c:0", clock=clock, method="other", watts=0.0)
    with metered(clock, package, memory, check).window() as window:
        assert window.sampler_cpu_s == 0.0
        clock.now_s += 2.0
        assert window.joules_so_far() == pytest.approx(30.0)
    still = Scripted("b:0", clock=clock, scope="dram", watts=0.0)
    with metered(clock, package, still).window() as window:
        clock.now_s += 2.0
        assert window.joules_so_far() is None
    for scope, joules in (("cpu-package", None), ("dram", 20.0)):
        gone = Missing("rapl:x", "no right", "chmod", scope)
        with metered(clock, package, missing=[gone]).window() as window:
            clock.now_s += 2.0
            assert window.joules_so_far() == (None if joules is None else pytest.approx(joules))
    with metered(clock).window() as window:
        clock.now_s += 2.0
        assert window.joules_so_far() is None


@pytest.mark.parametrize(
    ("so_far", "sampled", "told"),
    [
        (False, None, "the scripted source died"),
        (True, None, "the scripted source died (20 J had been measured by then)"),
        (False, 35.0, "the scripted source died (35 J had been measured by then)"),
        (True, 35.0, "the scripted source died (35 J had been measured by then)"),
        (True, 5.0, "the scripted source died (20 J had been measured by then)"),
    ],
)
def test_a_source_that_dies_says_how_far_it_came(clock: Clock, so_far: bool, sampled: float | None, told: str) -> None:
    """The greater of what was asked for in the window and what its thread has read."""
    source = Scripted(clock=clock)
    with metered(clock, source).window() as window:
        start_j = source.joules()
        clock.now_s += 2.0
        if so_far:
            assert window.joules_so_far() == pytest.approx(20.0)
        if sampled is not None:
            window._sampler.last_j[source.name] = start_j + sampled
        source.dead = True
    assert window.reading is not None
    assert window.reading.reasons["energy.sources.rapl:package-0"] == told


@pytest.mark.parametrize(
    ("seen", "at_the_end", "told"),
    [("one", "two", "two"), ("one", None, "one"), (None, "two", "two"), (None, None, None)],
)
def test_another_process_is_told_also_when_it_has_ended(
    clock: Clock, seen: str | None, at_the_end: str | None, told: str | None
) -> None:
    """The thread looks first, once; the window looks when it closes."""
    probe = Eye(seen, at_the_end)
    with metered(clock, Scripted(clock=clock), probe=probe).window() as window:
        clock.now_s += 2.0
    assert window.reading is not None
    assert window.reading.flags.get("co-tenant") == told
    assert (window.trace.origin, window.trace.samples, probe.n_opened) == ("replayed", window.timeline, 1)
    assert len(window.timeline) == 1
    with metered(clock).window() as bare:
        pass
    assert (bare.trace.origin, bare.trace.samples) == ("measured", ())


@pytest.mark.parametrize(("seconds", "period_s", "lasts_s"), [(5.0, 0.25, 5.0), (4.0, 0.25, 5.0), (5.5, 0.25, 5.5)])
def test_how_long_the_machine_idles(clock: Clock, seconds: float, period_s: float, lasts_s: float) -> None:
    start_s, slow_check = clock.now_s, Scripted("c:0", clock=clock, method="other", period_s=9.0)
    fast = Scripted("b:0", clock=clock, scope="dram", period_s=0.001)
    metered(clock, Scripted("a:0", clock=clock, period_s=period_s), fast, slow_check).measure_idle(seconds)
    assert clock.now_s - start_s == lasts_s


def test_who_gives_idle_power(clock: Clock) -> None:
    dead, live, probe = Scripted("a:0", clock=clock), Scripted("b:0", clock=clock, scope="dram", watts=4.0), Eye()
    dead.dead = True
    meter = metered(clock, dead, live, probe=probe)
    assert meter.measure_idle(2.0) == {"b:0": pytest.approx(4.0)} == meter.idle_w
    assert probe.asked == [{"cpu-package", "dram"}]
    probe.busy = "a job ran"
    assert (meter.measure_idle(2.0), meter.idle_w, meter.not_idle) == ({}, None, "a job ran")
    assert metered(clock, live).measure_idle(2.0) == {"b:0": pytest.approx(4.0)}
    alone = Eye(busy="a job ran")
    bare = metered(clock, probe=alone)
    assert (bare.measure_idle(2.0), bare.idle_w, bare.not_idle, alone.asked) == ({}, {}, None, [])
    with pytest.raises(UsageError) as error:
        meter.measure_idle(0.0)
    assert str(error.value) == "idle power needs a time above 0 s to be measured in, got 0.0"


def part(scope: str, name: str = "x") -> Missing:
    return Missing(name, "why", "cure", scope)


@pytest.mark.parametrize(
    ("scopes", "missing", "spoilt"),
    [
        ((), ["gpu-board", "cpu-package"], []),
        (("machine",), ["gpu-board", "cpu-package", "dram"], []),
        (("cpu-package",), ["dram", "gpu-board", "cpu-package", ""], ["gpu-board", "cpu-package"]),
        (("dram",), ["cpu-package", "dram"], ["cpu-package", "dram"]),
        (("gpu-board",), ["cpu-package", "dram"], []),
        (("gpu-board", "dram"), ["cpu-package"], ["cpu-package"]),
    ],
)
def test_which_counters_spoil_a_total(clock: Clock, scopes: tuple[str, ...], missing: list[str], spoilt: list[str]) -> None:
    given = [Scripted(f"{scope}:0", clock=clock, scope=scope) for scope in scopes]
    assert [each.scope for each in gaps(given, [part(scope) for scope in missing])] == spoilt


def test_a_part_is_no_total_and_of_two_equals_the_first_is_summed(clock: Clock) -> None:
    package = Scripted("a:0", clock=clock)
    reading = build_reading(9.0, [package], {"a:0": 5.0}, missing=[part("cpu-package", "rapl:x"), part("dram", "y")])
    assert reading.reasons["energy.joules"] == "not every source could be read, and a part is no total (rapl:x: why)"
    assert (reading.joules, reading.sources) == (None, {"a:0": 5.0})
    again = Scripted("b:0", clock=clock)
    assert summed([package, again]) == (package,)
    assert summed([again, package]) == (again,)
