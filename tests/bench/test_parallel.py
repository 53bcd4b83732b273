"""A search in several processes: the same trials, the same values, and nothing lost.

Most tests let a thread stand for the other process, with the same messages: a process that imports torch takes seconds to start.
"""

from __future__ import annotations

import dataclasses
import os
import signal
import threading
from collections.abc import Callable
from multiprocessing import Pipe
from pathlib import Path
from typing import Any

import optuna
import pytest

from bpfree import data, rulesets
from bpfree.algorithms import MonoForward
from bpfree.bench import ComparisonRun, RunDirectory, SilentObserver, compare, parallel, parse_arms, workers
from bpfree.bench.outcome import AT_ONCE, Tuned
from bpfree.bench.study import open_storage
from bpfree.bench.worker import serve
from bpfree.bench.workers import Worker, Workers
from bpfree.errors import RunInterruptedError, StorageError
from bpfree.meter import Meter, ReplaySource
from bpfree.train import Progress

from .test_measure import setting
from .test_world import breaking

SMALL = setting(net="mlp:1x4", data=data.load("synthetic:n=300:inputs=4:classes=3"))
QMC = SMALL.ruleset.with_changes(trials=4, passes_per_trial=2, max_passes=2)
TPE = QMC.with_changes({"search.sampler": {"name": "tpe", "n_startup_trials": 2}})
RANDOM = QMC.with_changes({"search.sampler": {"name": "random"}})
GRID = QMC.with_changes({"search.sampler": {"name": "grid"}})
ARMS = "backprop,mono-forward"


class ThreadWorker(Worker):
    """A thread in place of the process."""

    def __init__(self) -> None:
        self.connection, theirs = Pipe()
        self.task, self.ready = None, False
        self.thread = threading.Thread(target=serve, args=(theirs,), daemon=True)
        self.thread.start()

    def end(self) -> None:
        self.connection.close()
        self.thread.join()


class Awaited(Workers):
    """Waits until all can be given a trial: else this process would have made the trials of a test before."""

    def __enter__(self) -> Workers:
        super().__enter__()
        while not all(worker.ready for worker in self.all):
            assert list(self.messages(waiting=True)) == []
        return self


@pytest.fixture(autouse=True)
def _awaited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parallel, "Workers", Awaited)


