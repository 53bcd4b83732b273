"""Where charts change their units, scales and ends: thresholds by value, just below and just at them."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from bpfree import stats
from bpfree.report import charts, facts, profiles, timelines
from bpfree.report.curves import Curve
from bpfree.report.model import SeedMean
from bpfree.report.quantities import Quantity


@pytest.mark.parametrize(
    ("largest", "kind", "unit"),
    [
        (1e6, "energy", (1e6, "MJ")), (999_999.0, "energy", (1e3, "kJ")), (1e3, "energy", (1e3, "kJ")),
        (999.0, "energy", (1.0, "J")),
        (7200.0, "time", (3600.0, "h")), (7199.0, "time", (60.0, "min")), (300.0, "time", (60.0, "min")),
        (299.0, "time", (1.0, "s")),
    ],
)  # fmt: skip
def test_units(largest: float, kind: str, unit: tuple[float, str]) -> None:
    assert charts._unit(largest, kind) == unit


@pytest.mark.parametrize(
    ("values", "log"), [((1.0, 10.0), False), ((1.0, 10.1), True), ((0.0, 50.0), False), ((-1.0, 50.0), False), ((3.0,), False)]
)
def test_costs_that_span_more_than_a_factor_of_ten_have_a_logarithmic_axis(values: tuple[float, ...], log: bool) -> None:
    scale = charts._cost_scale(values).to_dict()
    assert scale == ({"type": "log", "nice": True} if log else {"zero": True, "nice": True})


def test_an_interval_is_cut_at_a_share_of_its_mean() -> None:
    assert charts._bounds(SeedMean(10.0, -5.0, 25.0, 3), 0.5, "x", floor=0.1) == {"x": 5.0, "x1": 0.5, "x2": 12.5}
    assert charts._bounds(SeedMean(10.0, 2.0, 25.0, 3), 0.5, "y", floor=0.1) == {"y": 5.0, "y1": 1.0, "y2": 12.5}
    assert charts._bounds(SeedMean(10.0, -5.0, 25.0, 3), 2.0) == {"x": 20.0, "x1": -10.0, "x2": 50.0}
    assert charts._bounds(SeedMean(10.0, None, None, 1), 2.0) == {"x": 20.0}


@pytest.mark.parametrize(
    ("lines", "ends"),
    [
        (((0.1, 0.9), (0.1, 0.8)), (60.0, 95.0)),  # 90 - 3 x 10 = 60
        (((0.1, 0.9), (0.1, 0.9)), (80.0, 95.0)),  # 90 - 3 x 3 = 81
        (((0.85, 0.9),), (85.0, 95.0)),  # the lowest point
        (((0.1, 0.5), (0.0, 0.2)), (0.0, 55.0)),  # 50 - 90 is below 0
        (((0.9, 0.996),), (90.0, 100.0)),
        (((0.5, 0.895),), (80.0, 90.0)),  # 89.5 + .5
    ],
)
def test_the_axis_of_accuracies(lines: tuple[tuple[float, ...], ...], ends: tuple[float, float]) -> None:
    row: Any = None
    assert charts._accuracy_domain([(row, [Curve((1.0, 2.0), line, True)]) for line in lines]) == ends


def test_a_profile_ends_at_32_times_the_cheapest(monkeypatch: pytest.MonkeyPatch) -> None:
    """Factors 1, 3, 32 and 40: the last is not drawn; the line goes on to 32, or to 1.25 times the largest factor."""
    row: Any = SimpleNamespace(arm="a", label="A")
    profile = stats.Profile(taus=(1.0, 3.0, 32.0, 40.0), shares={"a": (0.25, 0.5, 0.75, 1.0)}, ratios={})
    assert [(point["x"], point["y"]) for point in profiles._steps(row, profile, profiles.LARGEST)] == [
        (1.0, 25.0), (3.0, 50.0), (32.0, 75.0), (32.0, 75.0),
    ]  # fmt: skip
    assert [(point["x"], point["y"]) for point in profiles._steps(row, profile, 20.0)][-1] == (20.0, 50.0)
    assert profiles._words([row], profile, "data sets") == (
        "Cheapest arm: A on 25 %. Data sets on which the target was reached at all: A 100 %."
    )


@pytest.mark.parametrize(("other_s", "end"), [(50.0, 32.0), (20.0, 25.0)])
def test_the_end_of_a_profile(monkeypatch: pytest.MonkeyPatch, other_s: float, end: float) -> None:
    """Two data sets on which one arm takes 1 s and the other 50 or 20 s."""
    drawn: list[Any] = []
    monkeypatch.setattr(profiles, "drawing", lambda chart, data: drawn.append(data) or "")
    monkeypatch.setattr(profiles, "series", lambda rows: (profiles.alt.Color("arm:N"), profiles.alt.Shape("arm:N")))
    monkeypatch.setattr(profiles, "dashes", lambda rows: profiles.alt.StrokeDash("arm:N"))

    def table(dataset: str) -> Any:
        times = {"a": 1.0, "b": other_s}
        arms = [SimpleNamespace(arm=arm, time_s=time_s, joules=None) for arm, time_s in times.items()]
        rows = [SimpleNamespace(arm=arm, label=arm.upper()) for arm in times]
        targets = SimpleNamespace(arms=arms)
        return SimpleNamespace(dataset=dataset, task_text=f"{dataset}, net", targets=targets, rows=rows, energy_word="energy")

    assert profiles.profile_chart([table("one"), table("two")]) is not None
    assert max(point["x"] for point in drawn[0]["steps"]) == end
    assert profiles.profile_chart([table("one")]) is None


def test_samples_of_a_device_are_thinned_to_the_extremes_of_150_bins() -> None:
    points = [(float(k), float(k % 7)) for k in range(301)]  # bins of 3
    thin = list(timelines._thinned(points))
    assert thin[:4] == [(0.0, 0.0), (2.0, 2.0), (3.0, 3.0), (5.0, 5.0)]
    assert thin[4:6] == [(6.0, 6.0), (7.0, 0.0)]
    assert len(thin) == 2 * 100 + 1
    assert list(timelines._thinned(points[:150])) == points[:150]
    assert len(list(timelines._thinned(points[:151]))) == 2 * 75 + 1  # bins of 2


def test_a_device_in_words() -> None:
    trace = timelines.DeviceTrace("A", 0, timelines.MEASURED, [])
    assert timelines._in_words(trace, [(0.0, 1.0), (1.0, 3.0)]) == "A 2 on average, 1 to 3, deviation 50% of the mean"
    assert timelines._in_words(trace, [(0.0, 0.0), (1.0, 0.0)]) == "A 0 on average, 0 to 0"


def test_facts_of_a_machine_within_facts() -> None:
    """Of a record of another version: a table of texts is one line, any other a line for each of its entries."""
    machine = {
        "gpu": {"name": "One", "memory_bytes": 2**30, "more": {"clock_mhz": 5, "tensor_cores": True}},
        "versions": {"a": "1", "b": "2"}, "cores": [1, 2], "none": [], "nothing": None,
    }  # fmt: skip
    assert list(facts._flat(machine)) == [
        ("gpu: name", "One"), ("gpu: memory", "1 GiB"), ("gpu: more: clock mhz", "5"), ("gpu: more: tensor cores", "yes"),
        ("versions", "a 1, b 2"), ("cores", "1, 2"), ("none", "none"), ("nothing", "none"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("value", "less", "over", "picked"),
    [(6.0, 2.0, 8.0, 0.5), (None, 2.0, 8.0, None), (6.0, None, 8.0, None), (6.0, 2.0, None, None), (6.0, 2.0, 0.0, None)],
)
def test_a_quantity_needs_all_of_its_parts(
    value: float | None, less: float | None, over: float | None, picked: float | None
) -> None:
    quantity = Quantity(key="k", name="n", path="a.b", less="c", over="d", show=str)
    run: Any = SimpleNamespace(a={"b": value}, c=less, d=over)
    assert quantity.pick(run) == picked
