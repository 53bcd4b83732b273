"""Who watches a comparison."""

from __future__ import annotations

from typing import Protocol

from bpfree.train import Progress

__all__ = ["Observer", "SilentObserver"]


class Observer(Protocol):
    """Who watches. Called between passes, never inside one."""

    def begin(self, stage: str, n_passes: int) -> None:
        """A stage (a trial, a run) begins, of at most ``n_passes``."""
        ...

    def trial(self, words: str, n_passes: int) -> None:
        """A trial of the stage begins, of at most ``n_passes``; ``words`` say which, as in ``trial 3 of 8``."""
        ...

    def passed(self, progress: Progress) -> None:
        """A pass is done."""
        ...

    def advance(self, n_passes: int) -> None:
        """So many passes were done in other processes, of trials that run at once, or need not be done."""
        ...

    def end(self, line: str) -> None:
        """The stage is over; ``line`` says how it went."""
        ...


class SilentObserver:
    """An observer that shows nothing."""

    def begin(self, stage: str, n_passes: int) -> None:
        """Nothing."""

    def trial(self, words: str, n_passes: int) -> None:
        """Nothing."""

    def passed(self, progress: Progress) -> None:
        """Nothing."""

    def advance(self, n_passes: int) -> None:
        """Nothing."""

    def end(self, line: str) -> None:
        """Nothing."""
