"""A comparison that is shared, its directory and its journal beside other processes: order, locks, words; nothing is trained."""

from __future__ import annotations

import json
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import optuna
import pytest
import torch

from bpfree import data, rulesets
from bpfree.bench import compare, directory, environment
from bpfree.bench.arm import Arm
from bpfree.bench.compare import ComparisonRun
from bpfree.bench.damage import DamagedFileWarning
from bpfree.bench.directory import RunDirectory
from bpfree.bench.journal import WORK, _Lines, finished_trials, open_storage
from bpfree.bench.setting import Setting
from bpfree.bench.storages import Store
from bpfree.errors import RunDirectoryError, StorageError
from bpfree.locks import held
from bpfree.meter import Meter

ANY: Any = None
CPU = torch.device("cpu")
FACTS = environment.facts(CPU)
QUICK = rulesets.load("quick").with_changes(max_passes=9, passes_per_trial=4, trials=3)
DATA = data.load("synthetic:n=300:inputs=4:classes=3")


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody else would free a lock that this process holds: to wait for one fails at once."""

    @contextmanager
    def at_once(path: Path, *, together: bool = False, wait: bool = True) -> Any:
        with held(path, together=together, wait=False) as free:
            assert free or not wait, f"{path} would be waited for"
            yield free

    monkeypatch.setattr(directory, "held", at_once)


class Shared:
    """Stands for the work in a storage: what is planned, made and collected is noted."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.noted: list[Any] = []
        note = self.noted.append
        self.store = Store("the storage", "P")  # type: ignore[arg-type]
        patient = lambda action: note("patient") or action()  # noqa: E731
        place = SimpleNamespace(patient=patient, in_database="where", storage="the storage", answering=self.store.answering)
        claims = SimpleNamespace(plan=lambda keys: note(("plan", keys)), entries=lambda: "entries")
        self.work: Any = SimpleNamespace(store=place, plan=lambda device: note(device) or claims)
        monkeypatch.setattr(compare, "discard_waiting", lambda: note("discard"))
        monkeypatch.setattr(compare, "collect", lambda entries, where: note(("collect", entries, where.path)))

        class Sharing:
            interrupted = ["b, trial 1: memory ran out"]
            left_out = {"b"}

            def __init__(self, settings: Any, arms: Any, work: Any, results: Any, observer: Any, say: Any) -> None:
                assert (work, results._facts, results._in_database) == (claims, FACTS, "where")
                note(([each.split_seed for each in settings], [each.label for each in arms], results.directory.path, observer))
                say("a line")

            def work(self) -> None:
                note("work")

        monkeypatch.setattr(compare, "Sharing", Sharing)


def comparison(path: Path, shared: Any, *splits: int) -> ComparisonRun:
    setting = [
        Setting(QUICK, DATA, "mlp:1x4", CPU, Meter(CPU), None, {}, FACTS, split_seed=split) for split in (0, *splits)
    ]  # fmt: skip
    observer: Any = SimpleNamespace(end=lambda line: shared.noted.append(line))
    arms = [Arm(label, "backprop", {}) for label in ("a", "b")]
    work = shared.work if isinstance(shared, Shared) else shared
    return ComparisonRun(setting[0], arms, (5,), RunDirectory(path), observer, other_splits=setting[1:], shared=work)


TRIALS = [f"trial {split} {index} {arm}" for split in (0, 1) for arm in "ab" for index in range(3)]


def test_shared_work_is_planned_made_and_collected_and_the_rest_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shared = Shared(monkeypatch)
    run = comparison(tmp_path, shared, 1)
    left: list[Any] = []
    monkeypatch.setattr(ComparisonRun, "_run_seeds", lambda self, here: left.append((here.split_seed, len(self.arms))))
    with run.directory.opened(QUICK, FACTS), run.directory.joined(FACTS):
        assert run.run() == []
    keys = [*TRIALS, *(f"run {split} 5 {arm}" for split in (0, 1) for arm in "ab")]
    assert shared.noted == [
        "discard", "patient", "cpu", "patient", ("plan", keys), ([0, 1], ["a", "b"], tmp_path, run.observer), "a line", "work",
        "patient", ("collect", "entries", tmp_path),
    ]  # fmt: skip
    assert run.interrupted == ["b, trial 1: memory ran out"]
    assert [arm.label for arm in run.arms] == ["a"]
    assert left == [(0, 1), (1, 1)]
    monkeypatch.setattr(compare.Sharing, "left_out", {"a", "b"})
    run.run()
    assert len(left) == 2, "everything was left out"


def test_a_shared_search_has_no_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shared = Shared(monkeypatch)
    run = comparison(tmp_path, shared, 1)
    monkeypatch.setattr(ComparisonRun, "_tune", lambda self, here: self.interrupted.clear() or run._storage())
    with run.directory.opened(QUICK, FACTS):
        assert run.tune() == "the storage"  # type: ignore[comparison-overlap]
    assert ("plan", TRIALS[:6]) in shared.noted
    assert ([0], ["a", "b"], tmp_path, run.observer) in shared.noted


