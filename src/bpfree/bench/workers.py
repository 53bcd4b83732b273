"""Further processes of a search, as the process sees them that starts them: it gives them trials and hears how they went.

Each imports torch, so that the first is ready after some seconds, unless it was started early (:mod:`bpfree.early_processes`);
until then, and beside them, the process that starts them makes trials itself. One that dies is not replaced: its trial is made by
another, at last by the process that started it.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import suppress
from multiprocessing.connection import wait
from types import TracebackType

from bpfree.bench.setting import Setting
from bpfree.bench.worker import Noted, Outcome, Passes, Ready, Task, packed
from bpfree.early_processes import SEARCH, discard_waiting, take

__all__ = ["Died", "Worker", "Workers"]


class FewerWarning(UserWarning):
    """The system allows fewer processes than were asked for."""


class Died:
    """A process ended without being told to; ``how`` says it in words."""

    def __init__(self, exit_code: int | None) -> None:
        killed = exit_code is not None and exit_code < 0
        self.how = f"was killed (signal {-exit_code})" if killed and exit_code else f"ended (exit code {exit_code})"


class Worker:
    """A process, and the trial that it makes.

    Attributes:
        task: the trial, None while there is none.
        ready: whether it can be given one.
    """

    def __init__(self) -> None:
        self.task: Task | None = None
        self.ready = False
        self._process, self.connection = take(SEARCH)

    @property
    def pid(self) -> int | None:
        """Number of the process."""
        return self._process.pid

    def give(self, task: Task) -> None:
        """Let it make a trial; one that has died meanwhile is noticed by the next look at its messages."""
        self.task = task
        with suppress(BrokenPipeError, ConnectionResetError):
            self.connection.send(task)

    def set_up(self, setting: bytes) -> None:
        """Give it what all trials have in common."""
        self.ready = True
        with suppress(BrokenPipeError, ConnectionResetError):
            self.connection.send_bytes(setting)

    def next_message(self) -> Ready | Passes | Outcome | Died:
        """What it says; waits until it says something."""
        try:
            return self.connection.recv()
        except (EOFError, OSError):
            self._process.join()
            return Died(self._process.exitcode)

    def end(self) -> None:
        """End it, whatever it does."""
        self._process.kill()
        self._process.join()
        self.connection.close()


class Workers:
    """Processes that make trials of one setting; they end with the block.

    Args:
        count: of processes.
        threads: of torch in each.
    """

    def __init__(self, setting: Setting, count: int, threads: int) -> None:
        self._setting, self._count, self._threads = setting, count, threads
        self._packed: bytes | None = None
        self._registry: dict[str | tuple[str, type[Warning], int], int] = {}
        self.all: list[Worker] = []

    def __enter__(self) -> Workers:
        try:
            for _ in range(self._count):
                self.all.append(Worker())
        except OSError as error:  # the system allows no more: those that are there do the work
            asked, there = self._count, len(self.all)
            warnings.warn(f"{there} of {asked} further processes could be started ({error})", FewerWarning, stacklevel=2)
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._end()

    def _end(self) -> None:
        while self.all:
            self.all.pop().end()
        discard_waiting()

    def idle(self) -> list[Worker]:
        """Those that can be given a trial now."""
        return [worker for worker in self.all if worker.ready and worker.task is None]

    @property
    def busy(self) -> bool:
        """Whether any of them makes a trial."""
        return any(worker.task is not None for worker in self.all)

    def messages(self, *, waiting: bool) -> Iterator[tuple[Worker, Passes | Outcome | Died]]:
        """What they have said since the last look; their warnings are repeated in this process.

        Args:
            waiting: until there is something.
        """
        by_connection: dict[object, Worker] = {worker.connection: worker for worker in self.all}
        for connection in wait([worker.connection for worker in self.all], None if waiting else 0):
            worker = by_connection[connection]
            message = worker.next_message()
            if isinstance(message, Ready):
                self._packed = self._packed or packed(self._setting, self._threads)
                worker.set_up(self._packed)
                continue
            if isinstance(message, Died):
                self.all.remove(worker)
                worker.end()
            elif isinstance(message, Outcome):
                self._repeat(message.noted)
            yield worker, message

    def _repeat(self, noted: tuple[Noted, ...]) -> None:
        """Warn as if it had been in this process: once for each place, or as its filters say."""
        for each in noted:
            warnings.warn_explicit(each.text, each.category, each.file, each.line, registry=self._registry)
