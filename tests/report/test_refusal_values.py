"""Each refusal of a report as one whole line: what was found where, and the cure."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from bpfree import report
from bpfree.errors import RunDirectoryError, UsageError
from bpfree.records import Record
from bpfree.report.evidence import evidence_values
from bpfree.report.material import read_material
from bpfree.report.model import build_tables
from bpfree.report.stopping import stopping_flaw
from bpfree.report.targets import target_for
from tests.report.golden import FIRST, LARGE, RUNS, record
from tests.report.page_pins import pinned, written

EARLY = "training ended after 2 passes without improvement and 4 of 6 passes"


def runs(arm: str = "backprop", n: int = 1, start: int = 0, **changes: Any) -> list[Record]:
    return [pinned(record(FIRST, LARGE, arm, run), start + k, **changes) for k, run in enumerate(RUNS[LARGE][arm][:n])]


def refusal(*directories: Path, **options: Any) -> str:
    with pytest.raises(RunDirectoryError) as error:
        read_material(directories, **options)
    return str(error.value)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Messages name directories as they were given."""
    monkeypatch.chdir(tmp_path)
    return Path()


def test_directories_that_hold_no_runs(here: Path) -> None:
    assert refusal() == "no run directory was given; try: bpfree report runs/DIRECTORY"
    absent = here / "absent"
    assert refusal(absent) == "absent is not a directory; run directories are made by: bpfree compare --out DIR"
    absent.mkdir()
    assert refusal(absent) == (
        "absent holds no measured run (records.jsonl is missing or empty); resume with the command that made it, or start one: "
        "bpfree compare --out absent"
    )
    written(here / "a", runs(), FIRST)
    (here / "a" / "ruleset.yaml").unlink()
    unknown = "the rules it was run under are unknown (the command that made the directory makes the file again)"
    assert refusal(here / "a") == f"a has no ruleset.yaml; {unknown}"
    (here / "a" / "ruleset.yaml").write_text("[]")
    assert refusal(here / "a") == f"a/ruleset.yaml cannot be read (must be a list of 'key: value' lines, got list); {unknown}"


def test_a_directory_of_run_directories_names_one_of_them(here: Path) -> None:
    """As the directory of a suite is, whatever its ``suite.json`` says."""
    written(here / "S" / "legacy-2025", runs(), FIRST)
    (here / "S" / "suite.json").write_text("{")
    assert refusal(here / "S") == ("S holds run directories and no runs of its own; report on one: bpfree report S/legacy-2025")


@pytest.mark.parametrize(
    ("name", "what", "text", "words"),
    [
        ("tuned.json", "searches", "3", "Input should be a valid array"),
        ("tuned.json", "searches", "[3]", "0: Input should be an object"),
        ("tuned.json", "searches", '[{"arm": 1}]', "0.arm: Input should be a valid string"),
        ("tuned.json", "searches", '[{"tried": [0]}]', "0.tried.0: Input should be an object"),
        ("tuned.json", "searches", '[{"best": 3}]', "0.best: Input should be an object"),
        ("tuned.json", "searches", "{", "Invalid JSON: EOF"),
        ("tuned.json", "searches", "[" * 100_000, "Invalid JSON: recursion limit exceeded"),
        ("environment.json", "machines", "3", "Input should be an object"),
        ("environment.json", "machines", '{"a": 1}', "a: Input should be an object"),
        ("environment.json", "machines", '{"a": {"versions": 1}}', "a.versions: Input should be an object"),
        ("environment.json", "machines", "", "Invalid JSON: EOF"),
    ],
)
def test_side_files_that_cannot_be_read(here: Path, name: str, what: str, text: str, words: str) -> None:
    place = written(here / "a", runs(), FIRST)
    (place / name).write_text(text)
    told = refusal(place)
    assert told.startswith(f"a/{name} cannot be read ({words}")
    assert told.endswith(f"); the command that made a makes it again, or move it away to report without its {what}")
    assert "\n" not in told


def test_a_search_on_other_data_is_not_of_these_runs(here: Path) -> None:
    places = [written(here / name, runs(arm), FIRST) for name, arm in (("a", "backprop"), ("b", "pepita"))]
    mine = runs()[0].data_digest
    rows = [{"arm": "x", "data_digest": digest} for digest in (mine, "other", None)]
    for place in places:  # a search that two directories have counts once
        (place / "tuned.json").write_text(json.dumps(rows))
    assert list(read_material(places).tuned) == [rows[0], rows[2]]


