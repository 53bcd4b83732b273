"""Work that several processes share: the same trials and runs as in one, none lost, none twice.

Threads stand for processes where nothing depends on a process of its own: they claim through storages of their own.
"""

from __future__ import annotations

import sqlite3
import tempfile
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import optuna
import pytest
import sqlalchemy
from optuna.trial import TrialState

from bpfree import data, rulesets
from bpfree.bench import ComparisonRun, RunDirectory, SilentObserver, claims, environment, parse_arms, shared, tasks
from bpfree.bench.claims import Claims
from bpfree.bench.journal import WORK
from bpfree.bench.outcome import AT_ONCE
from bpfree.bench.published import Work, published
from bpfree.bench.results import Results, collect
from bpfree.bench.shared import Sharing
from bpfree.bench.storages import Store, open_store, open_store_of_directory
from bpfree.bench.tasks import Task, device_lock, tasks_of
from bpfree.errors import RunDirectoryError, RunInterruptedError
from bpfree.locks import held
from bpfree.train import Progress

from .test_measure import setting

SMALL = setting(net="mlp:1x4", data=data.load("synthetic:n=300:inputs=4:classes=3"))
QMC = SMALL.ruleset.with_changes(trials=2, passes_per_trial=1, max_passes=1)
TPE = QMC.with_changes({"search.sampler": {"name": "tpe", "n_startup_trials": 1}})
STUDIES = rulesets.load("claim").with_changes(studies=2, trials=2, max_passes=1)
ARMS = parse_arms("backprop,mono-forward")
SEEDS = (0, 1)


@pytest.fixture(autouse=True)
def _locks_and_looks(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tasks, "LOCKS", tmp_path_factory.mktemp("locks"))
    monkeypatch.setattr(shared, "LOOK_S", 0.01)


@pytest.fixture(autouse=True, scope="module")
def _versions() -> Iterator[None]:
    """Every run and every study asks for them; to look them up takes milliseconds."""
    versions = environment.versions()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(environment, "versions", lambda: versions)
        yield


@sqlalchemy.event.listens_for(sqlalchemy.Engine, "connect")
def _without_waiting_for_the_disk(connection: Any, _: object) -> None:
    if isinstance(connection, sqlite3.Connection):
        connection.execute("PRAGMA synchronous=OFF")
        connection.execute("PRAGMA journal_mode=MEMORY")


@cache
def _empty_tables() -> bytes:
    """A database with Optuna's tables: to make them takes longer than most of these tests."""
    with tempfile.TemporaryDirectory() as folder:
        open_store(f"sqlite:///{folder}/work.db")
        return (Path(folder) / "work.db").read_bytes()


def database(place: Path) -> Store:
    """SQLite ignores FOR UPDATE, by which PostgreSQL lets one process after the other claim: a lock does it here."""
    if not (place / "work.db").exists():
        (place / "work.db").write_bytes(_empty_tables())
    return replace(open_store(f"sqlite:///{place}/work.db"), claiming=lambda: held(place / ".claims.lock"))


def comparison(place: Path, rules: rulesets.Ruleset, store: Store | None) -> ComparisonRun:
    used = replace(SMALL, ruleset=rules, costs={})
    work = None if store is None else Work(store, {"asked": rules.name}, "the command")
    return ComparisonRun(used, ARMS, SEEDS, RunDirectory(place), SilentObserver(), shared=work)


def done(place: Path, rules: rulesets.Ruleset, store: Callable[[Path], Store] | None = None) -> ComparisonRun:
    """Run a comparison; ``store`` is opened once the directory is there."""
    run = comparison(place, rules, None)
    with run.directory.opened(rules, run.setting.facts):
        run = comparison(place, rules, store(place) if store else None)
        run.run()
    return run


def came(directory: RunDirectory) -> tuple[Any, ...]:
    """What a comparison came to: all but times."""
    rows = [(row.arm, row.study, row.best, row.best_val_accuracy, row.tried) for row in directory.tuned()]
    runs = [(record.cell, record.test_accuracy, record.params, record.passes) for record in directory.records()]
    return sorted(rows, key=str), sorted(runs, key=str)


