"""A progress bar with the time left, for searches and runs. It is drawn between passes, at most twice a second, and not by a
thread: the energy of a metered run should be that of training, not of its progress bar."""

from __future__ import annotations

import time
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from bpfree.train import Progress as PassProgress

__all__ = ["BarObserver"]

REDRAW_S = 0.5


class BarObserver:
    """Shows a bar over the passes that may remain, and a line for each stage that ended.

    Args:
        n_passes: upper bound on the passes that remain.
    """

    def __init__(self, console: Console, n_passes: int) -> None:
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TaskProgressColumn(),
            TimeElapsedColumn(),
            TextColumn("left at most"),
            TimeRemainingColumn(compact=True),
            console=console,
            auto_refresh=False,
            transient=True,
        )
        self._task = self._bar.add_task("starting", total=n_passes)
        self._budget = 0
        self._drawn_s = 0.0

    def __enter__(self) -> BarObserver:
        self._bar.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._bar.stop()

    def begin(self, stage: str, n_passes: int) -> None:
        """A stage of at most ``n_passes`` begins."""
        self._budget = n_passes
        self._bar.update(self._task, description=stage)
        self._bar.refresh()

    def passed(self, progress: PassProgress) -> None:
        """Advance by a pass."""
        del progress
        self._budget -= 1
        self._advance(1)

    def advance(self, n_passes: int) -> None:
        """Advance by passes of other processes."""
        self._advance(n_passes)

    def _advance(self, n_passes: int) -> None:
        self._bar.advance(self._task, n_passes)
        now_s = time.monotonic()
        if now_s - self._drawn_s > REDRAW_S:
            self._drawn_s = now_s
            self._bar.refresh()

    def end(self, line: str) -> None:
        """Advance by the passes that early stopping saved, and print how the stage ended."""
        self._bar.advance(self._task, max(0, self._budget))
        self._bar.console.print(line, highlight=False, markup=False)