@pytest.mark.parametrize("call", ["run", "tune"])
def test_a_database_that_is_lost_at_the_end_is_said(call: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def lost(*_: Any) -> Any:
        raise optuna.exceptions.StorageInternalError("down")

    monkeypatch.setattr(ComparisonRun, "_run_seeds", lost)
    monkeypatch.setattr(ComparisonRun, "_tune", lost)
    for shared, error in ((Shared(monkeypatch), StorageError), (None, optuna.exceptions.StorageInternalError)):
        with pytest.raises(error):
            getattr(comparison(tmp_path, shared), call)()


def test_a_directory_with_workers_is_not_run_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = comparison(tmp_path, None)
    monkeypatch.setattr(ComparisonRun, "_run_seeds", lambda self, here: None)
    assert run.run() == []
    assert isinstance(run._storage(), optuna.storages.JournalStorage)
    with run.directory.joined(FACTS), pytest.raises(RunDirectoryError) as error:
        run.run()
    assert str(error.value) == f"{tmp_path} has workers; give --storage journal too, or wait until they end"


def test_who_works_in_a_directory(tmp_path: Path) -> None:
    place = RunDirectory(tmp_path / "R")
    assert not place.has_workers()
    assert not (tmp_path / "R").exists(), "a question makes nothing"
    place.path.mkdir()
    assert not place.has_workers()
    with place.joined(FACTS) as first, place.joined(FACTS):
        assert first is place
        assert place.has_workers()
        with held(place.path / ".workers.lock", wait=False) as alone:
            assert not alone
    assert not place.has_workers()
    assert list(json.loads(place.environment_path.read_text())) == [environment.digest(FACTS)]


def test_half_files_of_a_killed_process_are_removed_where_no_other_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    removed: list[Path] = []
    monkeypatch.setattr(directory, "remove_parts", removed.append)
    place = RunDirectory(tmp_path)
    with place.joined(FACTS):
        place._remove_parts()
    assert removed == []
    place._remove_parts()
    folders = ("", "checkpoints", "timelines", "report", "report/figures")
    assert removed == [tmp_path / folder for folder in folders]


def test_environments_are_added_one_process_after_the_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = RunDirectory(tmp_path)
    locks: list[Any] = []

    @contextmanager
    def noting(path: Path) -> Any:
        locks.append(path.name)
        yield True

    monkeypatch.setattr(directory, "held", noting)
    place.add_environment(FACTS)
    other = FACTS.model_copy(update={"device": "another"})
    place.add_environment(other)
    before = place.environment_path.stat().st_mtime_ns
    place.add_environment(FACTS)
    assert place.environment_path.stat().st_mtime_ns == before
    assert sorted(json.loads(place.environment_path.read_text())) == sorted(map(environment.digest, (FACTS, other)))
    assert locks == [".environment.lock"] * 3


def test_lines_of_other_processes_are_read_once_and_whole(tmp_path: Path) -> None:
    journal = tmp_path / "study.journal"
    here = _Lines(journal)
    assert list(here.read_logs(0)) == []
    there = _Lines(journal)
    there.append_logs([{"a": 1}, {"b": 2}])
    assert journal.read_text() == '{"a":1}\n{"b":2}\n'
    assert list(here.read_logs(0)) == [{"a": 1}, {"b": 2}]
    here.append_logs([{"c": 3}])
    with journal.open("a") as file:
        file.write('{"d":')
    assert list(here.read_logs(1)) == [{"b": 2}, {"c": 3}]
    with journal.open("a") as file:
        file.write("4}\nnot JSON\n")
    for each in (here, there):
        with pytest.raises(RunDirectoryError, match=r"study\.journal cannot be read: line 5 is not JSON \(Expecting value"):
            list(each.read_logs(0))
    assert here._records == [{"a": 1}, {"b": 2}, {"c": 3}, {"d": 4}]


def test_tasks_in_a_journal_need_no_attributes_of_a_trial(tmp_path: Path) -> None:
    storage = open_storage(tmp_path / "study.journal")
    for name in (f"{WORK}x", "search"):
        study = optuna.create_study(study_name=name, storage=storage)
        study.add_trial(optuna.trial.create_trial(value=0.0, user_attrs={"task": "a"}))
        if name != "search":
            open_storage(tmp_path / "study.journal")
    with pytest.raises(RunDirectoryError, match="trial 0 of a search has no seed"):
        open_storage(tmp_path / "study.journal")


def test_of_two_trials_with_one_seed_the_first_counts() -> None:
    study = optuna.create_study(direction="maximize")
    for value, seed in ((0.1, 4), (0.2, 2), (0.3, 4), (0.4, None)):
        attributes = {} if seed is None else {"seed": seed}
        study.add_trial(optuna.trial.create_trial(value=value, user_attrs=attributes))
    study.add_trial(optuna.trial.create_trial(state=optuna.trial.TrialState.FAIL, user_attrs={"seed": 0}))
    assert [trial.value for trial in finished_trials(study)] == [0.4, 0.2, 0.1]


def test_a_damaged_file_is_set_aside_and_made_again(tmp_path: Path) -> None:
    place = RunDirectory(tmp_path)
    with place.opened(QUICK, FACTS):
        place.log("a line")
    machines = "the machines of earlier runs are lost, their versions are in the records"
    searches = "searches of other commands come back when those are given again"
    rules = "of the rules of this command, under which its records were made"
    for path, act, words in (
        (place.environment_path, lambda: place.add_environment(FACTS), machines),
        (place.tuned_path, lambda: place.add_tuned([]), searches),
        (place.ruleset_path, place.opened(QUICK, FACTS).__enter__, rules),
    ):
        path.write_text("{")
        with pytest.warns(DamagedFileWarning) as seen:
            act()
        made_again = f": it is made again, {words}; the damaged file is kept as {path.name}.damaged"
        assert [str(each.message).endswith(made_again) for each in seen] == [True]
        assert place.log_path.read_text().splitlines()[-1].endswith(f": {words}")
        assert (path.with_name(f"{path.name}.damaged").read_text(), path.read_text() != "{") == ("{", True)