def trials_of(store: Store) -> list[tuple[str, int]]:
    """Study and seed of every finished trial, as they stand in the storage."""
    return [
        (name, trial.user_attrs["seed"])
        for name in optuna.get_all_study_names(store.storage)
        if not name.startswith(WORK)
        for trial in optuna.load_study(study_name=name, storage=store.storage).trials
    ]


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Any, ...]]:
    """What comparisons come to that share nothing."""
    kinds = {"qmc": QMC, "tpe": TPE, "studies": STUDIES}
    return {name: came(done(tmp_path_factory.mktemp(name), rules).directory) for name, rules in kinds.items()}


@pytest.mark.parametrize(
    ("name", "rules", "store"),
    [
        pytest.param("qmc", QMC, open_store_of_directory, id="qmc, journal"),
        pytest.param("qmc", QMC, database, id="qmc, database"),
        pytest.param("tpe", TPE, open_store_of_directory, id="tpe, journal"),
        pytest.param("studies", STUDIES, database, id="studies, database"),
        pytest.param("tpe", TPE, database, id="tpe, database", marks=pytest.mark.slow),
        pytest.param("studies", STUDIES, open_store_of_directory, id="studies, journal", marks=pytest.mark.slow),
    ],
)
def test_shared_work_comes_to_the_same(
    name: str, rules: rulesets.Ruleset, store: Callable[[Path], Store], alone: dict[str, tuple[Any, ...]], tmp_path: Path
) -> None:
    run = done(tmp_path, rules, store)
    assert came(run.directory) == alone[name]
    (work,) = published(store(tmp_path))
    assert all(entry.finished for entry in work.claims("").entries())
    if store is database:
        lines = (tmp_path / "records.jsonl").read_text()
        collect(work.claims("").entries(), run.directory)
        assert (tmp_path / "records.jsonl").read_text() == lines, "each record is written once"
        (tmp_path / "records.jsonl").unlink()
        collect(work.claims("").entries(), run.directory)
        assert came(run.directory) == alone[name], "the database has them all"
    if name != "studies":
        assert all(row.trials_at_once == 2 and row.joules is None for row in run.directory.tuned())
        assert all(record.tuning_energy.method == AT_ONCE for record in run.directory.records())


def helper(store: Store, directory: RunDirectory | None, claimed: list[str]) -> Sharing:
    (work,) = published(store)
    used = replace(SMALL, ruleset=QMC, costs={})
    results = Results(directory, used.facts, in_database=store.in_database)

    class Noting(Claims):
        def take(self, entry: claims.Entry) -> claims.Claim | None:
            if claim := super().take(entry):
                claimed.append(claim.key)
            return claim

    noting = Noting(store, work.claims("cpu").study, "cpu")
    return Sharing([used], ARMS, noting, results, SilentObserver(), lambda _: None)


def planned(store: Store, rules: rulesets.Ruleset = QMC) -> Claims:
    work = Work(store, {"asked": rules.name}, "the command").plan("cpu")
    used = replace(SMALL, ruleset=rules, costs={})
    work.plan([task.key for task in tasks_of([used], ARMS, SEEDS, runs=True)])
    return work


@pytest.mark.parametrize("store", [open_store_of_directory, database], ids=["journal", "database"])
def test_three_helpers_lose_and_double_nothing(
    store: Callable[[Path], Store], alone: dict[str, tuple[Any, ...]], tmp_path: Path
) -> None:
    run = comparison(tmp_path, QMC, None)
    claimed: list[str] = []
    with run.directory.opened(QMC, run.setting.facts):
        keys = [entry.key for entry in planned(store(tmp_path)).entries()]
        in_directory = store is open_store_of_directory
        helpers = [helper(store(tmp_path), run.directory if in_directory else None, claimed) for _ in range(3)]
        threads = [threading.Thread(target=each.work) for each in helpers]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(claimed) == sorted(keys)  # each exactly once
        assert len(trials_of(store(tmp_path))) == len(set(trials_of(store(tmp_path)))) == 4
        comparison(tmp_path, QMC, store(tmp_path)).run()  # collects
    assert came(run.directory) == alone["qmc"]


