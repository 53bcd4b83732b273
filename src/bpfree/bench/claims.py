"""Tasks that several processes share: each is a trial of one study, which Optuna gives to one process.

A task is planned as a waiting trial; to claim it is to make it a running one, which the storage grants once. A claim that its
process gives back, or whose process is gone, becomes a failed trial, and its task is planned again. Where a task has several
trials that did not fail, the one with the lowest number counts, so that tasks may be planned by several processes at once.
"""

from __future__ import annotations

import os
import platform
import threading
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any

import optuna
import psutil
from optuna.exceptions import UpdateFinishedTrialError
from optuna.storages import BaseStorage
from optuna.storages._heartbeat import BaseHeartbeat
from optuna.trial import FrozenTrial, TrialState, create_trial

from bpfree.bench.storages import HEARTBEAT_S, Store

__all__ = ["BEAT", "MOST_BEGUN", "Claim", "Claims", "Entry", "beat", "expire"]

BEAT = "heartbeat"
"""Attribute by which a process behind a proxy reports; :mod:`bpfree.bench.proxy` makes a heartbeat of it."""

MOST_BEGUN = 5
"""How often a task is begun that ends the process that makes it."""

_KEY, _OWNER, _GIVEN_BACK = "task", "owner", "given back"

_held: set[tuple[str, int]] = set()
"""Claims that this process has in hand, by place and trial. What it had before an error is not among them."""


@dataclass(frozen=True)
class Claim:
    """A task that this process makes."""

    key: str
    trial_id: int


@dataclass(frozen=True)
class Entry:
    """Where a task stands.

    Attributes:
        owner: of a running or finished one: host, process, device.
        begun, ended: when; None where it was not.
        attributes: that it was finished with.
        n_lost: how often its process ended before it did.
    """

    key: str
    state: TrialState
    trial_id: int
    owner: Mapping[str, Any]
    begun: datetime | None
    ended: datetime | None
    attributes: Mapping[str, Any]
    n_lost: int

    @property
    def waiting(self) -> bool:
        """Whether it can be claimed."""
        return self.state == TrialState.WAITING

    @property
    def running(self) -> bool:
        """Whether some process makes it."""
        return self.state == TrialState.RUNNING

    @property
    def finished(self) -> bool:
        """Whether it is done."""
        return self.state == TrialState.COMPLETE


