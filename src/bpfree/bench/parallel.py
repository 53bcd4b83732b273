"""The searches of several arms in several processes: the same trials, and the same values found, as one after another.

What a trial tries and its seed follow from its number, so trials of all arms may run at once. Where a trial is proposed from
those before it (TPE), the trials of an arm run one after another, and only arms run at once. This process writes the journal, and
makes trials itself: it looks at what the others say between its own passes. The threads of torch are divided among the processes;
with another number of threads in each, sums may be rounded in another way.

Trials that run at once are not metered: the joules of the device would be counted in each of them. Their seconds overlap, and
each may be longer than it would be alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace

import torch

from bpfree.bench.causes import raise_on
from bpfree.bench.observer import Observer
from bpfree.bench.outcome import Tried
from bpfree.bench.study import ArmSearch, run_trial
from bpfree.bench.worker import Outcome, Passes, Task, unmetered
from bpfree.bench.workers import Died, Worker, Workers
from bpfree.errors import BpfreeError, RunInterruptedError
from bpfree.train import Progress

__all__ = ["n_at_once", "search_at_once"]


@dataclass
class _ArmTrials:
    """The trials of one arm that are left.

    ``waiting`` are not begun, ``running`` are being made by some process; ``alone``: the caller makes the others, one after
    another.
    """

    search: ArmSearch
    waiting: list[int] = field(default_factory=list)
    running: int = 0
    alone: bool = False

    def take(self) -> Task | None:
        if self.alone or not self.waiting or (self.running and self.search.in_order):
            return None
        index = self.waiting[0]
        task = Task(self.search.arm, index, self.search.ask(index))
        del self.waiting[0]
        self.running += 1
        return task


def n_at_once(searches: Sequence[ArmSearch]) -> int:
    """How many of the trials that are left could run at the same time."""
    return sum(min(len(search.pending()), 1) if search.in_order else len(search.pending()) for search in searches)


def search_at_once(searches: Sequence[ArmSearch], jobs: int, observer: Observer, say: Callable[[str], None]) -> int:
    """Make the trials that are left in ``jobs`` processes, this one included; returns the passes that they took.

    An arm for whose trial memory ran out is left as it is: alone it may have enough, so that the caller makes the rest of its
    trials one after another.

    Args:
        searches: of one setting.
        say: is given a line for what a user should know, such as a process that was killed.

    Raises:
        RunInterruptedError: the device was lost.
        StorageError: the journal cannot be written.
        BpfreeError: the harness refuses a trial.
        KeyboardInterrupt: trials that had ended are in the journal.
    """
    with _threads_shared(jobs) as threads, Workers(searches[0].setting, jobs - 1, threads) as workers:
        return _Searching(searches, jobs, workers, observer, say).run()


@contextmanager
def _threads_shared(jobs: int) -> Iterator[int]:
    """Divide torch's threads among the processes while the block runs; yields those of each."""
    before = torch.get_num_threads()
    each = max(1, before // jobs)
    torch.set_num_threads(each)
    try:
        yield each
    finally:
        torch.set_num_threads(before)


class _Over(BaseException):
    """Ends the trial of this process, where the search ends for a reason that another process has."""


class _Searching:
    def __init__(
        self, searches: Sequence[ArmSearch], jobs: int, workers: Workers, observer: Observer, say: Callable[[str], None]
    ) -> None:
        self._arms = {search.arm.label: _ArmTrials(search, search.pending()) for search in searches}
        self._setting = unmetered(searches[0].setting)
        self._jobs, self._workers, self._observer, self._say = jobs, workers, observer, say
        self._passes = 0
        self._error: Exception | None = None

    def run(self) -> int:
        while True:
            self._look(waiting=False)
            if self._error is not None:
                raise self._error
            task = self._take()
            if task is not None:
                with suppress(_Over):
                    self._make(task)
            elif self._workers.busy:
                self._look(waiting=True)
            else:
                return self._passes

    def _take(self) -> Task | None:
        if self._error is not None:
            return None
        return next((task for arm in self._arms.values() if (task := arm.take()) is not None), None)

    def _make(self, task: Task) -> None:
        """A trial in this process."""
        under = self._setting.arm_rules(task.arm)
        self._observer.trial(f"{task.arm.label}, trial {task.index + 1} of {under.trials}", under.trial_passes)
        try:
            tried, problem = run_trial(self._setting, task.arm, task.values, task.index, self._on_pass)
        except BpfreeError as error:
            self._ended(task, Outcome(None, error))
            return
        self._ended(task, Outcome(tried, None))
        raise_on(problem)

    def _on_pass(self, progress: Progress) -> None:
        self._passes += 1
        self._observer.passed(progress)
        self._look(waiting=False)
        if self._error is not None:
            raise _Over

    def _look(self, *, waiting: bool) -> None:
        """Read what the other processes say, and give trials to those that have none. What ends the search is raised here."""
        try:
            for worker, message in self._workers.messages(waiting=waiting):
                self._heard(worker, message)
            for worker in self._workers.idle():
                if (task := self._take()) is not None:
                    worker.give(task)
        except Exception as error:  # noqa: BLE001 - called within a trial of this process, whose failure it would seem
            self._error = self._error or error

    def _heard(self, worker: Worker, message: Passes | Outcome | Died) -> None:
        task = worker.task
        if isinstance(message, Passes):
            self._passes += message.n
            self._observer.advance(message.n)
        elif isinstance(message, Died):
            self._died(message, task)
        elif task is not None:
            worker.task = None
            self._ended(task, message)

    def _died(self, message: Died, task: Task | None) -> None:
        if task is None:
            self._say(f"search: a further process {message.how} before it had a trial; the others run them")
            return
        arm = self._arms[task.arm.label]
        arm.running -= 1
        arm.waiting.insert(0, task.index)
        again = "again alone" if arm.alone else "again"
        self._say(f"search {task.arm.label}: the process of trial {task.index} {message.how}; the trial is run {again}")

    def _ended(self, task: Task, outcome: Outcome) -> None:
        arm, error = self._arms[task.arm.label], outcome.error
        arm.running -= 1
        if outcome.tried is not None:
            self._tell(arm, outcome.tried)
        if isinstance(error, RunInterruptedError) and error.cause == "memory":
            arm.alone = True
            self._say(
                f"search {task.arm.label}: trial {task.index} was interrupted beside others ({error}); it is run again alone"
            )
        elif error is not None:
            self._error = self._error or error

    def _tell(self, arm: _ArmTrials, tried: Tried) -> None:
        arm.search.tell(replace(tried, at_once=self._jobs))
