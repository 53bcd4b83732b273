"""What stands behind a table: traces, runs, trials, links, references, the stored scripts and side files; by value."""

from __future__ import annotations

import json
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from bpfree.errors import RunDirectoryError
from bpfree.report import by_run, origins, searches, timelines
from bpfree.report.bundle import bundle, bundle_file
from bpfree.report.side_files import read_environments, read_searches


def trace(path: Path, name: str, header: dict[str, Any], n: int, **sample: float) -> None:
    (path / "timelines").mkdir(parents=True, exist_ok=True)
    common = {"arm": "a", "dataset": "d", "net": "n"}
    samples = [{"time_s": k / 10, **sample} for k in range(n)]
    text = "\n\n".join(json.dumps(each) for each in (common | header, *samples))
    (path / "timelines" / f"{name}.jsonl").write_text(text + "\n \n")


def arms(**seeds: tuple[int, ...]) -> Any:
    rows = [
        SimpleNamespace(arm=arm, label=arm.upper(), index=k + 3, runs=[SimpleNamespace(seed=seed) for seed in of_arm])
        for k, (arm, of_arm) in enumerate(seeds.items())
    ]
    return SimpleNamespace(task=("d", "n"), rows=rows)


def test_the_first_seed_with_a_trace_of_20_samples_of_the_task_is_drawn(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    trace(one, "0", {"seed": 0}, 19, power_w=1.0)
    trace(one, "1", {"seed": 2}, 22, power_w=2.0)
    trace(two, "2", {"seed": 1, "origin": "replayed"}, 20, power_w=3.0)
    trace(two, "3", {"seed": 0, "dataset": "other"}, 30, power_w=4.0)
    trace(two, "4", {"seed": 0, "net": "other"}, 30, power_w=5.0)
    trace(two, "5", {"seed": 9}, 30, power_w=6.0)
    trace(two, "6", {"seed": 0, "arm": "c"}, 30, power_w=7.0)
    drawn = list(timelines._traces(arms(a=(0, 1, 2), b=(0,), c=(0,)), [one, two]))
    assert [(each.label, each.index, each.origin, len(each.samples), each.samples[0]["power_w"]) for each in drawn] == [
        ("A", 3, "replayed", 20, 3.0), ("C", 5, "measured", 30, 7.0),
    ]  # fmt: skip


def test_which_charts_are_made_of_which_traces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bpfree.report.looks.render", lambda spec: "")
    trace(tmp_path, "0", {"seed": 0}, 20, power_w=50.0)
    trace(tmp_path, "1", {"seed": 0, "arm": "b", "origin": "synthetic"}, 20, power_w=70.0, clock_mhz=1000.12345, utilisation=0.5)
    clock, power = timelines.timeline_charts(arms(a=(0,), b=(0,), c=(0,)), [tmp_path])
    assert (clock.name, clock.title) == ("timeline-clock", "Replayed, not measured: clock of the device over time")
    assert clock.description == ("First seed of each arm. Synthetic. B 1000 on average, 1000 to 1000, deviation 0% of the mean.")
    assert power.name == "timeline-power"
    assert clock.caption == (
        "Line: samples of one run, least and greatest of each stretch of time. Mark: its end. "
        "Not drawn: C; no run has 20 samples (2 s at 10 a second)."
    )
    assert clock.drawing.spec["datasets"]["ends"] == [{"arm": "B", "x": 1.9, "y": 1000.123}]
    assert [end["arm"] for end in power.drawing.spec["datasets"]["ends"]] == ["A", "B"]
    (load,) = timelines.trace_charts([timelines.DeviceTrace("A", 0, "measured", [{"time_s": 1, "utilisation": 0.25}])], "W.")
    assert (load.name, load.title) == ("timeline-load", "Load of the device over time")
    assert load.description == "W. A 25 on average, 25 to 25, deviation 0% of the mean."
    assert load.drawing.spec["datasets"] == {
        "data": [{"arm": "A", "x": 1.0, "y": 25.0}],
        "ends": [{"arm": "A", "x": 1.0, "y": 25.0}],
    }
    assert timelines.trace_charts([], "W.") == []


def test_a_run_in_a_line() -> None:
    assert by_run._value(SimpleNamespace(time_s=float("nan")), by_run.q.TIME) == "–"  # type: ignore[arg-type]
    assert by_run._value(SimpleNamespace(time_s=None), by_run.q.TIME) == "–"  # type: ignore[arg-type]
    assert by_run._value(SimpleNamespace(time_s=2.0), by_run.q.TIME) == by_run.q.TIME.show(2.0)  # type: ignore[arg-type]
    for status, stops, words in (("failed", [], "failed"), ("ok", [], "–"), ("ok", ["cap"], "at the cap")):
        run: Any = SimpleNamespace(status=status, stops=[SimpleNamespace(reason=reason) for reason in stops])
        assert by_run._end(run) == words


def test_trials_in_words() -> None:
    tried = [
        {"values": {"lr": 0.012345, "n": 3, "on": True, "most": float("inf")}, "val_accuracy": 0.5, "passes": 4},
        {"values": {}, "val_accuracy": None, "diverged": True},
        {"values": None, "val_accuracy": 0.25, "passes": 0, "diverged": False},
    ]
    first = "lr = 0.0123, n = 3, on = True, most = inf"
    for told, outcomes in (
        ({"best_trial": 0}, ("taken", "diverged", "")), ({"best_trial": 2}, ("", "diverged", "taken")),
        ({"best_trial": 2, "best": tried[0]["values"]}, ("", "diverged", "taken")),
        ({"best": tried[0]["values"]}, ("taken", "diverged", "")), ({}, ("", "diverged", "taken")),
    ):  # fmt: skip
        assert list(searches._trials({"tried": tried, **told})) == [
            ("0", first, "50.00", "4", outcomes[0]),
            ("1", "nothing to tune", "–", "–", outcomes[1]),
            ("2", "nothing to tune", "25.00", "0", outcomes[2]),
        ]
    assert list(searches._trials({})) == list(searches._trials({"tried": None})) == []


def test_the_command_that_opens_searches_names_no_full_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("a/b", "c"):
        Path(name).mkdir(parents=True)
    for name in ("a/b", "a"):
        Path(name, "study.journal").touch()
    given = [Path("a/b"), Path("c"), tmp_path / "a"]
    assert searches.dashboard_commands(given) == ["optuna-dashboard a/b/study.journal", "optuna-dashboard a/study.journal"]


def test_the_tools_of_a_search_are_cited_where_one_run_was_tuned(monkeypatch: pytest.MonkeyPatch) -> None:
    noted: list[Any] = []

    def citations(records: Any, of_rule: Any, *, searched: bool) -> list[str]:
        noted.append((records, of_rule("other/rule"), searched))
        return ["b", "a", "b"]

    monkeypatch.setattr(origins, "citations", citations)
    for costs, searched in (((None, 1.0), True), ((None, None), False), ((1.0, 1.0), True), ((1.0, None), True)):
        records = [SimpleNamespace(tuning_energy=cost) for cost in costs]
        material: Any = SimpleNamespace(records=records)
        assert origins.references(material) == "b\n\na\n"
        cited = ["% The rule other/rule is of another package: bpfree cite NAME prints what it asks for"]
        assert noted.pop() == (records, cited, searched)
    monkeypatch.setattr(
        origins.catalogue, "rules", lambda: {"known": SimpleNamespace(bibtex=("x",)), "bare": SimpleNamespace(bibtex=())}
    )
    assert origins._of_rule("known") == ("x",)
    assert origins._of_rule("bare") == ["% The rule bare is of another package: bpfree cite NAME prints what it asks for"]


def test_links_in_the_order_of_the_directories(tmp_path: Path) -> None:
    for name, files in (("b", ("log.txt", "records.jsonl")), ("a", ("tuned.json",)), ("c", ())):
        (tmp_path / name).mkdir()
        for file in files:
            (tmp_path / name / file).touch()
    (tmp_path / "c" / "log.txt").mkdir()
    assert origins.links([tmp_path / name for name in "bac"], tmp_path / "b" / "report") == [
        ("b", [("records.jsonl", "../records.jsonl", "a line for each run"), ("log.txt", "../log.txt", "what was done when")]),
        ("a", [("tuned.json", "../../a/tuned.json", "what each search chose")]),
        ("c", []),
    ]


def test_scripts_are_made_once_and_again_after_damage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    made: list[str] = []
    monkeypatch.setattr("vl_convert.javascript_bundle", lambda snippet: made.append(snippet) or "code")
    make = bundle.__wrapped__
    assert re.fullmatch(r"vega-[0-9a-z.]+-[0-9a-f]{8}\.txt", bundle_file().name)
    assert (bundle_file().parent.name, bundle_file().parent.parent.name) == ("report", "bpfree")
    assert [make(), make(), len(made)] == ["code", "code", 1]
    assert made == ["globalThis.vegaEmbed = vegaEmbed;"]
    for n, damage in enumerate((b"\xff\xfe", b"code", b"0\ncode"), start=2):
        bundle_file().write_bytes(damage)
        assert [make(), make(), len(made)] == ["code", "code", n], "what is made again is stored in place of the damaged one"


def test_the_first_fault_of_a_side_file_is_named(tmp_path: Path) -> None:
    assert read_searches(tmp_path) == []
    assert read_environments(tmp_path) == {}
    (tmp_path / "tuned.json").write_text('[{"study": "x", "best": 3, "space": 4, "further": {"a": 1}}]')
    with pytest.raises(RunDirectoryError, match=r"tuned\.json cannot be read \(0\.study: "):
        read_searches(tmp_path)
    rows = [{"arm": "a", "further": {"a": 1}, "tried": [{"values": {"lr": 1}, "more": 2}]}]
    (tmp_path / "tuned.json").write_text(json.dumps(rows))
    assert read_searches(tmp_path) == rows
