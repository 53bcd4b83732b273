"""Clocks: what stamps each pass of training with seconds and joules."""

from __future__ import annotations

import time
from typing import Protocol

__all__ = ["Clock", "WallClock"]


class Clock(Protocol):
    """What stamps a pass: the window of a meter, or a plain clock."""

    def elapsed_s(self) -> float:
        """Seconds since the window opened."""
        ...

    def joules_so_far(self) -> float | None:
        """Joules since the window opened, None where nothing measures them."""
        ...


class WallClock:
    """A clock without energy."""

    def __init__(self) -> None:
        self._start_s = time.monotonic()

    def elapsed_s(self) -> float:
        """Seconds since construction."""
        return time.monotonic() - self._start_s

    def joules_so_far(self) -> None:
        """Nothing is measured."""
        return
