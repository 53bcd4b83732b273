"""Tasks that are claimed: what is written into which trial, in which order, and when a claim counts as lost."""

from __future__ import annotations

import os
import platform
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import optuna
import psutil
import pytest
from optuna.exceptions import UpdateFinishedTrialError
from optuna.storages import InMemoryStorage
from optuna.trial import TrialState

from bpfree.bench import claims
from bpfree.bench.claims import Claim, Claims, Entry
from bpfree.bench.storages import Store

ANY: Any = None
NOBODY = {"host": platform.node(), "pids": claims._namespace(), "pid": 2**22 + 1, "started": 0.0}


class Noting(InMemoryStorage):
    """A storage that notes what is written."""

    def __init__(self) -> None:
        super().__init__()
        self.noted: list[Any] = []

    def set_trial_user_attr(self, trial_id: int, key: str, value: Any) -> None:
        self.noted.append((trial_id, key))
        super().set_trial_user_attr(trial_id, key, value)

    def set_trial_state_values(self, trial_id: int, state: TrialState, values: Any = None) -> bool:
        self.noted.append((trial_id, state.name, values))
        return super().set_trial_state_values(trial_id, state, values)


class Place:
    """A storage and the tasks in it."""

    def __init__(self, *keys: str, in_database: bool = False) -> None:
        self.storage = Noting()
        study = optuna.create_study(storage=self.storage)
        self.claims = Claims(Store(self.storage, f"place {id(self)}", self._claiming, in_database), study, "cuda:3")
        self.claims.plan(keys)

    @contextmanager
    def _claiming(self) -> Iterator[None]:
        self.storage.noted.append("lock")
        yield
        self.storage.noted.append("free")

    def take(self, index: int = 0) -> Claim:
        claim = self.claims.take(self.claims.entries()[index])
        assert claim is not None
        self.storage.noted.clear()
        return claim

    def standing(self) -> list[tuple[str, int, str, int]]:
        return [(each.key, each.trial_id, each.state.name, each.n_lost) for each in self.claims.entries()]


def test_how_often_a_task_is_begun_and_by_what_a_worker_reports() -> None:
    assert (claims.MOST_BEGUN, claims.BEAT) == (5, "heartbeat")


def test_only_tasks_that_are_not_there_are_planned_and_an_ended_one_keeps_its_turn() -> None:
    place = Place("a", "b")
    place.claims.plan(["b", "c", "a"])
    assert place.standing() == [("a", 0, "WAITING", 0), ("b", 1, "WAITING", 0), ("c", 2, "WAITING", 0)]
    assert [trial.user_attrs for trial in place.claims.study.trials] == [{"task": "a"}, {"task": "b"}, {"task": "c"}]
    for n_lost in (1, 2):
        place.storage.set_trial_state_values(0 if n_lost == 1 else 3, TrialState.FAIL)
        assert [each[0] for each in place.standing()] == ["b", "c"]
        place.claims.plan(["a", "b"])
        assert place.standing()[0] == ("a", 2 + n_lost, "WAITING", n_lost)
    place.claims.study.add_trial(optuna.trial.create_trial(state=TrialState.FAIL, user_attrs={"task": "b"}))
    assert place.standing()[1] == ("b", 1, "WAITING", 1), "a later trial that failed takes nothing from one that lives"


def test_an_entry_says_who_has_the_task_and_since_when() -> None:
    place = Place("a", "b")
    first, second = place.claims.entries()
    assert (first.owner, first.begun, first.ended, dict(first.attributes)) == ({}, None, None, {"task": "a"})
    claim = place.take()
    place.claims.finish(claim, record="r")
    first, second = place.claims.entries()
    me = psutil.Process()
    assert first.owner == {
        "host": platform.node(), "pids": Path("/proc/self/ns/pid").stat().st_ino, "pid": os.getpid(), "started": me.create_time(),
        "device": "cuda:3",
    }  # fmt: skip
    trial = place.claims.study.trials[0]
    assert (first.begun, first.ended, trial.value) == (trial.datetime_start, trial.datetime_complete, 0.0)
    assert first.ended is not None
    assert first.attributes["record"] == "r"
    assert [(each.waiting, each.running, each.finished) for each in (first, second)] == [
        (False,) * 2 + (True,),
        (True,) + (False,) * 2,
    ]


