"""A small suite by hand: its rows, numbers, groups, sizes, estimates and refusals, each by value."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from bpfree import rulesets
from bpfree.algorithms import Phase
from bpfree.bench import reproduce
from bpfree.bench.arm import Arm
from bpfree.bench.suite_choice import choose
from bpfree.bench.suites import estimate as estimating
from bpfree.bench.suites.directory import check_place
from bpfree.bench.suites.estimate import Estimate, Timing, estimate, time_steps
from bpfree.bench.suites.files import load
from bpfree.bench.suites.scale import n_scaled
from bpfree.bench.suites.schema import Suite
from bpfree.bench.suites.sizes import KNOWN, Size
from bpfree.errors import BpfreeError, RunDirectoryError, UsageError
from bpfree.meter import Meter
from bpfree.published import find
from bpfree.rulesets import Split

CPU = torch.device("cpu")


def inline(percent: float, **more: Any) -> dict[str, Any]:
    return {"test_accuracy_percent": percent, "source": "by hand"} | more


FIELDS: dict[str, Any] = {
    "name": "small", "title": "A small suite", "paper": "us",
    "rulesets": {
        "one": {"base": "quick", "changes": {"budget.max_passes": 4}, "why": "a test"},
        "two": {
            "base": "quick", "why": "a test",
            "changes": {
                "batch_size": 32,
                "exceptions": [{"arms": ["pepita"], "field": "batch_size", "value": 128, "why": "a test"}],
            },
        },
    },
    "sections": [
        {
            "title": "Table 1", "ruleset": "one",
            "rows": [
                {"dataset": "mnist", "net": "mlp:1x8", "arm": "pepita", "published": inline(90.0, sd_percent=0.5, runs=4)},
                {"dataset": "mnist", "net": "mlp:1x8", "arm": "backprop", "published": inline(95.0, second_hand=True)},
                {
                    "dataset": "cifar10", "net": "mlp:1x8", "arm": "mono-forward", "published": inline(40.0, sd_percent=1.0),
                    "not_run": "too long", "rehearsal": "lr=0.5",
                },
            ],
        },
        {
            "title": "Table 2", "ruleset": "two", "published": "spyra2026-differences", "protocol": "own-convergence",
            "rows": [
                {"dataset": "mnist", "net": "mlp:2x1000", "arm": "mono-forward:schedule=staged", "variant": "staged"},
                {
                    "dataset": "mnist", "net": "mlp:1x8", "arm": "pepita:lr=0.5", "published": inline(50.0, runs=2),
                    "rehearsal": "weight_decay=0.5",
                },
            ],
        },
    ],
}  # fmt: skip
SUITE = Suite.model_validate(FIELDS)


def labels(chosen: Any) -> list[tuple[str, str, str, list[str]]]:
    return [(group.ruleset, group.dataset, group.net, [arm.label for arm in group.arms]) for group in chosen.groups()]


def test_rows_numbers_and_groups() -> None:
    chosen = choose(SUITE)
    numbers = [line.number for line in chosen.lines]
    shown = [(n.accuracy, n.spread, n.spread_words, n.n_runs, n.second_hand, n.source, n.table) for n in numbers[:3]]
    assert shown == [
        (0.9, pytest.approx((0.89, 0.91)), "mean ± 2 SD of 4 runs", "4", False, "by hand", "suite"),
        (0.95, None, "no spread published", "", True, "by hand", "suite"),
        (0.4, pytest.approx((0.38, 0.42)), "mean ± 2 SD", "", False, "by hand", "suite"),
    ]
    assert numbers[3] == find("spyra2026-differences", "mnist", "mlp:2x1000", "mono-forward", "staged", "own-convergence")
    assert [line.reason for line in chosen.lines] == ["", "", "too long", "", ""]
    assert labels(chosen) == [
        ("one", "mnist", "mlp:1x8", ["pepita", "backprop"]),
        ("two", "mnist", "mlp:2x1000", ["backprop", "mono-forward:schedule=staged"]),  # a difference needs its baseline
        ("two", "mnist", "mlp:1x8", ["pepita:lr=0.5"]),
    ]
    assert (chosen.batch_size("one"), chosen.batch_size("two")) == (64, 128)
    assert chosen.stamps == ("EXCEPTIONS",)


def test_what_was_asked_for() -> None:
    assert labels(choose(SUITE, arms=("mono-forward",))) == [
        ("two", "mnist", "mlp:2x1000", ["mono-forward:schedule=staged"])
    ]  # backprop was not asked for
    assert labels(choose(SUITE, arms=("pepita:lr=0.5",)))[0][3] == ["pepita:lr=0.5"]
    assert labels(choose(SUITE, dataset_names=("cifar10",))) == []
    few = choose(SUITE, dataset_names=("mnist",), n_seeds=1, max_hours=0.5)
    assert [(rules.plan.seeds, rules.budget.max_hours) for rules in few.rules.values()] == [((0,), 0.5)] * 2
    small = choose(SUITE, scale=0.5)
    assert [line.row.arm for line in small.lines[2:]] == [
        "mono-forward:lr=0.5", "mono-forward:schedule=staged", "pepita:lr=0.5:weight_decay=0.5",
    ]  # fmt: skip
    assert small.rules["one"].budget.max_passes == 2
    assert small.stamps == ("SCALED", "EXCEPTIONS")


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"n_seeds": 0}, "--seeds must be at least 1, got 0"),
        (
            {"dataset_names": ("cifar10",), "arms": ("backprop",)},
            "suite small has no row with these data sets and arms; see: bpfree reproduce small --list",
        ),
        ({"arms": ("foton",)}, "unknown arm of suite small 'foton'"),
        ({"dataset_names": ("digits",)}, "unknown data set of suite small 'digits'"),
    ],
)
def test_what_cannot_be_asked_for(options: dict[str, Any], told: str) -> None:
    with pytest.raises(UsageError) as error:
        choose(SUITE, **options)
    assert str(error.value).startswith(told)


def test_sizes_of_data_that_are_not_loaded() -> None:
    chosen = choose(SUITE)
    assert chosen.size("one", "mnist") == KNOWN["mnist"]
    assert chosen.size("one", "mine.npz") is None
    small = choose(SUITE, scale=0.001)  # 50 of 50,000 training examples would be less than the largest batch
    assert small.size("one", "mnist") == Size((1, 28, 28), 10, 64, 10, 10)
    assert small.size("two", "mnist") == Size((1, 28, 28), 10, 128, 10, 10)
    assert [n_scaled(1000, 0.25, 10), n_scaled(1000, 0.25, 10, 300), n_scaled(200, 0.25, 10, 300), n_scaled(30, 0.1, 10)] == [
        250, 300, 200, 10,
    ]  # fmt: skip
    split = Split.model_validate({"kind": "last", "validation": 0.25})
    assert KNOWN["mnist"].divided(split) == Size((1, 28, 28), 10, 45_000, 15_000, 10_000)
    assert KNOWN["mnist"].scaled(rulesets.load("quick").with_changes(train_examples=77), 1) == Size(
        (1, 28, 28), 10, 77, 10_000, 10_000
    )


def test_an_estimate_with_phases_exceptions_and_a_clock() -> None:
    """100 examples in steps of 64 are 2 steps; 20 are scored at 1/4 s after a pass; a run has 3 passes in two phases.

    First phase: at most 1 pass, 2 x 1 + 5 = 7 s; second: 2 passes left, 2 (2 x 3 + 5) = 22 s.
    """
    phases = (Phase(0, 2, (0,), "one", max_passes=1), Phase(1, 2, (1,), "two"))
    timing = Timing(phases, (1.0, 3.0), 0.25, 10.0, "a reason")
    rules = rulesets.load("quick").with_changes(
        {"budget.max_passes": 5, "search.trials": 4, "search.passes_per_trial": 2},
        exceptions=[{"arms": ["pepita"], "field": "budget.max_passes", "value": 3, "why": "a test"}],
    )
    size = Size((4,), 2, 100, 20, 8)
    made = estimate(rules, Arm.parse("pepita"), "digits", "mlp:1x8", size, timing, n_seeds=6)
    search_s, runs_s = 4 * (7.0 + 11.0), 6 * (29.0 + 2.0)
    assert made == Estimate(search_s, runs_s, 10 * (search_s + runs_s), "a reason")
    assert made.hours == pytest.approx((search_s + runs_s) / 3600)
    other = estimate(rules, Arm.parse("backprop"), "digits", "mlp:1x8", size, timing, n_seeds=1)
    assert other.runs_s == 7.0 + 4 * 11.0 + 2.0
    brief = estimate(rules.with_changes(max_hours=0.001), Arm.parse("pepita"), "digits", "mlp:1x8", size, timing, n_seeds=1)
    assert (brief.search_s, brief.runs_s) == (pytest.approx(4 * 3.6), pytest.approx(3.6 + 2.0))
    cold = Timing(phases, (1.0, 3.0), 0.25, None, "no meter")
    assert estimate(rules, Arm.parse("pepita"), "digits", "mlp:1x8", size, cold, n_seeds=1).joules is None


@pytest.mark.parametrize(
    ("reading", "watts", "why"),
    [
        ({"joules": 6.0, "resolved": True}, 3.0, ""),
        ({"joules": 6.0, "resolved": False}, None, "the timed steps were too short for the energy counter"),
        ({"joules": None, "reasons": {"energy.joules": "no counter"}}, None, "no counter"),
        ({"joules": None, "reasons": {}}, None, "nothing measures the power here (bpfree doctor says what would)"),
    ],
)
def test_power_while_steps_are_timed(
    monkeypatch: pytest.MonkeyPatch, reading: dict[str, Any], watts: float | None, why: str
) -> None:
    """Seconds 1, 2 ... of the two phases and of scoring a batch of 5."""
    from contextlib import contextmanager
    from types import SimpleNamespace

    seconds = iter((1.0, 2.0, 3.0))

    @contextmanager
    def window() -> Any:
        yield SimpleNamespace(reading=SimpleNamespace(time_s=2.0, **reading))

    monkeypatch.setattr(estimating, "_mean_s", lambda work: (work(), next(seconds))[1])
    meter: Any = SimpleNamespace(window=window)
    made = time_steps(Arm.parse("mono-forward:schedule=staged"), "mlp:2x4", Size((6,), 3, 10, 2, 2), 5, CPU, meter)
    assert (made.step_s, made.score_s, made.watts, made.watts_reason) == ((1.0, 2.0), pytest.approx(0.6), watts, why)
    assert len(made.phases) == 2


@pytest.mark.parametrize(("each_s", "n"), [(0.0, 10), (0.15, 3), (0.5, 1)])
def test_a_step_is_repeated_until_the_clock_has_run_for_long_enough(
    monkeypatch: pytest.MonkeyPatch, each_s: float, n: int
) -> None:
    clock = [0.0]
    calls = []

    def work() -> float:
        calls.append(1)
        clock[0] += each_s
        return 0.0

    monkeypatch.setattr(estimating.time, "perf_counter", lambda: clock[0])
    assert estimating._mean_s(work) == pytest.approx(each_s)
    assert len(calls) == n + 1, "once before the clock"


def test_estimates_of_all_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    """One timing for each arm, net, shape and batch; an arm of two groups that differ in one of them is timed twice."""
    timed: list[Any] = []

    def times(arm: Arm, net: str, size: Size, batch: int, device: Any, meter: Any) -> int:
        timed.append((arm.label, net, size.in_shape, batch))
        return len(timed)

    monkeypatch.setattr(reproduce, "time_steps", times)
    monkeypatch.setattr(reproduce, "estimate", lambda rules, arm, dataset, net, size, timing, n: (rules.batch_size, timing, n))
    made = choose(SUITE, n_seeds=3).estimates(CPU, Meter(CPU))
    assert made == {
        ("one", "mnist", "mlp:1x8", "pepita"): (64, 1, 3),
        ("one", "mnist", "mlp:1x8", "backprop"): (64, 2, 3),
        ("two", "mnist", "mlp:2x1000", "backprop"): (32, 3, 3),
        ("two", "mnist", "mlp:2x1000", "mono-forward:schedule=staged"): (32, 4, 3),
        ("two", "mnist", "mlp:1x8", "pepita:lr=0.5"): (32, 5, 3),
    }
    assert timed[0] == ("pepita", "mlp:1x8", (1, 28, 28), 64)
    assert timed[4] == ("pepita:lr=0.5", "mlp:1x8", (1, 28, 28), 128)


def test_rows_that_nothing_can_run_have_a_reason() -> None:
    fields = FIELDS | {"sections": [{**FIELDS["sections"][0], "rows": [FIELDS["sections"][0]["rows"][0] | {"net": "cnn:9"}]}]}
    chosen = choose(Suite.model_validate(fields))
    chosen.check()
    assert chosen.lines[0].reason.startswith("unknown net 'cnn'")
    whole = choose(SUITE)
    whole.check()
    assert [bool(line.reason) for line in whole.lines] == [False, False, True, False, False]


def test_the_file_of_a_suite(tmp_path: Path) -> None:
    chosen = choose(SUITE, scale=0.5)
    chosen._write_plan(tmp_path)
    plan = json.loads((tmp_path / "suite.json").read_text())
    assert (plan["suite"], plan["scale"], plan["stamps"]) == ("small", 0.5, ["SCALED", "EXCEPTIONS"])
    assert [list(row.values())[:6] for row in plan["rows"]][1:3] == [
        ["Table 1", "one", "mnist", "mlp:1x8", "backprop", None],
        ["Table 1", "one", "cifar10", "mlp:1x8", "mono-forward:lr=0.5", "too long"],
    ]
    assert plan["rows"][0]["published"]["spread"] == pytest.approx([0.89, 0.91])
    check_place(tmp_path, "small", 0.5, {})
    check_place(tmp_path / "new", "small", 0.5, {})
    for name, scale, told in (
        ("other", 0.5, "holds suite small at scale 0.5, not other at 0.5; choose another --out DIR"),
        ("small", 1.0, "holds suite small at scale 0.5, not small at 1; choose another --out DIR"),
    ):
        with pytest.raises(RunDirectoryError) as error:
            check_place(tmp_path, name, scale, {})
        assert str(error.value) == f"{tmp_path} {told}"
    (tmp_path / "suite.json").write_text("{}")
    damage = f"{tmp_path / 'suite.json'} cannot be read (suite: Field required)"
    assert check_place(tmp_path, "small", 0.5, {}) == damage
    (tmp_path / "other").touch()
    with pytest.raises(RunDirectoryError) as error:
        check_place(tmp_path, "small", 0.5, {})
    assert str(error.value) == f"{damage}, and no record says what {tmp_path} holds; choose another --out DIR"
    with pytest.raises(RunDirectoryError, match="is a file; choose another --out DIR"):
        check_place(tmp_path / "suite.json", "small", 0.5, {})
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / "y").touch()
    with pytest.raises(RunDirectoryError, match=r"is not empty and holds no suite \(it has no suite\.json\)"):
        check_place(tmp_path / "x", "small", 0.5, {})


BAD: dict[str, tuple[str, dict[str, Any], str]] = {
    "a key of the suite": ("", {"tilte": "x"}, "unknown key 'tilte'; did you mean 'title'?"),
    "a key of a ruleset": ("rulesets.one", {"chages": {}}, "unknown key 'rulesets.one.chages'; did you mean 'changes'?"),
    "a key of a section": ("sections.0", {"nots": "x"}, "unknown key 'sections.0.nots'; did you mean 'note'?"),
    "a key of a row": ("sections.0.rows.0", {"nett": "x"}, "unknown key 'sections.0.rows.0.nett'; did you mean 'net'?"),
    "a key of a number": (
        "sections.0.rows.0.published", {"sorce": "x"}, "unknown key 'sections.0.rows.0.published.sorce'; did you mean 'source'?",
    ),
    "a key like none": ("", {"qqqq": 1}, "unknown key 'qqqq'; remove it"),
    "a key that is no name": (
        "rulesets", {"a b": {"base": "quick"}},
        "rulesets: a ruleset's key names a directory: letters, digits and hyphens, not 'a b'",
    ),
    "a key that begins with a hyphen": (
        "rulesets", {"-a": {"base": "quick"}},
        "rulesets: a ruleset's key names a directory: letters, digits and hyphens, not '-a'",
    ),
    "the key of the reports": (
        "rulesets", {"report": {"base": "quick"}},
        "rulesets: a ruleset's key names a directory: letters, digits and hyphens, not 'report'",
    ),
    "no reason": ("rulesets.one", {"why": ""}, "rulesets.one: changes to a ruleset need a reason: why"),
    "a ruleset that is not there": (
        "sections.1", {"ruleset": "three"}, "section 'Table 2' wants ruleset 'three'; here: one, two",
    ),
    "no number": (
        "sections.0.rows.1", {"published": None},
        "sections.0: mnist mlp:1x8 backprop has no published number; name a table with published, or write one",
    ),
    "twice": ("sections.0.rows.1", {"arm": "pepita"}, "sections.0: mnist mlp:1x8 pepita is listed twice in 'Table 1'"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_a_file_that_is_no_suite(tmp_path: Path, case: str) -> None:
    place, changes, told = BAD[case]
    fields = json.loads(json.dumps(FIELDS))
    part: Any = fields
    for key in place.split(".") if place else ():
        part = part[int(key) if key.isdecimal() else key]
    part.update(changes)
    path = tmp_path / "mine.yaml"
    path.write_text(json.dumps(fields | {"schema_version": 1}))
    with pytest.raises(BpfreeError) as error:
        load(path)
    assert str(error.value).startswith(f"suite {path}: {told}")
