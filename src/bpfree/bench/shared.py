"""The work of a comparison in any number of processes, on any number of machines: each claims a task, makes it, and looks again.

The trials of the one search are tasks, and the measured cells; under a ruleset of studies a task is a study of an arm. What a
trial tries, and its seed, follow from its number, so the result is that of one process wherever trials were made. A measured run
has its device alone: other tasks of this machine wait for it. Trials share a device, and are not metered.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Literal

import torch

from bpfree.bench.arm import Arm
from bpfree.bench.causes import raise_on
from bpfree.bench.claims import MOST_BEGUN, Claim, Claims, Entry
from bpfree.bench.observer import Observer
from bpfree.bench.results import Results
from bpfree.bench.runs import measure_into
from bpfree.bench.setting import Setting
from bpfree.bench.studies import ArmStudy
from bpfree.bench.study import ArmSearch, run_trial
from bpfree.bench.tasks import Task, device_lock
from bpfree.bench.worker import unmetered
from bpfree.errors import RunInterruptedError
from bpfree.records import Record

__all__ = ["LOOK_S", "Sharing"]

LOOK_S = 0.5
"""Seconds between two looks for a task that can be claimed."""

AT_LEAST = 2
"""Processes that a shared search is said to have had at once: others may have joined at any time."""


class Sharing:
    """One of the processes.

    Attributes:
        interrupted: what was left out here because memory ran out, or since it ends the process that makes it.
    """

    def __init__(
        self,
        settings: Sequence[Setting],
        arms: Sequence[Arm],
        claims: Claims,
        results: Results,
        observer: Observer,
        say: Callable[[str], None],
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._settings = {setting.split_seed: setting for setting in settings}
        self._arms = {arm.label: arm for arm in arms}
        self._claims, self._results, self._observer, self._say, self._sleep = claims, results, observer, say, sleep
        self._searches: dict[tuple[int, str], ArmSearch] = {}
        self._skipped: set[str] = set()
        self._n_trials = 0
        self.interrupted: list[str] = []

    def work(self) -> None:
        """Make tasks until all are finished, or none that is left can be made.

        Raises:
            StorageError: the storage is lost, or cannot be written.
            RunInterruptedError: the device was lost.
            KeyboardInterrupt: the task in hand has been given back.
        """
        patient = self._claims.store.patient
        self._release()
        while True:
            entries = patient(self._claims.entries)
            self._n_trials = sum(entry.running and Task.of(entry.key).kind == "trial" for entry in entries)
            made = self._make_one(entries)
            if made != "made" and self._release():
                continue
            if made == "none" and not any(entry.running for entry in entries):
                return
            if made != "made":
                self._sleep(LOOK_S)

    def _release(self) -> bool:
        """Whether there were tasks whose process is gone; they can be claimed again."""
        lost = self._claims.store.patient(self._claims.release_lost)
        for key in lost:
            self._say(f"{Task.of(key).words}: its process is gone; it is made again")
        return bool(lost)

    def _make_one(self, entries: Sequence[Entry]) -> Literal["made", "busy", "none"]:
        """Make the first task that can be claimed."""
        ready, busy = _Ready(self._search), False
        for entry in entries:
            task = Task.of(entry.key)
            if not entry.waiting or entry.key in self._skipped or self._ends_processes(entry):
                continue
            if not self._claims.store.patient(lambda task=task: self._is_ready(task, ready)):
                continue
            with device_lock(self._settings[task.split].device, together=task.kind == "trial") as free:
                if not free:
                    busy = True
                elif (claim := self._claims.store.patient(lambda entry=entry: self._claims.take(entry))) is not None:
                    self._make(task, claim)
                    return "made"
                else:
                    busy = True  # another process has it
        return "busy" if busy else "none"

    @property
    def left_out(self) -> set[str]:
        """Arms of which something was left out, by label."""
        return {Task.of(key).arm for key in self._skipped}

    def _ends_processes(self, entry: Entry) -> bool:
        if entry.n_lost < MOST_BEGUN:
            return False
        self._skip(entry.key, f"it was begun {entry.n_lost} times, and each time its process ended")
        return True

    def _skip(self, key: str, why: str) -> None:
        self._skipped.add(key)
        self.interrupted.append(f"{Task.of(key).words}: {why}")
        self._say(f"{Task.of(key).words}: interrupted ({why})")

    def _is_ready(self, task: Task, ready: _Ready) -> bool:
        if task.kind == "study":
            return True
        return ready.trial(task) if task.kind == "trial" else ready.run(task)

    def _search(self, task: Task) -> ArmSearch:
        place = (task.split, task.arm)
        if place not in self._searches:
            setting = self._settings[task.split]
            self._searches[place] = ArmSearch(setting, self._arms[task.arm], self._claims.store.storage)
        return self._searches[place]

    def _make(self, task: Task, claim: Claim) -> None:
        self._results.last = None
        try:
            with self._claims.reporting(claim):
                if task.kind == "trial":
                    cause = self._trial(task, claim)
                else:
                    cause = None
                    self._run(task)
        except BaseException as error:
            self._undone(claim)
            if not isinstance(error, RunInterruptedError) or error.cause != "memory":
                raise
            why = str(error)
        else:
            self._finish(claim)
            raise_on(cause)
            return
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        self._skip(claim.key, why)

    def _finish(self, claim: Claim) -> None:
        self._claims.store.patient(lambda: self._claims.finish(claim, **self._results.attributes()))

    def _undone(self, claim: Claim) -> None:
        """A run that failed has its record, whatever it did to its process."""
        made = self._results.last is not None and self._results.last.status != "interrupted"
        with suppress(Exception):  # the first error is the one to report; a claim that cannot be given back is released later
            if made:
                self._claims.finish(claim, **self._results.attributes())
            else:
                self._claims.give_back(claim)
        self._claims.drop(claim)

    def _trial(self, task: Task, claim: Claim) -> Exception | None:
        search, patient = self._search(task), self._claims.store.patient
        if task.number not in patient(search.pending):
            return None
        setting = unmetered(search.setting)
        self._observer.begin(f"search {task.arm}, trial {task.number}", setting.arm_rules(search.arm).trial_passes)
        tried, problem = run_trial(
            setting, search.arm, patient(lambda: search.ask(task.number)), task.number, self._observer.passed
        )
        tried = replace(tried, at_once=max(AT_LEAST, self._n_trials + 1))

        def tell() -> None:
            if self._claims.holds(claim) and task.number in search.pending():
                search.tell(tried)

        patient(tell)
        self._say(f"search {task.arm}, trial {task.number}: validation accuracy {tried.val_accuracy:.4f}")
        return problem

    def _run(self, task: Task) -> None:
        setting, arm = self._settings[task.split], self._arms[task.arm]
        if self._results.has(setting.arm_rules(arm).cell(task.number)):
            return
        self._observer.begin(task.words, setting.arm_rules(arm).passes)
        if task.kind == "study":
            record = self._study(setting, arm, task.number)
        else:
            tuned = self._claims.store.patient(self._search(task).tuned)
            record = measure_into(self._results, setting, arm, tuned.best, task.number, tuned.cost, on_pass=self._observer.passed)
        came = record.status if record.test_accuracy is None else f"test accuracy {record.test_accuracy:.4f}"
        self._say(f"{task.words}: {came}")

    def _study(self, setting: Setting, arm: Arm, number: int) -> Record:
        directory = self._results.directory
        with tempfile.TemporaryDirectory() as folder:
            states = directory.checkpoints_path if directory is not None else Path(folder)
            study = ArmStudy(setting, arm, number, self._claims.store.storage, states)
            for index in range(study.n_done, setting.arm_rules(arm).trials):
                study.run_trial(index, on_pass=self._observer.passed, on_trace=self._results.keep_trace)
            record = study.measured()
            self._results.append(record)
            study.close()
        return record


class _Ready:
    """Which tasks can be made, by the trials that are finished at one look."""

    def __init__(self, search: Callable[[Task], ArmSearch]) -> None:
        self._search = search
        self._pending: dict[tuple[int, str], list[int]] = {}

    def _left(self, task: Task) -> list[int]:
        place = (task.split, task.arm)
        if place not in self._pending:
            self._pending[place] = self._search(task).pending()
        return self._pending[place]

    def trial(self, task: Task) -> bool:
        """Where it is proposed from those before it, they are finished."""
        return not self._search(task).in_order or self._left(task)[:1] in ([], [task.number])

    def run(self, task: Task) -> bool:
        """The search of its arm is finished."""
        return not self._left(task)
