"""How far shared work is: who makes what, what is finished, what is left, and when it will be done."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from bpfree.bench.claims import MOST_BEGUN, Entry
from bpfree.bench.tasks import Task

__all__ = ["Running", "Standing", "standing"]


@dataclass(frozen=True)
class Running:
    """A task that some process makes.

    Attributes:
        since_s: seconds since it was claimed.
    """

    task: str
    host: str
    pid: int
    device: str
    since_s: float


@dataclass(frozen=True)
class Standing:
    """The standing of one comparison.

    Attributes:
        command: that planned it.
        finished, running, waiting: numbers of tasks, by kind (trial, run, study).
        stuck: tasks that are not begun again, since each process that made them ended.
        now: the running tasks.
        left_s: expected seconds until all is finished, with as many processes as there are now; None where no task of a kind that
            is left has been finished, or no process works.
    """

    command: str
    finished: dict[str, int]
    running: dict[str, int]
    waiting: dict[str, int]
    stuck: tuple[str, ...]
    now: tuple[Running, ...]
    left_s: float | None

    @property
    def done(self) -> bool:
        """Whether everything is finished."""
        return not any((*self.running.values(), *self.waiting.values()))

    def as_json(self) -> dict[str, Any]:
        """As plain values."""
        return asdict(self) | {"done": self.done}


def standing(command: str, entries: Sequence[Entry], now: datetime) -> Standing:
    """The standing of tasks.

    Args:
        now: local time without zone, as Optuna writes it.
    """
    running = tuple(_running(entry, now) for entry in entries if entry.running)
    stuck = tuple(Task.of(entry.key).words for entry in entries if entry.waiting and entry.n_lost >= MOST_BEGUN)
    return Standing(
        command,
        _by_kind(entry for entry in entries if entry.finished),
        _by_kind(entry for entry in entries if entry.running),
        _by_kind(entry for entry in entries if entry.waiting),
        stuck,
        running,
        _left_s(entries, now),
    )


def _by_kind(entries: Iterator[Entry]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for entry in entries:
        kind = Task.of(entry.key).kind
        counts[kind] = counts.get(kind, 0) + 1
    return counts


def _running(entry: Entry, now: datetime) -> Running:
    owner = entry.owner
    since_s = (now - entry.begun).total_seconds() if entry.begun else 0.0
    name = Task.of(entry.key).words
    return Running(name, owner.get("host", "?"), owner.get("pid", 0), owner.get("device", "?"), max(0.0, since_s))


def _left_s(entries: Sequence[Entry], now: datetime) -> float | None:
    """By the mean times of finished tasks of each kind. Measured runs take turns on a device, trials share one."""
    left = [entry for entry in entries if not entry.finished]
    if not left:
        return 0.0
    times_s: dict[str, list[float]] = {}
    for entry in entries:
        if entry.finished and entry.begun and entry.ended:
            times_s.setdefault(Task.of(entry.key).kind, []).append((entry.ended - entry.begun).total_seconds())
    running = [entry for entry in entries if entry.running]
    if not running or any(Task.of(entry.key).kind not in times_s for entry in left):
        return None
    work_s = {"trial": 0.0, "run": 0.0, "study": 0.0}
    for entry in left:
        kind = Task.of(entry.key).kind
        spent_s = (now - entry.begun).total_seconds() if entry.running and entry.begun else 0.0
        work_s[kind] += max(0.0, statistics.fmean(times_s[kind]) - spent_s)
    devices = {(entry.owner.get("host"), entry.owner.get("device")) for entry in running}
    return work_s["trial"] / len(running) + (work_s["run"] + work_s["study"]) / len(devices)
