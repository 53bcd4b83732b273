"""Checks of a calibration by value: every text whole, every limit just at it, each way in which a source gives nothing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest
import torch

import bpfree.meter.calibrate as module
from bpfree.meter import Meter, Missing
from bpfree.meter.calibrate import Check, calibrate, counter_period_s, matrix_load
from bpfree.meter.sources import CountingSource, SourceError
from tests.meter.meter_fakes import Clock, Scripted


def window(time_s: float = 2.0, *, cpu_s: float = 0.0, reasons: dict[str, str] | None = None, **joules: float | None) -> Any:
    """A closed window with the joules of its sources."""
    reading = SimpleNamespace(time_s=time_s, sources=joules, reasons=reasons or {})
    return SimpleNamespace(reading=reading, sampler_cpu_s=cpu_s)


def source(name: str = "a", **changes: Any) -> Any:
    facts = {"scope": "cpu-package", "domain": "0", "method": "rapl", "measured": True, "period_s": 0.5, "basis": ""} | changes
    return SimpleNamespace(name=name, **facts)


@pytest.mark.parametrize(
    ("cpu_s", "passed", "text"),
    [
        (0.99, True, "the sampler took 0.99% of one processor (limit 1%)"),
        (1.0, False, "the sampler took 1.00% of one processor (limit 1%)"),
    ],
)
def test_the_sampler_takes_less_than_a_hundredth(cpu_s: float, passed: bool, text: str) -> None:
    assert module._overhead(window(100.0, cpu_s=cpu_s)) == Check("overhead", cpu_s / 100, "s/s", passed, text)


NOT_SEEN = "; it does not see the load, or something else was running while idle"


@pytest.mark.parametrize(
    ("joules", "idle", "not_idle", "value", "passed", "text"),
    [
        (42.2, 20.0, None, 21.1, True, "a: 20 W idle, 21.1 W under constant load"),
        (42.0, 20.0, None, 21.0, False, f"a: 20 W idle, 21 W under constant load{NOT_SEEN}"),
        (42.0, 20.0, "a job ran", 21.0, None, "a: 21 W under load; idle power is unknown, since a job ran"),
        (42.0, None, "a job ran", 21.0, None, "a: 21 W under load; idle power is unknown, since a job ran"),
        (42.0, None, None, None, False, "a could not be read: it gave nothing while idle"),
        (None, 20.0, None, None, False, "a could not be read: it died"),
        (None, None, "a job ran", None, False, "a could not be read: it died"),
    ],
)
def test_power_rises_by_more_than_a_twentieth(
    joules: float | None, idle: float | None, not_idle: str | None, value: float | None, passed: bool | None, text: str
) -> None:
    reasons = {"energy.sources.a": "it died"} if joules is None else {}
    idle_w = {} if idle is None else {"a": idle}
    check = module._power(source(), idle_w, window(a=joules, reasons=reasons), not_idle)
    assert check == Check("power:a", value, "W", passed, text)


def test_the_power_of_an_estimate_is_not_checked() -> None:
    check = module._power(source(measured=False, basis="seconds x watts"), {"a": 1.0}, window(a=9.0), None)
    assert check == Check("power:a", None, "W", None, "a is an estimate, not a measurement: seconds x watts")


@pytest.mark.parametrize(
    ("found", "value", "passed", "text"),
    [
        (0.75, 0.75, True, "a moves every 0.75 s; 0.5 s is assumed"),
        (0.76, 0.76, False, "a moves every 0.76 s; 0.5 s is assumed"),
        (None, None, None, "a moved too seldom to find its period"),
        (SourceError("gone"), None, False, "a failed while it was read: gone"),
    ],
)
def test_a_period_is_at_most_half_as_long_again(
    monkeypatch: pytest.MonkeyPatch, found: Any, value: float | None, passed: bool | None, text: str
) -> None:
    asked: list[Any] = []

    def given(counter: Any, *, seconds: float) -> float | None:
        asked.append((counter.name, seconds))
        if isinstance(found, Exception):
            raise found
        return found

    monkeypatch.setattr(module, "counter_period_s", given)
    for seconds in (1.0, 9.0):
        assert module._period(source(), seconds) == Check("period:a", value, "s", passed, text)
    assert asked == [("a", 1.75), ("a", 9.0)], "three periods and a half at least"


@pytest.mark.parametrize(
    ("changes_at", "seconds", "period_s"),
    [
        ((1.0, 1.25, 1.5), 3.0, 0.25),
        ((1.0, 1.25), 3.0, None),  # one gap
        ((0.5, 0.75, 1.0, 2.0), 3.0, 0.25),  # the median of 1/4, 1/4 and 1
        ((1.0, 1.5, 3.0), 3.0, None),  # the last one too late
        ((1.0, 1.5, 1.75), 2.0, 0.375),
        ((), 3.0, None),
    ],
)
def test_the_period_of_a_counter(
    monkeypatch: pytest.MonkeyPatch, changes_at: tuple[float, ...], seconds: float, period_s: float | None
) -> None:
    clock, waits = Clock(0.0), []

    def sleep(wait_s: float) -> None:
        waits.append(wait_s)
        clock.now_s += 0.125

    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=clock, sleep=sleep))
    counter = Scripted(clock=clock)
    counter.joules = lambda: 7.0 + sum(clock.now_s >= at_s for at_s in changes_at)  # type: ignore[method-assign]
    assert counter_period_s(counter, seconds=seconds) == period_s
    assert (counter.n_opened, set(waits), len(waits)) == (1, {2e-4}, round(8 * seconds))


@pytest.mark.parametrize(("other_j", "passed"), [(125.0, True), (126.0, False), (75.0, True), (74.0, False)])
def test_counters_agree_up_to_a_limit(monkeypatch: pytest.MonkeyPatch, other_j: float, passed: bool) -> None:
    monkeypatch.setattr(module, "DISAGREEMENT", 0.25)
    main, dead = source("nvml-counter:0", method="nvml-counter"), source("nvml-power:dead", method="nvml-power")
    elsewhere, far = source("x", scope="dram"), source("y", domain="1")
    other = source("nvml-power:0", method="nvml-power")
    joules = {main.name: 100.0, "x": 1.0, "y": 1.0, dead.name: None, other.name: other_j}
    checks = module._agreement([main, elsewhere, far, dead, other], window(**joules))
    difference = other_j / 100 - 1
    text = f"nvml-power:0 differs from nvml-counter:0 by {difference:+.1%} (limit 25%)"
    assert checks == [Check("agreement:0", difference, "1", passed, text)]
    assert module._agreement([main, other], window(**(joules | {main.name: None}))) == []


def test_a_load_multiplies_square_matrices() -> None:
    torch.manual_seed(3)
    made = matrix_load("cpu", 3)()
    torch.manual_seed(3)
    a = torch.randn(3, 3)
    assert torch.equal(made, a @ a)


class Counter(CountingSource):
    """A real counter of half joules on a clock that the test moves."""

    def __init__(self, clock: Clock, name: str, period_s: float) -> None:
        super().__init__(
            name, scope=name, method="rapl", period_s=period_s, read=lambda: int(2 * 10 * clock()), joules_per_count=0.5,
            modulus=1 << 40, max_power_w=1e3, clock=clock,
        )  # fmt: skip


@pytest.mark.parametrize(("seconds", "lasts_s"), [(4.0, 20.0), (32.0, 32.0)])
def test_all_checks_in_order(monkeypatch: pytest.MonkeyPatch, seconds: float, lasts_s: float) -> None:
    """The load runs once before the window, then half a second a call for 20 periods of the slowest summed counter."""
    clock, calls, waited, periods = Clock(0.0), [], [], []
    slow, integral = Counter(clock, "a:0", 1.0), Scripted("b:0", clock=clock, scope="b", period_s=0.5)
    check = Scripted("c:0", clock=clock, scope="a:0", method="other", period_s=4.0)
    meter = Meter("cpu", [slow, integral, check], clock=clock, sleep=clock.sleep)
    monkeypatch.setattr(module, "matrix_load", lambda device: lambda: (calls.append(device), clock.sleep(0.5)))
    monkeypatch.setattr(module, "synchronise", waited.append)
    monkeypatch.setattr(
        module, "_period", lambda counter, seconds: periods.append((counter, seconds)) or Check("p", 1, "s", True, "")
    )
    made = calibrate(meter, seconds=seconds)
    assert [each.name for each in made] == ["overhead", "power:a:0", "p", "power:b:0", "power:c:0", "agreement:0"]
    assert len(calls) == 2 * lasts_s + 1
    assert set(calls) == {torch.device("cpu")}
    assert waited == calls[1:]
    assert periods == [(slow, lasts_s)]
    assert [each.value for each in made[1:4:2]] == [pytest.approx(10.0), pytest.approx(10.0)]


def test_without_sources_the_load_lasts_as_asked_and_the_reasons_are_told() -> None:
    clock = Clock(0.0)
    for missing, told in (
        ([Missing("rapl", "no right", "x"), Missing("nvml", "no GPU", "y")], "rapl: no right; nvml: no GPU"),
        ([], "none was given"),
    ):
        start_s = clock.now_s
        made = calibrate(Meter("cpu", missing=missing, clock=clock), seconds=3.0, load=lambda: clock.sleep(0.5))
        assert clock.now_s - start_s == 3.5
        assert made[0] == Check("sources", None, "", None, f"no energy source to calibrate ({told})")
        assert [check.name for check in made] == ["sources", "overhead"]


@pytest.mark.parametrize("measured", [True, False])
def test_a_second_opinion_stands_beside_what_was_measured(monkeypatch: pytest.MonkeyPatch, measured: bool) -> None:
    clock, opened = Clock(0.0), []
    given: Any = SimpleNamespace(joules=1234.56, co2e_g=0.01234, scope="all", reason=None)

    @contextmanager
    def tracked(country: str) -> Iterator[Any]:
        opened.append((country, clock.now_s))
        yield given
        opened.append((country, clock.now_s))

    monkeypatch.setattr(module, "codecarbon_window", tracked)
    sources = [Scripted(clock=clock, watts=10.0)] if measured else []
    meter = Meter("cpu", sources, clock=clock, sleep=clock.sleep)

    def opinion() -> Check:
        made = calibrate(meter, seconds=2.0, load=lambda: clock.sleep(0.5), country="POL")
        return next(check for check in made if check.name == "codecarbon")

    beside = "20 J of cpu-package" if measured else "nothing that was measured here"
    assert opinion() == Check(
        "codecarbon", 1234.56, "J", None, f"CodeCarbon gives 1235 J and 0.0123 g CO2e (all), beside {beside}"
    )
    assert opened[0][0] == "POL" and opened[1][1] - opened[0][1] == 2.0
    given.joules, given.reason = None, "it is off"
    assert opinion() == Check("codecarbon", None, "J", None, "it is off")
