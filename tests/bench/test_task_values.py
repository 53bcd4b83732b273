"""The tasks of a comparison in their order, the locks of devices, where records go, and how far all is."""

from __future__ import annotations

import dataclasses
import runpy
import tempfile
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from optuna.trial import TrialState

from bpfree.bench import results, tasks
from bpfree.bench.claims import Entry
from bpfree.bench.results import Results, collect
from bpfree.bench.standing import standing
from bpfree.bench.tasks import Task, device_lock, tasks_of
from bpfree.records import CONTROL_SEEDS

ANY: Any = None
NOW = datetime(2026, 11, 26, 12, 0, 0)
WAITING, RUNNING, FINISHED = TrialState.WAITING, TrialState.RUNNING, TrialState.COMPLETE


def test_a_task_as_text_and_in_words() -> None:
    task = Task("run", 2, 7, "an arm of four words")
    assert task.key == "run 2 7 an arm of four words"
    assert Task.of(task.key) == task
    assert [dataclasses.replace(task, kind=kind, arm="a").words for kind in ("trial", "run", "study")] == [
        "a, trial 7, split 2",
        "a, seed 7, split 2",
        "a, study 7, split 2",
    ]
    assert Task.of("trial 0 3 a").words == "a, trial 3"
    assert Task.of("trial 1 3 a").words == "a, trial 3, split 1"


def setting(split: int, studies: int = 1) -> Any:
    trials = {"a": 2, "b": 1, "control": 0}
    rules = SimpleNamespace(search=SimpleNamespace(studies=studies))
    return SimpleNamespace(ruleset=rules, split_seed=split, arm_rules=lambda arm: SimpleNamespace(trials=trials[arm.label]))


ARMS: Any = [SimpleNamespace(label=label, control=label == "control") for label in ("a", "b", "control")]


def keys(*settings: Any, runs: bool = True, seeds: tuple[int, ...] = (5, 7, 9, 11)) -> list[str]:
    return [task.key for task in tasks_of(settings, ARMS, seeds, runs=runs)]


def test_searches_come_first_then_each_seed_with_another_arm_in_front() -> None:
    control = [seed + CONTROL_SEEDS for seed in (5, 7, 9, 11)]
    searches = [f"trial {split} {index}" for split in (0, 3) for index in ("0 a", "1 a", "0 b")]
    runs = [
        (5, "a"), (5, "b"), (control[0], "control"),
        (7, "b"), (control[1], "control"), (7, "a"),
        (control[2], "control"), (9, "a"), (9, "b"),
        (11, "a"), (11, "b"), (control[3], "control"),
    ]  # fmt: skip
    assert keys(setting(0), setting(3), runs=False) == searches
    assert keys(setting(0), setting(3)) == searches + [f"run {split} {seed} {arm}" for split in (0, 3) for seed, arm in runs]


def test_under_a_ruleset_of_studies_a_task_is_a_study() -> None:
    assert keys(setting(0, studies=2)) == [
        "study 0 0 a",
        "study 0 0 b",
        "study 0 0 control",
        "study 0 1 b",
        "study 0 1 control",
        "study 0 1 a",
    ]
    assert keys(setting(0, studies=2), runs=False) == []
    assert keys(setting(0, studies=2), setting(1), runs=False) == ["trial 1 0 a", "trial 1 1 a", "trial 1 0 b"]


