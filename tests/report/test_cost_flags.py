"""Flags about ends, passes, load, turns and directories that were measured at the same time, on runs made for each."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from bpfree import report, rulesets
from bpfree.records import Record, read_records
from bpfree.report.cost_flags import cost_flags, directory_flags
from bpfree.report.material import Material, read_material
from bpfree.report.model import build_tables
from bpfree.report.phase_ends import ends_in_words, with_ends
from bpfree.report.tables import arm_displays
from bpfree.report.windows import not_interleaved, overlap_s, simultaneous
from tests.report.conftest import QUICK, make_record, write_run

SHIPPED = Path(__file__).parents[2] / "benchmarks" / "results" / "history"
ARMS = ("backprop", "mono-forward")
NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)


def at(seconds: float) -> str:
    """As a record has it."""
    return (NOON + timedelta(seconds=seconds)).isoformat(timespec="seconds")


def ended(run: Record, *reasons: str) -> Record:
    """The run with one phase for each reason."""
    return changed(run, stops=[{"phase": k, "reason": reason, "passes": 1} for k, reason in enumerate(reasons)])


def changed(run: Record, **fields: Any) -> Record:
    return Record.model_validate(run.model_dump(by_alias=True) | fields)


def grid(change: Any = lambda run, seed: run, seeds: tuple[int, ...] = (0, 1, 2, 3)) -> list[Record]:
    """Two arms; ``change`` is given each run and its seed, of Mono-Forward only."""
    made = [(seed, make_record(arm, seed, arms=ARMS)) for seed in seeds for arm in ARMS]
    return [change(run, seed) if run.arm == "mono-forward" else run for seed, run in made]


def material(path: Path, records: list[Record], ruleset: rulesets.Ruleset = QUICK) -> Material:
    return read_material([write_run(path / "run", records, ruleset)])


def raised(path: Path, records: list[Record], ruleset: rulesets.Ruleset = QUICK) -> dict[str, str]:
    found = material(path, records, ruleset)
    (table,) = build_tables(found)
    return {flag.key: flag.text for flag in cost_flags(table, found)}


def test_a_fair_table_has_none(tmp_path: Path) -> None:
    assert raised(tmp_path, grid()) == {}


def test_ends_that_differ_and_the_cap(tmp_path: Path) -> None:
    flags = raised(tmp_path, grid(lambda run, seed: ended(run, "cap") if seed else run))
    assert set(flags) == {"unequal-ends", "ended-at-the-cap"}
    assert flags["unequal-ends"] == (
        "training did not end in the same way for all arms (backprop ended by patience: 4 of 4; mono-forward ended at "
        "the cap: 3 of 4, by patience: 1 of 4). More passes might help those that ended at the cap."
    )
    assert flags["ended-at-the-cap"].startswith("3 of 8 runs ended at the cap on passes and not by patience")
    assert "no comparison of arms at their own convergence" in flags["ended-at-the-cap"]


def test_the_same_ends_in_all_arms_are_only_the_cap(tmp_path: Path) -> None:
    records = [ended(run, "cap") for run in grid()]
    assert set(raised(tmp_path, records)) == {"ended-at-the-cap"}


def test_without_patience_the_cap_is_the_rule(tmp_path: Path) -> None:
    rules = QUICK.with_changes(patience=None)
    records = [changed(ended(run, "cap"), ruleset_digest=rulesets.digest(rules)) for run in grid()]
    assert raised(tmp_path, records, rules) == {}


def test_equal_shares_of_different_counts_are_equal(tmp_path: Path) -> None:
    records = [ended(run, "cap") if run.seed % 2 else run for run in grid()]
    fewer = [run for run in records if run.arm == "backprop" or run.seed < 2]
    assert set(raised(tmp_path, fewer)) == {"ended-at-the-cap"}, "2 of 4, and 1 of 2"


def test_runs_cut_by_the_clock(tmp_path: Path) -> None:
    rules = QUICK.with_changes(max_hours=0.0003)
    records = [
        changed(run, ruleset_digest=rulesets.digest(rules)) for run in grid(lambda run, seed: ended(run, "patience", "hours"))
    ]
    flags = raised(tmp_path, records, rules)
    assert flags["cut-by-the-clock"].startswith(
        "CUT BY THE CLOCK: 4 of 4 runs of mono-forward were ended by the clock after 0.0003 hours"
    )
    assert "ended-at-the-cap" not in flags


@pytest.mark.parametrize(
    ("reasons", "words"),
    [
        (("patience",), "ended by patience: 4 of 4"),
        (("patience", "cap"), "ended at the cap: 4 of 4"),
        (("cap", "patience"), "ended at the cap: 4 of 4"),
        (("itself", "patience"), "ended by patience: 4 of 4"),
        (("itself",), "ended by itself: 4 of 4"),
        (("cap", "hours"), "ended cut by the clock: 4 of 4"),
    ],
)
def test_the_phase_that_more_passes_might_have_helped_counts(tmp_path: Path, reasons: tuple[str, ...], words: str) -> None:
    found = material(tmp_path, grid(lambda run, seed: ended(run, *reasons)))
    (table,) = build_tables(found)
    assert ends_in_words(table.rows[1].runs) == words
    assert arm_displays(table.rows[1])["passes"].sub == words


def test_ends_of_old_records_are_replayed(tmp_path: Path) -> None:
    """By the ruleset: patience where it was used up, the cap where the passes were."""
    run = changed(make_record("backprop", 0), stops=[])
    (end,) = with_ends(run, QUICK).stops
    assert (end.reason, end.passes) == ("patience", run.passes)
    (end,) = with_ends(run, QUICK.with_changes(patience=run.passes + 1, max_passes=run.passes)).stops
    assert (end.reason, end.passes) == ("cap", run.passes)
    assert with_ends(run, QUICK.with_changes(patience=run.passes + 1, max_passes=run.passes + 1)).stops == []
    timed = QUICK.with_changes(patience=run.passes + 1, max_passes=run.passes + 1, max_hours=run.history[-1].time_s / 3600)
    assert [end.reason for end in with_ends(run, timed).stops] == ["hours"]
    by_itself = changed(run, plan=run.plan | {"phases": {"all blocks": run.passes}})
    assert [end.reason for end in with_ends(by_itself, QUICK.with_changes(patience=None)).stops] == ["itself"]
    kept = ended(run, "cap")
    assert with_ends(kept, QUICK) is kept


def test_phases_share_the_cap_when_they_are_replayed() -> None:
    run = make_record("mono-forward:schedule=staged", 0)
    history = [{**entry.model_dump(), "phase": int(entry.passes > 3)} for entry in run.history[:7]]
    two = changed(run, stops=[], history=history, passes=7, plan=run.plan | {"phases": {"block 0": None, "block 1": None}})
    rules = QUICK.with_changes(patience=7, max_passes=6)
    assert [(end.phase, end.reason, end.passes) for end in with_ends(two, rules).stops] == [(0, "cap", 3), (1, "cap", 4)]
    assert [end.phase for end in with_ends(two, QUICK.with_changes(patience=7, max_passes=7)).stops] == [1], "4, then 3 of 7"


def test_steps_and_examples_of_a_pass(tmp_path: Path) -> None:
    flags = raised(tmp_path, grid(lambda run, seed: changed(run, steps=5 * (run.steps or 0))))
    steps = (make_record().steps or 0) // make_record().passes
    by_arm = f"backprop {steps}; mono-forward {5 * steps}"
    assert flags == {"unequal-passes": f"UNEQUAL PASSES: a pass had different numbers of steps ({by_arm})."}
    flags = raised(
        tmp_path / "examples", grid(lambda run, seed: changed(run, examples_seen=(run.examples_seen or 0) + run.passes))
    )
    assert "different numbers of examples (backprop" in flags["unequal-passes"]


@pytest.mark.parametrize(("load", "flagged"), [(0.099, False), (0.1, True), (0.5, True)])
def test_load_by_others_from_a_tenth(tmp_path: Path, load: float, flagged: bool) -> None:
    flags = raised(tmp_path, grid(lambda run, seed: changed(run, other_load=load)))
    assert ("other-load" in flags) is flagged
    if flagged:
        assert f"mono-forward {load:.0%} in the mean over its runs" in flags["other-load"]
        assert "backprop" not in flags["other-load"]


def test_load_is_the_mean_of_the_runs_that_know_it(tmp_path: Path) -> None:
    def some(run: Record, seed: int) -> Record:
        why = run.reasons | {"other_load": "too short"}
        return changed(run, other_load=None if seed == 3 else 0.33 if seed == 0 else 0.0, reasons=why)

    assert "other-load" in raised(tmp_path, grid(some)), "0.33, 0, 0: 0.11 of three"
    quiet = grid(lambda run, seed: changed(run, other_load=0.0 if seed else 0.2))
    assert "other-load" not in raised(tmp_path / "quiet", quiet), "0.2, 0, 0, 0: 0.05 of four"


@pytest.mark.parametrize(
    ("starts", "flagged"),
    [
        ({"backprop": (0, 20, 40, 60), "mono-forward": (10, 30, 50, 70)}, False),
        ({"backprop": (0, 10, 20, 30), "mono-forward": (40, 50, 60, 70)}, True),
        ({"backprop": (40, 50, 60, 70), "mono-forward": (0, 10, 20, 30)}, True),
        ({"backprop": (0, 10, 20, 30), "mono-forward": (30, 40, 50, 60)}, False),  # in the same second
        ({"backprop": (0, 10, 20, 30), "mono-forward": (31, 40, 50, 60)}, True),
        ({"backprop": (0, 0, 0, 90), "mono-forward": (10, 20, 30, 40)}, False),
    ],
)
def test_arms_that_did_not_take_turns(tmp_path: Path, starts: dict[str, tuple[int, ...]], flagged: bool) -> None:
    records = [changed(run, started_at=at(starts[run.arm][run.seed])) for run in grid()]
    flags = raised(tmp_path, records)
    assert ("not-interleaved" in flags) is flagged
    if flagged:
        first, second = ("mono-forward", "backprop") if starts["backprop"][0] else ("backprop", "mono-forward")
        assert f"all runs of {first} began before any of {second}" in flags["not-interleaved"]


def test_one_run_an_arm_cannot_take_turns() -> None:
    one = [changed(make_record("backprop", 0), started_at=at(0))]
    other = [changed(make_record("mono-forward", 0), started_at=at(99))]
    assert not_interleaved({"a": one, "b": other}) == []


@pytest.mark.parametrize(
    ("one", "other", "seconds"),
    [((0, 10), (10, 20), 0), ((0, 10), (9, 20), 1), ((0, 10), (2, 5), 3), ((5, 8), (0, 20), 3), ((0, 10), (30, 40), 0)],
)
def test_the_overlap_of_two_windows(one: tuple[float, float], other: tuple[float, float], seconds: float) -> None:
    assert overlap_s(one, other) == overlap_s(other, one) == seconds


@pytest.mark.parametrize(("start", "count"), [(10, 0), (9.4, 0), (9, 1), (0, 1), (-10, 0), (-9, 1)])
def test_windows_that_touch_were_not_measured_at_the_same_time(start: float, count: int) -> None:
    """``started_at`` is cut to whole seconds, so that an overlap below one second may be none."""
    mine = changed(make_record("backprop", 0), started_at=at(0), time_s=10.0)
    when = (NOON + timedelta(seconds=start)).isoformat()
    theirs = changed(make_record("mono-forward", 0), started_at=when, time_s=10.0)
    found = list(simultaneous([mine, theirs], [Path("a"), Path("b")]))
    assert found == ([(Path("a"), Path("b"), count)] if count else [])
    assert list(simultaneous([mine, theirs], [Path("a"), Path("a")])) == []


def test_directories_that_were_measured_at_the_same_time_are_named_once(tmp_path: Path) -> None:
    paths = []
    for name, arm, starts in (("a", "backprop", (0, 100, 200)), ("b", "mono-forward", (5, 300, 400))):
        records = [changed(make_record(arm, seed), started_at=at(starts[seed]), time_s=10.0) for seed in (0, 1, 2)]
        paths.append(write_run(tmp_path / name, records))
    (flag,) = directory_flags(read_material(paths))
    assert flag.key == "overlapping-windows"
    assert flag.text.startswith("1 of 3 runs in a were measured while runs in b were")
    assert sum("measured while" in text for text in report.summarise(paths)["flags"]) == 1


def test_the_windows_of_two_sittings_on_fashion_mnist(tmp_path: Path) -> None:
    """Of runs that were published: Forward-Forward's five beside backprop's first."""
    backprop = ((18 * 3600 + 51 * 60 + 26, 211.0), (19 * 3600 + 4 * 60 + 40, 152.0), (19 * 3600 + 18 * 60 + 1, 184.0))
    forward = ((18 * 3600 + 57 * 60 + 20, 376.0), (19 * 3600 + 3 * 60 + 43, 351.0), (19 * 3600 + 20 * 60 + 54, 292.0))
    paths = []
    for arm, windows in (("backprop", backprop), ("forward-forward", forward)):
        runs = [make_record(arm, seed) for seed in range(len(windows))]
        made = [changed(run, started_at=at(s), time_s=t) for run, (s, t) in zip(runs, windows, strict=True)]
        paths.append(write_run(tmp_path / arm, made))
    (flag,) = directory_flags(read_material(paths))
    assert flag.text.startswith("2 of 3 runs in backprop were measured while runs in forward-forward were")


def test_the_shipped_fashion_directories_were_measured_at_the_same_time() -> None:
    paths = [SHIPPED / "fashion-mnist-mlp-2x1000", SHIPPED / "fashion-mnist-mlp-2x1000-ff"]
    assert {run.schema_version for path in paths for run in read_records(path / "records.jsonl")} == {1}
    flags = report.summarise(paths)["flags"]
    assert any(
        text.startswith("5 of 5 runs in fashion-mnist-mlp-2x1000-ff were measured while runs in fashion-mnist-mlp-2x1000 were")
        for text in flags
    )
    assert any("records are of version 1" in text for text in flags)
    assert any("mono-forward (staged) ended at the cap: 5 of 5" in text for text in flags)
