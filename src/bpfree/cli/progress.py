"""The progress bar of a command, which also notices signals."""

from __future__ import annotations

from bpfree.bench.bar import BarObserver
from bpfree.cli.interrupt import raise_if_asked
from bpfree.train import Progress

__all__ = ["ConsoleObserver"]


class ConsoleObserver(BarObserver):
    """A bar over the passes that may remain; it raises ``KeyboardInterrupt`` if a signal came and its exception got lost."""

    def __enter__(self) -> ConsoleObserver:
        super().__enter__()
        return self

    def passed(self, progress: Progress) -> None:
        """Advance by a pass."""
        raise_if_asked()
        super().passed(progress)

    def advance(self, n_passes: int) -> None:
        """Advance by passes of other processes."""
        raise_if_asked()
        super().advance(n_passes)