class TestClaims:
    @pytest.fixture(params=[open_store_of_directory, database], ids=["journal", "database"])
    def store(self, request: pytest.FixtureRequest, tmp_path: Path) -> Store:
        return request.param(tmp_path)

    @pytest.fixture
    def work(self, store: Store) -> Claims:
        return Work(store, {"asked": 1}, "").plan("cpu")

    def test_only_one_gets_a_task(self, work: Claims, store: Store) -> None:
        work.plan(["trial 0 0 a"])
        (entry,) = work.entries()
        other = Work(store, {"asked": 1}, "").plan("cpu")
        assert work.take(entry) is not None
        assert other.take(entry) is None
        assert [each.running for each in other.entries()] == [True]

    def test_of_a_task_planned_twice_the_first_counts(self, work: Claims) -> None:
        work.plan(["trial 0 0 a"])
        work.study.add_trial(optuna.trial.create_trial(state=TrialState.WAITING, user_attrs={"task": "trial 0 0 a"}))
        (entry,) = work.entries()
        claim = work.take(entry)
        assert claim is not None
        work.finish(claim)
        assert [each.finished for each in work.entries()] == [True]
        work.plan(["trial 0 0 a"])
        assert len(work.study.trials) == 2

    def test_what_is_given_back_is_waiting_again_and_does_not_count_as_lost(self, work: Claims) -> None:
        work.plan(["trial 0 0 a"])
        claim = work.take(work.entries()[0])
        assert claim is not None
        work.give_back(claim)
        assert [(each.waiting, each.n_lost) for each in work.entries()] == [(True, 0)]
        assert not work.holds(claim)
        work.finish(claim)  # too late, without effect
        assert [each.waiting for each in work.entries()] == [True]

    @pytest.mark.parametrize(
        ("changes", "is_lost"),
        [
            ({"pid": 2**22 + 1}, True),
            ({"started": 12.0, "pid": 1}, True),
            ({"pid": 2**22 + 1, "host": "elsewhere"}, False),
            ({"pid": 2**22 + 1, "pids": 7}, False),
            ({}, False),
        ],
        ids=["gone", "another process with its number", "on another machine", "in another container", "alive"],
    )
    def test_a_claim_is_released_if_its_process_is_gone(
        self, changes: dict[str, Any], is_lost: bool, work: Claims, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        mine = claims._myself()
        monkeypatch.setattr(claims, "_myself", lambda: mine | changes)
        work.plan(["trial 0 0 a"])
        assert work.take(work.entries()[0]) is not None
        assert work.release_lost() == (["trial 0 0 a"] if is_lost else [])
        assert [(each.waiting, each.n_lost) for each in work.entries()] == [(is_lost, int(is_lost))]

    def test_what_this_process_has_dropped_is_released(self, work: Claims) -> None:
        work.plan(["trial 0 0 a"])
        claim = work.take(work.entries()[0])
        assert claim is not None
        work.drop(claim)  # after an error, for which the storage could not be written
        assert work.release_lost() == ["trial 0 0 a"]

    def test_a_kill_between_end_and_new_plan_loses_nothing(self, work: Claims) -> None:
        work.plan(["trial 0 0 a"])
        claim = work.take(work.entries()[0])
        assert claim is not None
        work.study._storage.set_trial_state_values(claim.trial_id, TrialState.FAIL)
        assert work.entries() == []
        assert work.release_lost() == ["trial 0 0 a"]
        assert [each.waiting for each in work.entries()] == [True]


def test_in_a_journal_a_claim_without_a_name_is_of_a_killed_process(tmp_path: Path) -> None:
    work = planned(open_store_of_directory(tmp_path))
    first = work.entries()[0]
    assert work._run(first.trial_id)
    assert work.release_lost() == [first.key]


def test_in_a_database_a_claim_expires_that_is_not_reported(tmp_path: Path) -> None:
    store = database(tmp_path)
    work = planned(store)
    first = work.entries()[0]
    claims.beat(store.storage, first.trial_id)
    assert work._run(first.trial_id)
    assert work.release_lost() == []
    engine = sqlalchemy.create_engine(f"sqlite:///{tmp_path}/work.db")
    with engine.begin() as connection:
        connection.execute(sqlalchemy.text("UPDATE trial_heartbeats SET heartbeat = datetime('now', '-61 seconds')"))
    assert work.release_lost() == [first.key]


def test_a_metered_run_has_its_device_alone() -> None:
    with device_lock(SMALL.device, together=True) as first, device_lock(SMALL.device, together=True) as second:
        assert (first, second) == (True, True)
        with device_lock(SMALL.device, together=False) as alone:
            assert not alone
    for together in (True, False):
        with device_lock(SMALL.device, together=False) as alone, device_lock(SMALL.device, together=together) as other:
            assert (alone, other) == (True, False)


def test_a_run_waits_until_its_device_is_free(tmp_path: Path) -> None:
    store = database(tmp_path)
    planned(store)
    claimed: list[str] = []
    one = helper(store, None, claimed)
    lock = device_lock(SMALL.device, together=True)
    waited: list[int] = []

    def look(_: float) -> None:
        waited.append(len(claimed))
        lock.__exit__(None, None, None)

    one._sleep = look
    lock.__enter__()
    one.work()
    assert waited == [4]  # trials share the device
    assert [Task.of(key).kind for key in claimed] == ["trial"] * 4 + ["run"] * 4


def test_an_interrupted_trial_is_given_back(tmp_path: Path) -> None:
    class CtrlC(SilentObserver):
        def passed(self, progress: Progress) -> None:
            raise KeyboardInterrupt

    store = database(tmp_path)
    work = planned(store)
    one = helper(store, None, [])
    one._observer = CtrlC()
    with pytest.raises(KeyboardInterrupt):
        one.work()
    assert all(entry.waiting and entry.n_lost == 0 for entry in work.entries())
    assert len(work.entries()) == 8


def test_where_memory_runs_out_the_rest_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run_trial = shared.run_trial

    def scarce(*arguments: Any) -> Any:
        if arguments[1].label == "backprop" and arguments[3] == 1:
            raise RunInterruptedError("memory ran out", "memory")
        return run_trial(*arguments)

    monkeypatch.setattr(shared, "run_trial", scarce)
    run = done(tmp_path, QMC, open_store_of_directory)
    assert run.interrupted == ["backprop, trial 1: memory ran out"]
    assert {record.arm for record in run.directory.records()} == {"mono-forward"}
    monkeypatch.undo()
    monkeypatch.setattr(tasks, "LOCKS", tmp_path)
    assert done(tmp_path, QMC, open_store_of_directory).interrupted == []
    assert len(run.directory.records()) == 4


def test_a_task_that_ends_its_process_is_left_out_in_the_end(tmp_path: Path) -> None:
    store = database(tmp_path)
    work = planned(store)
    first = work.entries()[0]
    for _ in range(claims.MOST_BEGUN):
        (entry,) = (entry for entry in work.entries() if entry.key == first.key)
        claim = work.take(entry)
        assert claim is not None
        work.drop(claim)
        assert work.release_lost() == [first.key]
    one = helper(store, None, claimed := [])
    one.work()
    assert one.interrupted == ["backprop, trial 0: it was begun 5 times, and each time its process ended"]
    assert sorted(key for key in claimed if key.endswith("backprop")) == ["trial 0 1 backprop"]
    assert sum(entry.finished for entry in work.entries()) == 5


def test_a_directory_with_workers_is_not_run_alone(tmp_path: Path) -> None:
    run = comparison(tmp_path, QMC, None)
    facts, words = run.setting.facts, "has workers; give --storage journal too"
    with run.directory.opened(QMC, facts), RunDirectory(tmp_path).joined(facts), pytest.raises(RunDirectoryError, match=words):
        run.run()


def test_work_of_other_code_is_refused(tmp_path: Path) -> None:
    from bpfree.bench.published import code

    store = open_store_of_directory(tmp_path)
    Work(store, {"code": code()}, "").check_code()
    with pytest.raises(RunDirectoryError, match=r"was planned by other code \(torch 1.0, here "):
        Work(store, {"code": code() | {"torch": "1.0"}}, "").check_code()