def test_runs_that_cannot_stand_in_one_table(here: Path) -> None:
    one = written(here / "a", runs("backprop"), FIRST)
    two = written(here / "b", runs("pepita", split="other values " * 3), FIRST)
    mine = runs()[0].split[:16]
    told = refusal(one, two)
    assert told == (
        "a (backprop, seed 0) and b (pepita, seed 0) were run on different data of the name digits: stored values or split "
        f"{mine} and other values oth; they cannot stand in one table; report them one by one"
    )
    three = written(here / "c", runs("pepita", data_digest="normalised otherwise"), FIRST)
    assert refusal(one, three) == (
        "a (backprop, seed 0) and c (pepita, seed 0) were run on different data of the name digits: the same values in the same "
        f"split, normalised differently ({(runs()[0].data_digest or '')[:16]} and normalised other); they cannot stand in one "
        "table; report them one by one"
    )
    other = {"bpfree": "9.9", "bpfree code": "0ther", "torch": "2.0"}
    four = written(here / "d", runs("pepita", 2, versions=other), FIRST)
    assert refusal(one, four) == (
        "DIFFERENT CODE: bpfree code c0de in a, 0ther in d; optuna 1.0 in a, not recorded in d; accuracies cannot be compared "
        "either; report the runs on digits of one code at a time, or accept both with --accept-other-code"
    )
    assert len(read_material([one, four], accept_other_code=True).records) == 3
    kept = ("steps", "examples_seen", "cpu_s", "other_load", "n_test", "correct", "evaluation_peak_bytes", "data_digest")
    old = runs("pepita", schema=1, **dict.fromkeys(kept))
    five = written(here / "e", old, FIRST)
    assert refusal(one, five) == (
        "e has records of version 1, which do not name the contents of their data, a has later ones; they cannot stand in one "
        "table; report them one by one"
    )


def test_a_run_that_was_measured_twice(here: Path) -> None:
    one = written(here / "a", runs("backprop", 2), FIRST)
    two = written(here / "b", runs("backprop", 2, start=30), FIRST)
    assert refusal(one, two) == (
        "backprop on digits with mlp:2x8, seed 0, was measured twice (a and b); a seed counts once, so report on one of them"
    )


def test_an_interrupted_or_failed_run_gives_way_to_a_later_attempt(here: Path) -> None:
    lost = {
        "test_accuracy": None,
        "val_accuracy": None,
        "reasons": runs()[0].reasons | dict.fromkeys(("test_accuracy", "val_accuracy"), "x"),
    }
    broken, stopped = (runs(status=status, **lost)[0] for status in ("failed", "interrupted"))
    whole = runs(start=7)[0]
    for order, chosen in (
        ([broken, whole], whole), ([stopped, whole], whole), ([whole, stopped], whole), ([broken, stopped], broken),
        ([stopped, broken], broken),
    ):  # fmt: skip
        place = written(here / f"{order[0].status}-{order[1].status}", order, FIRST)
        assert [(run.status, run.started_at) for run in read_material([place]).records] == [(chosen.status, chosen.started_at)]


def test_a_damaged_field_names_its_record(here: Path) -> None:
    place = written(here / "a", runs("backprop", correct="%%"), FIRST)
    with pytest.raises(RunDirectoryError) as error:
        build_tables(read_material([written(here / "b", [*runs("pepita"), *runs("backprop", correct="%%")], FIRST)]))
    told = str(error.value)
    assert told.startswith("the record of backprop on digits with mlp:2x8, seed 0, has a damaged field correct (")
    assert told.endswith("); remove its line from records.jsonl, and the same command measures it again")
    assert build_tables(read_material([place]))[0].rows[0].compared is None


@pytest.mark.parametrize("asked", [0.0, 1.0001, -0.5])
def test_a_target_out_of_range(asked: float) -> None:
    with pytest.raises(UsageError) as error:
        target_for("digits", [], [], asked)
    assert str(error.value) == f"the target must be an accuracy above 0 and at most 1, such as 0.95, got {asked}"
    assert target_for("digits", [], [], 1.0) == (1.0, "as asked for")
    assert target_for("digits", [], [], {"mnist": asked}) is None


def test_a_damaged_timeline_is_named(here: Path) -> None:
    place = written(here / "a", runs(), FIRST)
    (place / "timelines").mkdir()
    (place / "timelines" / "x.jsonl").write_text('{"arm": "backprop"}\n')
    with pytest.raises(RunDirectoryError) as error:
        report.build([place], here / "out")
    assert str(error.value) == "a/timelines/x.jsonl is no timeline ('dataset'); move it away to report without it"


@pytest.mark.parametrize(
    ("rules", "passes", "flaw"),
    [
        ({"max_passes": 4}, 4, ""),
        ({"max_passes": 3}, 4, "4 passes were run, the ruleset says at most 3"),
        ({"patience": None}, 4, f"{EARLY}, the ruleset has no patience"),
        ({"patience": 3}, 4, f"{EARLY}, the ruleset has a patience of 3"),
        ({"patience": 1}, 4, "training went on for 2 passes without improvement, the ruleset says 1"),
        ({"patience": 3, "max_hours": 0.0027}, 4, ""),  # 9.72 of its 10 s
        ({"patience": 3, "max_hours": 0.0029}, 4, EARLY),
    ],
)  # fmt: skip
def test_an_end_against_the_rules(rules: dict[str, Any], passes: int, flaw: str) -> None:
    """Validation .7, .92, .91, .9 over 10 s: two passes without improvement."""
    (run,) = runs(plan={"phases": {"all blocks": None}})
    assert run.passes == passes
    told = stopping_flaw(run, FIRST.with_changes(rules))
    assert told.startswith(flaw) if flaw else told == ""
    if flaw and "max_hours" not in rules:
        assert told == flaw


def test_the_baseline_has_no_evidence(here: Path) -> None:
    (table,) = build_tables(read_material([written(here / "a", [*runs("backprop", 4), *runs("mono-forward", 4)], FIRST)]))
    assert evidence_values(table.rows[0]) is None
    assert evidence_values(table.rows[1]) is not None
