"""The bar is drawn again after a while, not at every pass."""

from __future__ import annotations

import io
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console

from bpfree.bench import bar as module
from bpfree.bench.bar import REDRAW_S, BarObserver


def test_it_is_drawn_when_the_last_picture_is_old(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [100.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: clock[0])
    observer = BarObserver(Console(file=io.StringIO()), 10)
    drawn: list[float] = []
    monkeypatch.setattr(observer._bar, "refresh", lambda: drawn.append(clock[0]))
    progress: Any = SimpleNamespace()
    for step_s in (0.0, REDRAW_S / 2, REDRAW_S / 4, REDRAW_S, REDRAW_S / 8):
        clock[0] += step_s
        observer.passed(progress)
    assert drawn == [100.0, 100.0 + 1.75 * REDRAW_S]
    assert observer._bar.tasks[0].completed == 5
    observer.advance(3)
    assert observer._bar.tasks[0].completed == 8