@pytest.mark.parametrize("in_database", [False, True])
def test_a_claim_is_taken_under_the_lock(in_database: bool) -> None:
    place = Place("a", in_database=in_database)
    entry = place.claims.entries()[0]
    beats = [(0, "heartbeat")] if in_database else []
    assert place.claims.take(entry) == Claim("a", 0)
    assert place.storage.noted == [*beats, "lock", (0, "RUNNING", None), (0, "owner"), "free"]
    place.storage.noted.clear()
    assert place.claims.take(entry) is None, "another was faster"
    assert place.storage.noted == [*beats, "lock", (0, "RUNNING", None), "free"]
    assert place.claims.holds(Claim("a", 0))
    place.storage.set_trial_state_values(0, TrialState.COMPLETE, [0.0])
    assert place.claims.take(entry) is None, "it is finished"
    assert not place.claims.holds(Claim("a", 0))


def test_what_is_finished_has_its_attributes_before_its_state() -> None:
    place = Place("a", "b")
    claim = place.take()
    place.claims.finish(claim, record="r", environment="e")
    assert place.storage.noted == [(0, "record"), (0, "environment"), (0, "COMPLETE", [0.0])]
    assert (place.claims.store.place, 0) not in claims._held
    claim = place.take(1)
    place.storage.set_trial_state_values(1, TrialState.FAIL)
    place.claims.finish(claim)
    assert (place.claims.store.place, 1) not in claims._held, "too late, but no longer in hand"


def test_what_is_given_back_is_planned_again_once() -> None:
    place = Place("a", "b")
    place.claims.give_back(place.take())
    assert place.storage.noted == [(0, "given back"), (0, "FAIL", None)]
    assert place.claims.study.trials[0].user_attrs["given back"] is True
    assert place.standing() == [("a", 2, "WAITING", 0), ("b", 1, "WAITING", 0)]
    assert (place.claims.store.place, 0) not in claims._held
    claim = place.take(1)
    place.storage.set_trial_state_values(1, TrialState.FAIL)
    place.claims.give_back(claim)
    assert place.standing()[1] == ("b", 3, "WAITING", 1), "it had expired: that counts as lost, and is planned again"
    assert (place.claims.store.place, 1) not in claims._held


def test_lost_claims_are_looked_for_under_the_lock(monkeypatch: pytest.MonkeyPatch) -> None:
    place = Place("a", "b", "c", "d")
    noted = place.storage.noted
    monkeypatch.setattr(claims, "expire", lambda study: noted.append(study))
    for index in (2, 0, 1):
        place.take(index)
    lost = {0, 2}
    monkeypatch.setattr(place.claims, "_lost", lambda trial: trial._trial_id in lost)
    assert place.claims.release_lost() == ["a", "c"]
    assert noted == [place.claims.study, "lock", (0, "FAIL", None), (2, "FAIL", None), "free"]
    assert place.standing() == [("a", 4, "WAITING", 1), ("b", 1, "RUNNING", 0), ("c", 5, "WAITING", 1), ("d", 3, "WAITING", 0)]
    lost.clear()
    assert place.claims.release_lost() == []
    assert len(place.claims.study.trials) == 6


def test_a_claim_that_was_finished_meanwhile_is_not_released(monkeypatch: pytest.MonkeyPatch) -> None:
    place = Place("a")
    place.take()

    def lost(trial: Any) -> bool:
        place.storage.set_trial_state_values(0, TrialState.COMPLETE, [0.0])
        return True

    monkeypatch.setattr(place.claims, "_lost", lost)
    assert place.claims.release_lost() == []


@pytest.mark.parametrize(
    ("owner", "in_database", "expected"),
    [
        (None, False, True),
        (None, True, False),
        (NOBODY, True, True),
        (NOBODY | {"host": "elsewhere"}, False, False),
        (NOBODY | {"pids": 0}, False, False),
        (NOBODY | {"pid": os.getpid()}, False, True),
        (NOBODY | {"pid": os.getppid(), "started": psutil.Process(os.getppid()).create_time()}, False, False),
        (NOBODY | {"pid": os.getppid()}, False, True),
    ],
    ids=["no name", "no name yet", "gone", "elsewhere", "another container", "dropped", "alive", "another of its number"],
)
def test_which_claims_are_lost(owner: dict[str, Any] | None, in_database: bool, expected: bool) -> None:
    place = Place(in_database=in_database)
    trial: Any = SimpleNamespace(user_attrs={} if owner is None else {"owner": owner}, _trial_id=7)
    assert place.claims._lost(trial) is expected


