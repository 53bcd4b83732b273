"""When the runs were measured: whether arms took turns, and whether two directories were measured at the same time."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path

from bpfree.records import Record

__all__ = ["Interval", "not_interleaved", "overlap_s", "simultaneous", "window_of"]

Interval = tuple[float, float]
"""Seconds since 1970, from and to."""

RESOLUTION_S = 1.0
"""``started_at`` is cut to whole seconds: two windows one after another may seem to overlap by less than this."""


def window_of(run: Record) -> Interval | None:
    """From the start of a run to the end of its window; None where its time was not measured."""
    if run.time_s is None:
        return None
    start = datetime.fromisoformat(run.started_at).timestamp()
    return start, start + run.time_s


def overlap_s(one: Interval, other: Interval) -> float:
    """Seconds that two intervals share; 0 where the second begins when the first ends."""
    return max(0.0, min(one[1], other[1]) - max(one[0], other[0]))


def not_interleaved(arms: dict[str, Sequence[Record]]) -> list[tuple[str, str]]:
    """Pairs of arms of which all runs of the first began before any of the second; both need at least two runs.

    A machine that is slower for an hour then disturbs one of them only.
    """
    starts = {
        arm: [datetime.fromisoformat(run.started_at).timestamp() for run in runs] for arm, runs in arms.items() if len(runs) > 1
    }
    return [(one, other) for one, other in itertools.permutations(starts, 2) if max(starts[one]) < min(starts[other])]


def simultaneous(records: Sequence[Record], origins: Sequence[Path]) -> Iterator[tuple[Path, Path, int]]:
    """Pairs of directories with the number of runs in the first whose windows overlap a window of the second."""
    windows: dict[Path, list[Interval]] = {}
    for run, path in zip(records, origins, strict=True):
        if (window := window_of(run)) is not None:
            windows.setdefault(path, []).append(window)
    for (one, mine), (other, theirs) in itertools.combinations(windows.items(), 2):
        n_mine, n_theirs = _overlapping(mine, theirs), _overlapping(theirs, mine)
        if n_mine:
            yield (one, other, n_mine) if n_mine <= n_theirs else (other, one, n_theirs)


def _overlapping(windows: Sequence[Interval], others: Sequence[Interval]) -> int:
    return sum(any(overlap_s(window, other) >= RESOLUTION_S for other in others) for window in windows)
