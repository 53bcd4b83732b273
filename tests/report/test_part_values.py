"""Parts of a report by value: borders, both sides of each condition and fallbacks, on stand-ins for runs and rows."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from bpfree.report.windows import not_interleaved, overlap_s, simultaneous, window_of


def test_windows_that_touch_do_not_overlap() -> None:
    assert [overlap_s((0.0, 2.0), other) for other in ((2.0, 3.0), (1.5, 3.0), (-1.0, 0.5), (0.5, 1.0), (5.0, 6.0))] == [
        0.0, 0.5, 0.5, 0.5, 0.0,
    ]  # fmt: skip


def begun(second: int, time_s: float | None = 5.0) -> Any:
    return SimpleNamespace(started_at=f"2026-01-01T10:00:{second:02}+00:00", time_s=time_s)


def test_the_window_of_a_run() -> None:
    start, end = window_of(begun(3, 0.5)) or (0.0, 0.0)
    assert (end - start, start % 60) == (0.5, 3.0)
    assert window_of(begun(3, None)) is None


def test_arms_that_took_no_turns() -> None:
    assert not_interleaved({"a": [begun(0), begun(1)], "b": [begun(2), begun(3)], "c": [begun(9)]}) == [("a", "b")]
    assert not_interleaved({"b": [begun(2), begun(3)], "a": [begun(0), begun(1)]}) == [("a", "b")]
    assert not_interleaved({"a": [begun(0), begun(2)], "b": [begun(2), begun(3)]}) == []
    assert not_interleaved({"a": [begun(0), begun(3)], "b": [begun(1), begun(4)]}) == []


@pytest.mark.parametrize(
    ("one", "two", "pairs"),
    [
        ([(0, 5.0)], [(4, 5.0)], [("a", "b", 1)]),  # by one second
        ([(0, 4.9)], [(4, 5.0)], []),
        ([(0, 5.0), (6, 5.0)], [(2, 20.0)], [("b", "a", 1)]),
        ([(2, 20.0)], [(0, 5.0), (6, 5.0)], [("a", "b", 1)]),
        ([(0, 5.0), (20, 5.0)], [(2, 2.0), (21, 2.0)], [("a", "b", 2)]),
        ([(0, None)], [(0, 5.0)], []),
    ],
)
def test_directories_at_the_same_time(
    one: list[tuple[int, float | None]], two: list[tuple[int, float | None]], pairs: list[tuple[str, str, int]]
) -> None:
    given = [(Path(name), begun(*each)) for name, runs in (("a", one), ("b", two)) for each in runs]
    told = simultaneous([run for _path, run in given], [path for path, _run in given])
    assert [(str(first), str(second), count) for first, second, count in told] == pairs