def test_a_claim_in_hand_is_not_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    place = Place("a", "b")
    first, _ = place.take(0), place.take(1)
    assert place.claims.release_lost() == []
    place.claims.drop(first)
    assert place.claims.release_lost() == ["a"]
    assert place.claims.release_lost() == []


@pytest.mark.parametrize(
    ("created", "status", "expected"),
    [(10.0, "running", True), (10.9, "running", True), (11.0, "running", False), (9.1, "running", True), (9.0, "running", False),
     (10.0, psutil.STATUS_ZOMBIE, False), (None, "running", False)],
)  # fmt: skip
def test_the_same_process_began_at_the_same_second(
    created: float | None, status: str, expected: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def process(pid: int) -> Any:
        if created is None:
            raise psutil.NoSuchProcess(pid)
        return SimpleNamespace(create_time=lambda: created, status=lambda: status)

    monkeypatch.setattr(claims.psutil, "Process", process)
    assert claims._alive(5, 10.0) is expected


def test_without_a_namespace_of_processes_it_is_zero(monkeypatch: pytest.MonkeyPatch) -> None:
    def nowhere(path: str) -> Any:
        raise OSError

    monkeypatch.setattr(claims, "Path", nowhere)
    assert claims._namespace.__wrapped__() == 0


@pytest.mark.parametrize("in_database", [False, True])
def test_a_process_reports_while_it_works(in_database: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    noted: list[Any] = []

    class Event:
        left = 3

        def wait(self, seconds: float) -> bool:
            noted.append(f"wait {seconds}")
            self.left -= 1
            return self.left == 0

        def set(self) -> None:
            noted.append("set")

    class Thread:
        def __init__(self, target: Any, daemon: bool) -> None:
            self.start, self.join = target, lambda: noted.append(f"join {daemon}")

    def beat(storage: Any, trial_id: int) -> None:
        noted.append(f"beat {trial_id}")
        raise ValueError  # the next report comes all the same

    monkeypatch.setattr(claims, "threading", SimpleNamespace(Event=Event, Thread=Thread))
    monkeypatch.setattr(claims, "beat", beat)
    with pytest.raises(ZeroDivisionError), Place(in_database=in_database).claims.reporting(Claim("a", 4)):
        noted.append("work")
        raise ZeroDivisionError
    reports = ["wait 10", "beat 4", "wait 10", "beat 4", "wait 10"]
    assert noted == ([*reports, "work", "set", "join True"] if in_database else ["work"])


def test_a_report_is_a_heartbeat_or_an_attribute(monkeypatch: pytest.MonkeyPatch) -> None:
    beats: list[int] = []

    class Beating(InMemoryStorage, claims.BaseHeartbeat):
        def record_heartbeat(self, trial_id: int) -> None:
            beats.append(trial_id)

    monkeypatch.setattr(Beating, "__abstractmethods__", frozenset())  # the other methods are not called
    claims.beat(Beating(), 3)
    assert beats == [3]
    monkeypatch.setattr(claims, "time", SimpleNamespace(time=lambda: 12.5))
    place = Place("a")
    claims.beat(place.storage, 0)
    assert place.claims.study.trials[0].user_attrs == {"task": "a", "heartbeat": 12.5}
    place.storage.set_trial_state_values(0, TrialState.FAIL)
    claims.beat(place.storage, 0)  # too late, and no error
    with pytest.raises(UpdateFinishedTrialError):
        place.storage.set_trial_user_attr(0, "x", 1)


def test_claims_expire_without_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    ended: list[Any] = []

    def fail(study: Any) -> None:
        warnings.warn("new", optuna.exceptions.ExperimentalWarning, stacklevel=1)
        ended.append(study)

    monkeypatch.setattr(optuna.storages, "fail_stale_trials", fail)
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        claims.expire(study := SimpleNamespace())  # type: ignore[arg-type]
    assert (ended, seen) == ([study], [])


def test_states() -> None:
    each = {state: Entry("a", state, 0, {}, None, None, {}, 0) for state in TrialState}
    assert [state.name for state in each if each[state].waiting] == ["WAITING"]
    assert [state.name for state in each if each[state].running] == ["RUNNING"]
    assert [state.name for state in each if each[state].finished] == ["COMPLETE"]