class Claims:
    """The tasks of one shared comparison.

    Args:
        study: whose trials they are.
        device: of this process, for those who look.
    """

    def __init__(self, store: Store, study: optuna.Study, device: str) -> None:
        self.store, self.study, self._device = store, study, device
        self._storage: BaseStorage = study._storage

    def plan(self, keys: Sequence[str]) -> None:
        """Add the tasks that are not there."""
        there = {_key(trial) for trial in self._trials() if trial.state != TrialState.FAIL}
        for key in keys:
            if key not in there:
                self.study.add_trial(create_trial(state=TrialState.WAITING, user_attrs={_KEY: key}))

    def entries(self) -> list[Entry]:
        """All tasks, in the order in which they were planned."""
        live: dict[str, FrozenTrial | None] = {}
        lost: dict[str, int] = {}
        for trial in self._trials():
            key = _key(trial)
            if trial.state == TrialState.FAIL:
                live.setdefault(key, None)
                lost[key] = lost.get(key, 0) + (_GIVEN_BACK not in trial.user_attrs)
            elif live.get(key) is None:
                live[key] = trial
        return [_entry(key, trial, lost.get(key, 0)) for key, trial in live.items() if trial is not None]

    def take(self, entry: Entry) -> Claim | None:
        """Claim a task; None where another process was faster."""
        if self.store.in_database:
            beat(self._storage, entry.trial_id)  # before it runs: a claim that never reported would not expire
        with self.store.claiming():
            if not self._run(entry.trial_id):
                return None
            _held.add((self.store.place, entry.trial_id))
            self._storage.set_trial_user_attr(entry.trial_id, _OWNER, _myself() | {"device": self._device})
        return Claim(entry.key, entry.trial_id)

    def _run(self, trial_id: int) -> bool:
        try:
            return self._storage.set_trial_state_values(trial_id, TrialState.RUNNING)
        except UpdateFinishedTrialError:
            return False

    def holds(self, claim: Claim) -> bool:
        """Whether the claim is still this process's: it may have expired."""
        return self._storage.get_trial(claim.trial_id).state == TrialState.RUNNING

    def finish(self, claim: Claim, **attributes: Any) -> None:
        """The task is done; without effect where the claim has expired."""
        with suppress(UpdateFinishedTrialError):
            for name, value in attributes.items():
                self._storage.set_trial_user_attr(claim.trial_id, name, value)
            self._storage.set_trial_state_values(claim.trial_id, TrialState.COMPLETE, [0.0])
        self.drop(claim)

    def drop(self, claim: Claim) -> None:
        """This process no longer works at it, whatever the storage says: it is released at the next look."""
        _held.discard((self.store.place, claim.trial_id))

    def give_back(self, claim: Claim) -> None:
        """The task is to be made again, here or elsewhere."""
        with suppress(UpdateFinishedTrialError):
            self._storage.set_trial_user_attr(claim.trial_id, _GIVEN_BACK, True)
            self._storage.set_trial_state_values(claim.trial_id, TrialState.FAIL)
        self.drop(claim)
        self.plan([claim.key])

    def release_lost(self) -> list[str]:
        """Plan the tasks again whose process is gone; returns them.

        A process of this machine is looked for. Of one elsewhere nothing is known in a journal; in a database its claim expires.
        """
        expire(self.study)
        with self.store.claiming():
            trials = self._trials()
            for trial in trials:
                if trial.state == TrialState.RUNNING and self._lost(trial):
                    with suppress(UpdateFinishedTrialError):
                        self._storage.set_trial_state_values(trial._trial_id, TrialState.FAIL)
                    trials = self._trials()
        live = {_key(trial) for trial in trials if trial.state != TrialState.FAIL}
        lost = [key for key in dict.fromkeys(map(_key, trials)) if key not in live]
        if lost:
            self.plan(lost)
        return lost

    def _lost(self, trial: FrozenTrial) -> bool:
        owner = trial.user_attrs.get(_OWNER)
        if owner is None:  # with the lock held nobody is between claim and name
            return not self.store.in_database
        if not _here(owner):
            return False
        if owner["pid"] == os.getpid():
            return (self.store.place, trial._trial_id) not in _held
        return not _alive(owner["pid"], owner["started"])

    def _trials(self) -> list[FrozenTrial]:
        return self.study.get_trials(deepcopy=False)

    @contextmanager
    def reporting(self, claim: Claim) -> Iterator[None]:
        """Report now and then, while the block runs, that this process is alive, where claims expire."""
        if not self.store.in_database:
            yield
            return
        over = threading.Event()

        def report() -> None:
            while not over.wait(HEARTBEAT_S):
                with suppress(Exception):  # the database is restarted: the next report will reach it
                    beat(self._storage, claim.trial_id)

        thread = threading.Thread(target=report, daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()


def beat(storage: BaseStorage, trial_id: int) -> None:
    """Report that the process of a claim is alive."""
    if isinstance(storage, BaseHeartbeat):
        storage.record_heartbeat(trial_id)
    else:
        with suppress(UpdateFinishedTrialError):
            storage.set_trial_user_attr(trial_id, BEAT, time.time())


def expire(study: optuna.Study) -> None:
    """End the claims that have not been reported for the time of grace; nothing where the storage has no heartbeat."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        optuna.storages.fail_stale_trials(study)


def _key(trial: FrozenTrial) -> str:
    return trial.user_attrs[_KEY]


def _entry(key: str, trial: FrozenTrial, n_lost: int) -> Entry:
    owner = trial.user_attrs.get(_OWNER, {})
    return Entry(
        key, trial.state, trial._trial_id, owner, trial.datetime_start, trial.datetime_complete, trial.user_attrs, n_lost
    )


@cache
def _namespace() -> int:
    """Of process numbers: two containers may share a host name."""
    with suppress(OSError):
        return Path("/proc/self/ns/pid").stat().st_ino
    return 0


def _myself() -> dict[str, Any]:
    """This process, as others can look for it."""
    process = psutil.Process()
    return {"host": platform.node(), "pids": _namespace(), "pid": os.getpid(), "started": process.create_time()}


def _here(owner: Mapping[str, Any]) -> bool:
    return owner["host"] == platform.node() and owner["pids"] == _namespace()


def _alive(pid: int, started: float) -> bool:
    """Whether a process is there, and the same that once was."""
    try:
        process = psutil.Process(pid)
        return abs(process.create_time() - started) < 1.0 and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False
