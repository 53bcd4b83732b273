"""A progress bar for :func:`bpfree.fit`, on standard error: passes, loss, validation accuracy, time left.

It is drawn between passes, at most twice a second, and not by a thread: what is metered should be training.
"""

from __future__ import annotations

import sys
import time
from contextlib import AbstractContextManager, nullcontext
from types import TracebackType
from typing import Any

from bpfree.train.training import Progress

__all__ = ["Bar", "bar"]

REDRAW_S = 0.5


def bar(name: str, n_passes: int, *, asked: bool | None, metered: bool) -> AbstractContextManager[Bar | None]:
    """The bar of one training, or nothing.

    Args:
        name: of the rule.
        n_passes: upper bound.
        asked: None shows it where standard error is a terminal and no energy is metered.
    """
    shown = (sys.stderr.isatty() and not metered) if asked is None else asked
    return Bar(name, n_passes) if shown else nullcontext()


class Bar:
    """Entering it draws the bar; it is removed at the end."""

    def __init__(self, name: str, n_passes: int) -> None:
        from rich.console import Console  # deferred: only who sees a bar waits for it
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as Columns

        self._columns = Columns(
            TextColumn("{task.description}"),
            MofNCompleteColumn(),
            TextColumn("{task.fields[words]}"),
            BarColumn(bar_width=None),  # the rest of the line: longer ones would be wrapped
            TextColumn("at most"),
            TimeRemainingColumn(compact=True),
            console=Console(file=sys.stderr),
            auto_refresh=False,
            transient=True,
            expand=True,
        )
        self._task: Any = self._columns.add_task(name, total=n_passes, words="")
        self._drawn_s = 0.0

    def __enter__(self) -> Bar:
        self._columns.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._columns.stop()

    def passed(self, progress: Progress) -> None:
        """Advance to this pass."""
        words = f"loss {progress.train_loss:.3g}, val. {100 * progress.val_accuracy:.2f} %"
        self._columns.update(self._task, completed=progress.passes, words=words)
        now_s = time.monotonic()
        if now_s - self._drawn_s > REDRAW_S:
            self._drawn_s = now_s
            self._columns.refresh()
