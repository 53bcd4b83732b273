"""Progress with time left, for search and runs. Drawn between passes, at most every half second, never by a thread of its
own: a metered run should pay for training, not for its progress bar."""

from __future__ import annotations

import time
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from bpfree.cli.interrupt import raise_if_asked
from bpfree.train import Progress as PassProgress

__all__ = ["ConsoleObserver"]

REDRAW_S = 0.5


class ConsoleObserver:
    """Shows a bar over all passes that may still come, and a line for each stage that ended."""

    def __init__(self, console: Console, n_passes: int) -> None:
        self._console = console
        self._bar = Progress(
            TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn(),
            TextColumn("left at most"), TimeRemainingColumn(compact=True),
            console=console, auto_refresh=False, transient=True,
        )  # fmt: skip
        self._task = self._bar.add_task("starting", total=n_passes)
        self._budget = 0
        self._drawn_s = 0.0

    def __enter__(self) -> ConsoleObserver:
        self._bar.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._bar.stop()

    def begin(self, stage: str, n_passes: int) -> None:
        """Name the stage."""
        self._budget = n_passes
        self._bar.update(self._task, description=stage)
        self._bar.refresh()

    def passed(self, progress: PassProgress) -> None:
        """One pass further."""
        raise_if_asked()
        self._budget -= 1
        self._bar.advance(self._task)
        now_s = time.monotonic()
        if now_s - self._drawn_s > REDRAW_S:
            self._drawn_s = now_s
            self._bar.refresh()

    def end(self, line: str) -> None:
        """The passes that early stopping left are done too."""
        self._bar.advance(self._task, max(0, self._budget))
        self._bar.console.print(line, highlight=False, markup=False)