@pytest.fixture
def in_threads(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Threads stand for processes; returns the numbers of the trials that they were given."""
    given: list[int] = []

    class Noting(ThreadWorker):
        def give(self, task: Any) -> None:
            given.append(task.index)
            super().give(task)

    monkeypatch.setattr(workers, "Worker", Noting)
    return given


def comparison(place: Path, rules: rulesets.Ruleset, jobs: int | None, **named: Any) -> ComparisonRun:
    used = dataclasses.replace(SMALL, ruleset=rules, meter=named.get("meter", SMALL.meter), costs={})
    arms, observer = parse_arms(named.get("arms", ARMS)), named.get("observer", SilentObserver())
    return ComparisonRun(used, arms, (0,), RunDirectory(place), observer, jobs=jobs)


def tune(place: Path, rules: rulesets.Ruleset, jobs: int | None, **named: Any) -> dict[str, Tuned]:
    run = comparison(place, rules, jobs, **named)
    with run.directory.opened(rules, run.setting.facts):
        return run.tune()


def journal(place: Path) -> dict[str, list[tuple[Any, ...]]]:
    """What the journal has of every study, in its order: all but times."""
    storage = open_storage(place / "study.journal")
    return {
        name: [
            (trial.user_attrs["seed"], trial.params, trial.value, trial.user_attrs["passes"], trial.user_attrs["diverged"],
             trial.user_attrs.get("failed"))
            for trial in optuna.load_study(study_name=name, storage=storage).trials
        ]
        for name in optuna.get_all_study_names(storage)
    }  # fmt: skip


def check_same(place: Path, whole: Path) -> None:
    """The same trials in both journals, in any order."""
    one, other = journal(place), journal(whole)
    assert one.keys() == other.keys()
    for name, trials in other.items():
        assert sorted(one[name], key=str) == sorted(trials, key=str)


def found(tuned: dict[str, Tuned]) -> dict[str, Any]:
    return {label: (one.best, one.best_val_accuracy, one.row["best_trial"], one.row["tried"]) for label, one in tuned.items()}


def said(place: Path) -> str:
    return (place / "log.txt").read_text()


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with the searches under QMC, in one process."""
    place = tmp_path_factory.mktemp("alone")
    tune(place, QMC, 1)
    return place


@pytest.mark.parametrize("rules", [QMC, RANDOM, GRID, TPE], ids=["qmc", "random", "grid", "tpe"])
def test_two_make_the_same_trials_and_find_the_same_values(
    rules: rulesets.Ruleset, tmp_path: Path, in_threads: list[int]
) -> None:
    alone = tune(tmp_path / "alone", rules, 1)
    assert in_threads == []
    both = tune(tmp_path / "both", rules, 2)
    assert in_threads
    assert found(both) == found(alone)
    check_same(tmp_path / "both", tmp_path / "alone")
    if rules is TPE:
        for trials in journal(tmp_path / "both").values():
            assert trials == sorted(trials, key=lambda trial: trial[0])


def test_with_tpe_one_arm_needs_no_second_process(tmp_path: Path, in_threads: list[int]) -> None:
    tune(tmp_path / "R", TPE, 2, arms="backprop")
    assert in_threads == []
    assert "the sampler tpe proposes a trial from those before it" in said(tmp_path / "R")
    assert "--jobs 2 uses 1" in said(tmp_path / "R")


def test_with_tpe_as_many_processes_as_arms_are_used_in_silence(tmp_path: Path, in_threads: list[int]) -> None:
    tune(tmp_path / "R", TPE, 2)
    assert "the sampler tpe proposes" not in said(tmp_path / "R")


def test_what_was_started_early_does_not_wait_behind_the_search(
    tmp_path: Path, in_threads: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing of the search is left when measured runs begin; nor where one process is enough."""
    discarded: list[str] = []
    monkeypatch.setattr(workers, "discard_waiting", lambda: discarded.append("at the end of the processes"))
    monkeypatch.setattr(compare, "discard_waiting", lambda: discarded.append("one process"))
    tune(tmp_path / "two", QMC, 2)
    tune(tmp_path / "one", TPE, 2, arms="backprop")
    assert discarded == ["at the end of the processes", "one process"]


@pytest.mark.slow  # a new process imports torch: 3 to 10 s
def test_a_process_that_is_killed_costs_no_trial(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, alone: Path) -> None:
    """With a real process, which takes some seconds to start: it makes one trial, and is killed in its second."""
    given: list[int] = []
    plain = Worker.give

    def give(self: Worker, task: Any) -> None:
        given.append(task.index)
        assert self.pid is not None
        if len(given) == 2:
            os.kill(self.pid, signal.SIGSTOP)  # it cannot have ended the trial before it is killed
        plain(self, task)
        if len(given) == 2:
            os.kill(self.pid, signal.SIGKILL)

    make = parallel._Searching._make

    def later(self: Any, task: Any) -> None:
        while len(given) < 2:
            self._look(waiting=True)
        make(self, task)

    monkeypatch.setattr(Worker, "give", give)
    monkeypatch.setattr(parallel._Searching, "_make", later)  # this process would have made all trials meanwhile
    both = tune(tmp_path / "both", QMC, 2)
    assert found(both) == found(tune(alone, QMC, 1))
    check_same(tmp_path / "both", alone)
    assert f"process of trial {given[1]} was killed (signal 9); the trial is run again" in said(tmp_path / "both")
    for one in both.values():
        assert one.cost is not None
        assert (one.row["trials_at_once"], one.cost.joules, one.cost.method) == (2, None, AT_ONCE)


class Pressing(SilentObserver):
    """Ctrl-C when that many trials are in the journal."""

    def __init__(self, place: Path, n_trials: int) -> None:
        self.journal, self.n_trials = place / "study.journal", n_trials

    def passed(self, progress: Progress) -> None:
        if self.journal.read_bytes().count(b'"seed"') >= self.n_trials:
            raise KeyboardInterrupt


@pytest.mark.parametrize("jobs", [1, 2])
def test_an_interrupted_search_keeps_its_trials_and_is_resumed_by_any_number(
    jobs: int, tmp_path: Path, in_threads: list[int], alone: Path
) -> None:
    with pytest.raises(KeyboardInterrupt):
        tune(tmp_path / "R", QMC, 2, observer=Pressing(tmp_path / "R", 3))
    before = [trial for trials in journal(tmp_path / "R").values() for trial in trials]
    assert 3 <= len(before) < 8
    in_threads.clear()
    assert found(tune(tmp_path / "R", QMC, jobs)) == found(tune(alone, QMC, 1))
    assert bool(in_threads) == (jobs == 2)
    check_same(tmp_path / "R", alone)


def test_a_trial_that_raises_in_another_process_is_the_same_failed_trial(tmp_path: Path, in_threads: list[int]) -> None:
    with breaking(MonoForward, ValueError("no finite threshold"), after=0):
        alone, both = tune(tmp_path / "alone", QMC, 1), tune(tmp_path / "both", QMC, 2)
    assert in_threads
    assert found(both) == found(alone)
    assert both["mono-forward"].row["failed_trials"] == 4
    check_same(tmp_path / "both", tmp_path / "alone")


@pytest.mark.parametrize("enough", [False, True], ids=["and not alone either", "but not alone"])
def test_where_memory_runs_out_beside_others_the_trials_are_made_alone(
    enough: bool, tmp_path: Path, in_threads: list[int], alone: Path
) -> None:
    plain = MonoForward.learn

    def learn(self: Any, *args: Any) -> Any:
        if not enough or threading.active_count() > before:
            raise MemoryError
        return plain(self, *args)

    before = threading.active_count()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(MonoForward, "learn", learn)
        run = comparison(tmp_path / "R", QMC, 2)
        with run.directory.opened(QMC, run.setting.facts):
            run.run()
    assert in_threads
    assert "it is run again alone" in said(tmp_path / "R")
    assert [why.partition(":")[0] for why in run.interrupted] == ([] if enough else ["search mono-forward"])
    assert found(tune(tmp_path / "R", QMC, 2)) == found(tune(alone, QMC, 1))
    check_same(tmp_path / "R", alone)


@pytest.mark.parametrize(
    ("error", "raised"),
    [(RuntimeError("CUDA error: unspecified launch failure"), RunInterruptedError), (OSError(28, "full"), StorageError)],
    ids=["device", "disk"],
)
def test_what_ends_a_search_ends_it_from_another_process(
    error: Exception, raised: type[Exception], tmp_path: Path, in_threads: list[int], alone: Path
) -> None:
    with breaking(MonoForward, error, after=0), pytest.raises(raised):
        tune(tmp_path / "R", QMC, 2)
    assert found(tune(tmp_path / "R", QMC, 2)) == found(tune(alone, QMC, 1))
    assert in_threads


def test_warnings_of_another_process_come_once(tmp_path: Path, in_threads: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    import warnings

    from bpfree.bench import worker

    plain: Callable[..., Any] = worker.run_trial

    def warning(*args: Any) -> Any:
        warnings.warn("an odd net", UserWarning, stacklevel=1)
        return plain(*args)

    monkeypatch.setattr(worker, "run_trial", warning)
    with pytest.warns(UserWarning, match="an odd net") as caught:
        tune(tmp_path / "R", QMC, 2)
    assert len(in_threads) > 1
    assert len([each for each in caught if "odd net" in str(each.message)]) >= 1


class Bar(SilentObserver):
    """Adds up the passes that it is told of, as a progress bar does."""

    def __init__(self) -> None:
        self.budget = self.total = 0
        self.stages: list[str] = []

    def begin(self, stage: str, n_passes: int) -> None:
        self.stages.append(stage)
        self.budget = n_passes

    def passed(self, progress: Progress) -> None:
        self.budget -= 1
        self.total += 1

    def advance(self, n_passes: int) -> None:
        self.total += n_passes

    def end(self, line: str) -> None:
        self.total += max(0, self.budget)


@pytest.mark.parametrize("jobs", [1, 2, None])
def test_the_bar_ends_at_its_end(
    jobs: int | None, tmp_path: Path, in_threads: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    from bpfree.bench import compare

    monkeypatch.setattr(compare, "may_default", lambda _: True)
    monkeypatch.setattr(compare, "default_jobs", lambda expected_s, n: 2 if expected_s > 0 and n == 7 else 1)
    bar = Bar()
    tune(tmp_path / "R", QMC, jobs, observer=bar)
    assert bar.total == 2 * 4 * 2
    assert ("search, 2 processes" in bar.stages) == bool(in_threads) == (jobs != 1)


def test_joules_of_trials_at_once_are_null_with_their_reason(tmp_path: Path, in_threads: list[int]) -> None:
    seconds = iter(range(10**6))
    metered = Meter("cpu", [ReplaySource([0.0, 1e6], [0.0, 2e6], clock=lambda: float(next(seconds)))])
    run = comparison(tmp_path / "R", QMC, 2, meter=metered)
    with run.directory.opened(QMC, run.setting.facts):
        records = run.run()
    assert in_threads
    for record in records:
        assert record.energy.joules is not None
        assert record.tuning_energy is not None
        assert record.tuning_energy.joules is None
        assert record.reasons["tuning_energy"] == AT_ONCE


def test_studies_are_measured_runs_and_stay_alone(tmp_path: Path, in_threads: list[int]) -> None:
    rules = rulesets.load("claim").with_changes(studies=2, trials=1, max_passes=1)
    run = comparison(tmp_path / "R", rules, 2)
    with run.directory.opened(rules, run.setting.facts):
        run.run()
    assert in_threads == []
    assert "--jobs 2 is without effect: under ruleset claim+changed every trial is a measured run" in said(tmp_path / "R")
