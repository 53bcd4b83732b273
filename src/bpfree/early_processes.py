"""Processes that start while this one is still importing: torch takes each of them two to four seconds.

They are new interpreters (``spawn``), since the threads of torch do not survive a fork. Who needs one takes one that waits, or
starts one. What is not taken ends with this process.
"""

from __future__ import annotations

import importlib
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from multiprocessing import get_context, resource_tracker
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NamedTuple

import psutil

from bpfree.cores import cores

__all__ = ["SEARCH", "Started", "busy_s", "discard_waiting", "may_start_early", "start", "start_early", "take"]

SEARCH = "bpfree.bench.worker:serve"
"""What answers in a process that makes trials of a search."""

_COUNTERS = (Path("/sys/class/powercap"), Path("/dev/nvidiactl"), Path("/dev/nvidia0"))
"""Where energy may be metered: then the machine is to be idle before the first run, whose idle power is measured."""

_waiting: dict[str, list[Started]] = {}


class Started(NamedTuple):
    """A process, and the connection to what answers in it."""

    process: Any
    connection: Connection


def may_start_early() -> bool:
    """Whether nothing is lost by it: there is a second core, and nothing that could meter energy."""
    return cores() > 1 and not any(path.exists() and (path.is_char_device() or any(path.iterdir())) for path in _COUNTERS)


def start_early(answer: str, count: int) -> None:
    """Start processes that wait until they are taken; a system that allows no more starts fewer.

    Args:
        answer: ``module:function``, called in the process with its end of the connection.
    """
    for _ in range(count):
        try:
            _waiting.setdefault(answer, []).append(start(answer))
        except OSError:  # who needs one will be told
            return


def take(answer: str) -> Started:
    """A process that waits, else a new one.

    Raises:
        OSError: the system allows no more processes.
    """
    waiting = _waiting.get(answer, [])
    while waiting:
        started = waiting.pop(0)
        if started.process.is_alive():
            return started
        started.connection.close()
    return start(answer)


def busy_s() -> float:
    """Processor seconds of those that wait: what they import is no work of other programs."""
    spent_s = 0.0
    for waiting in _waiting.values():
        for started in waiting:
            with suppress(psutil.Error):
                times = psutil.Process(started.process.pid).cpu_times()
                spent_s += times.user + times.system
    return spent_s


def discard_waiting() -> None:
    """End those that were not taken."""
    for waiting in _waiting.values():
        while waiting:
            started = waiting.pop()
            started.process.kill()
            started.process.join()
            started.connection.close()


def start(answer: str) -> Started:
    """A new process.

    Raises:
        OSError: the system allows no more processes.
    """
    context = get_context("spawn")
    mine, theirs = context.Pipe()
    process = context.Process(target=_answer, args=(answer, theirs), daemon=True, name=f"bpfree {answer}")
    with _ctrl_c_is_ours():
        process.start()
    theirs.close()  # so that the end of the process is the end of what it sends
    return Started(process, mine)


def _answer(answer: str, connection: Connection) -> None:
    module, _, function = answer.partition(":")
    getattr(importlib.import_module(module), function)(connection)


@contextmanager
def _ctrl_c_is_ours() -> Iterator[None]:
    """What is started in the block does not see Ctrl-C, which a terminal sends to all; this process sees it after the block."""
    resource_tracker.ensure_running()  # which would let Ctrl-C through again if it were started in the block
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
