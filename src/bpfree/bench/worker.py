"""What a further process of a search does: it is given the setting once, then trial after trial, and says how they went.

It writes no file: the process that started it keeps the journal.
"""

from __future__ import annotations

import os
import pickle
import threading
import time
import traceback
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from multiprocessing import parent_process
from multiprocessing.connection import Connection, wait

import torch

from bpfree.bench import environment
from bpfree.bench.arm import Arm
from bpfree.bench.causes import raise_on, says
from bpfree.bench.outcome import Tried
from bpfree.bench.setting import Setting
from bpfree.bench.study import run_trial
from bpfree.meter import Meter
from bpfree.train import Progress

__all__ = ["Message", "Noted", "Outcome", "Passes", "Ready", "Task", "packed", "serve", "unmetered"]

TELL_S = 0.25
"""How often a process tells of its passes, at most."""


@dataclass(frozen=True)
class Task:
    """A trial: number ``index`` of the search for ``arm``, with the values that it tries."""

    arm: Arm
    index: int
    values: dict[str, float]


@dataclass(frozen=True)
class Noted:
    """A warning of another process."""

    text: str
    category: type[Warning]
    file: str
    line: int


@dataclass(frozen=True)
class Ready:
    """The process has started, and waits for the setting."""


@dataclass(frozen=True)
class Passes:
    """``n`` more passes are done."""

    n: int


@dataclass(frozen=True)
class Outcome:
    """How a trial went.

    Attributes:
        tried: the finished trial; None where it is to be made again.
        error: what ends the search, or the arm's part of it, as in the process that asked for the trial.
        noted: warnings.
    """

    tried: Tried | None
    error: Exception | None
    noted: tuple[Noted, ...] = ()


Message = Ready | Passes | Outcome


def unmetered(setting: Setting) -> Setting:
    """The setting of trials that run at once: the joules of a device in such a window belong to none of them alone."""
    return replace(setting, meter=Meter(setting.device))


def packed(setting: Setting, threads: int) -> bytes:
    """The setting for another process, without the test split, and the threads of torch there."""
    return pickle.dumps((replace(unmetered(setting), data=setting.data.without_test(), plan={}, costs={}), threads))


def serve(connection: Connection) -> None:
    """Answer the process at the other end until it ends."""
    threading.Thread(target=_end_with_the_parent, daemon=True).start()
    connection.send(Ready())
    try:
        setting: Setting
        setting, threads = pickle.loads(connection.recv_bytes())
        _configure(setting, threads)
        while True:
            task: Task = connection.recv()
            connection.send(_outcome(setting, task, connection))
    except (EOFError, BrokenPipeError, ConnectionResetError):  # the other end is gone
        return


def _end_with_the_parent() -> None:
    """A process that was killed cannot end those that it started."""
    parent = parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)


def _configure(setting: Setting, threads: int) -> None:
    """Let torch compute as in the process that made the setting."""
    environment.configure_torch(0, 1, setting.device)
    torch.set_num_threads(threads)
    torch.set_float32_matmul_precision(setting.facts.float32_matmul_precision)
    torch.use_deterministic_algorithms(setting.facts.deterministic_algorithms)


def _outcome(setting: Setting, task: Task, connection: Connection) -> Outcome:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("default")
        tried, error = _run(setting, task, _teller(connection))
    noted = tuple(Noted(str(each.message), each.category, each.filename, each.lineno) for each in caught)
    return Outcome(tried, error, noted)


def _run(setting: Setting, task: Task, on_pass: Callable[[Progress], None]) -> tuple[Tried | None, Exception | None]:
    tried: Tried | None = None
    try:
        tried, problem = run_trial(setting, task.arm, task.values, task.index, on_pass)
        raise_on(problem)
    except Exception as error:  # noqa: BLE001 - whatever it is, the process that asked decides
        return tried, _sendable(error)
    return tried, None


def _teller(connection: Connection) -> Callable[[Progress], None]:
    """Counts passes, and tells of them now and then."""
    since, told_s = 0, time.monotonic()

    def on_pass(_: Progress) -> None:
        nonlocal since, told_s
        since += 1
        now_s = time.monotonic()
        if now_s - told_s > TELL_S:
            connection.send(Passes(since))
            since, told_s = 0, now_s

    return on_pass


def _sendable(error: Exception) -> Exception:
    """The error itself, with where it was raised as a note, if it can be sent."""
    error.add_note("".join(traceback.format_exception(error)))
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:  # noqa: BLE001 - a class of any kind, of any rule
        return RuntimeError(says(error))
    return error