@pytest.mark.parametrize(
    ("kind", "index", "facts", "name"),
    [
        ("cpu", None, {"uuid": "U"}, "cpu"),
        ("cuda", 3, {"uuid": "U"}, "cuda-U"),
        ("cuda", 3, {}, "cuda-3"),
        ("cuda", None, {}, "cuda-0"),
    ],
)
@pytest.mark.parametrize("free", [True, False])
def test_a_device_is_locked_by_its_name(
    kind: str, index: int | None, facts: dict[str, str], name: str, free: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    asked: list[Any] = []

    @contextmanager
    def held(path: Path, **named: Any) -> Any:
        asked.append((path, named))
        yield free

    monkeypatch.setattr(tasks, "held", held)
    monkeypatch.setattr(tasks, "LOCKS", tmp_path)
    device: Any = SimpleNamespace(type=kind, index=index)
    monkeypatch.setattr(
        tasks.torch.cuda, "get_device_properties", lambda asked: SimpleNamespace(**facts) if asked is device else None
    )
    for together in (True, False):
        with device_lock(device, together=together) as mine:
            assert mine is free
    assert asked == [(tmp_path / f"bpfree-{name}.lock", {"together": together, "wait": False}) for together in (True, False)]


def test_devices_are_locked_where_all_processes_of_a_machine_see_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", "/a folder of this job")
    assert runpy.run_path(str(tasks.__file__))["LOCKS"] == Path("/tmp")
    monkeypatch.setattr(Path, "is_dir", lambda path: False)
    assert runpy.run_path(str(tasks.__file__))["LOCKS"] == Path("/a folder of this job")


class Directory:
    """Stands for a run directory; notes what is written."""

    def __init__(self, *cells: str) -> None:
        self.written: list[Any] = []
        self.cells = dict.fromkeys(cells)

    def append(self, *given: Any) -> None:
        self.written.append(given)

    keep_trace = add_environment = append

    def finished(self) -> dict[str, Any]:
        return self.cells


def test_records_go_into_the_directory_and_with_the_claim() -> None:
    directory: Any = Directory("cell 1")
    facts, record = SimpleNamespace(as_json=lambda: "facts"), SimpleNamespace(to_json=lambda: "record")
    here: Any = Results(directory, facts, in_database=True)  # type: ignore[arg-type]
    assert (here.attributes(), here.last) == ({}, None)
    here.append(record, ["trace"])
    here.append(record)
    here.keep_trace(record, "kept")
    assert directory.written == [(record, ["trace"]), (record, ()), (record, "kept")]
    assert here.last is record
    assert here.attributes() == {"record": "record", "environment": "facts"}
    assert (here.has("cell 1"), here.has("cell 2")) == (True, False)
    nowhere: Any = Results(None, facts, in_database=False)  # type: ignore[arg-type]
    nowhere.append(record)
    nowhere.keep_trace(record, "kept")
    assert (nowhere.last, nowhere.attributes(), nowhere.has("cell 1")) == (record, {}, False)


def test_records_of_the_database_are_collected_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(results.Record, "model_validate_json", lambda text: SimpleNamespace(cell=text))
    monkeypatch.setattr(results.Environment, "model_validate", lambda value: f"facts {value}")
    found = [
        Entry("", state, 0, {}, None, None, attributes, 0)
        for state, attributes in (
            (WAITING, {"record": "w"}),
            (FINISHED, {}),
            (FINISHED, {"record": "c", "environment": 1}),
            (FINISHED, {"record": "there", "environment": 2}),
            (FINISHED, {"record": "d", "environment": 3}),
            (FINISHED, {"record": "c", "environment": 4}),
        )
    ]
    directory: Any = Directory("there")
    collect(found, directory)
    assert directory.written == [("facts 1",), (SimpleNamespace(cell="c"),), ("facts 3",), (SimpleNamespace(cell="d"),)]


def entry(key: str, state: TrialState, begun_s: float | None = None, ended_s: float | None = None, **owner: Any) -> Entry:
    """A task that was begun and has ended so many seconds before now."""
    times = [None if seconds is None else NOW - timedelta(seconds=seconds) for seconds in (begun_s, ended_s)]
    return Entry(key, state, 0, owner, times[0], times[1], {}, 0)


def test_the_standing_as_plain_values() -> None:
    entries = [
        entry("trial 0 0 a", FINISHED, 10, 5),
        entry("run 0 0 a", RUNNING),
        entry("run 0 1 a", RUNNING, -3, host="h", pid=4, device="cuda"),  # the clock of another machine is 3 s ahead
        dataclasses.replace(entry("trial 2 1 a", WAITING), n_lost=5),
        dataclasses.replace(entry("trial 0 2 a", WAITING), n_lost=4),
        dataclasses.replace(entry("run 0 3 a", RUNNING, 1), n_lost=5),
    ]
    assert standing("the command", entries, NOW).as_json() == {
        "command": "the command",
        "finished": {"trial": 1},
        "running": {"run": 3},
        "waiting": {"trial": 2},
        "stuck": ("a, trial 1, split 2",),
        "now": (
            {"task": "a, seed 0", "host": "?", "pid": 0, "device": "?", "since_s": 0.0},
            {"task": "a, seed 1", "host": "h", "pid": 4, "device": "cuda", "since_s": 0.0},
            {"task": "a, seed 3", "host": "?", "pid": 0, "device": "?", "since_s": 1.0},
        ),
        "left_s": None,
        "done": False,
    }
    assert [standing("", entries[:n], NOW).done for n in (0, 1, 2)] == [True, True, False]
    assert not standing("", entries[3:4], NOW).done


def test_the_time_left_by_kinds_processes_and_devices() -> None:
    entries = [
        *(entry(f"trial 0 {n} a", FINISHED, 100 + seconds, 100) for n, seconds in enumerate((10, 20, 60))),  # 30 s each
        entry("trial 0 3 a", FINISHED, None, 5),  # times that are not there count for nothing
        entry("trial 0 4 a", FINISHED, 5),
        entry("run 0 0 a", FINISHED, 140, 100),  # 40 s each
        entry("study 0 0 a", FINISHED, 170, 100),  # 70 s each
        entry("trial 0 5 a", RUNNING, 12, host="h", device="cuda:0"),  # 18 s left
        entry("trial 0 6 a", RUNNING, None, host="h", device="cuda:0"),  # 30 s left
        entry("run 0 1 a", RUNNING, 15, host="h", device="cuda:1"),  # 25 s left
        entry("trial 0 7 a", WAITING, 7),  # 30 s: it was begun elsewhere, in vain
        entry("study 0 1 a", WAITING),
    ]
    assert standing("", entries, NOW).left_s == pytest.approx((18 + 30 + 30) / 3 + (25 + 70) / 2)
    other = entry("run 0 2 a", RUNNING, 100, host="i", device="cuda:1")  # longer than the mean: nothing left
    assert standing("", [*entries, other], NOW).left_s == pytest.approx((18 + 30 + 30) / 4 + (25 + 70) / 3)
    assert standing("", [*entries[:6], *entries[7:]], NOW).left_s is None, "how long a study takes is not known"
    assert standing("", [*entries[:7], *entries[-2:]], NOW).left_s is None, "nobody works"
