"""A progress bar with the time left, for searches and runs. It is drawn between passes, at most twice a second, and not by a
thread: the energy of a metered run should be that of training, not of its progress bar."""

from __future__ import annotations

import time
from collections.abc import Iterator
from types import TracebackType

from rich.console import Console, RenderableType
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.text import Text

from bpfree.train import Progress as PassProgress
from bpfree.units import format_energy, format_percent

__all__ = ["BarObserver"]

REDRAW_S = 0.5


class _TwoLines(Progress):
    """What is trained, above how far it is: together they do not fit a line of 80 columns."""

    stage = "starting"

    def get_renderables(self) -> Iterator[RenderableType]:
        yield Text(self.stage, no_wrap=True, overflow="ellipsis")
        yield self.make_tasks_table(self.tasks)


class BarObserver:
    """Shows what is trained, how far it is, and a bar over the passes that may remain; and a line for each stage that ended.

    Args:
        n_passes: upper bound on the passes that remain.
    """

    def __init__(self, console: Console, n_passes: int) -> None:
        self._bar = _TwoLines(
            TextColumn("{task.description}"),
            BarColumn(bar_width=None),
            TaskProgressColumn(),
            TimeElapsedColumn(),
            TextColumn("left at most"),
            TimeRemainingColumn(compact=True),
            console=console,
            auto_refresh=False,
            transient=True,
            expand=True,
        )
        self._task = self._bar.add_task("", total=n_passes)
        self._stage = ""
        self._budget = 0
        self._at_most, self._best = 0, 0.0
        self._drawn_s = 0.0

    def __enter__(self) -> BarObserver:
        self._bar.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._bar.stop()

    def begin(self, stage: str, n_passes: int) -> None:
        """A stage of at most ``n_passes`` begins."""
        self._stage, self._budget = stage, n_passes
        self._begin(stage, n_passes)

    def trial(self, words: str, n_passes: int) -> None:
        """A trial of the stage begins, of at most ``n_passes``."""
        self._begin(f"{self._stage} ({words})", n_passes)

    def _begin(self, what: str, n_passes: int) -> None:
        self._bar.stage = what
        self._at_most, self._best = n_passes, 0.0
        self._bar.update(self._task, description="")
        self._bar.refresh()

    def passed(self, progress: PassProgress) -> None:
        """Advance by a pass, and show which it was, the best validation accuracy so far, and joules where they are measured."""
        self._budget -= 1
        self._best = max(self._best, progress.val_accuracy)
        of = f" of {self._at_most}" if progress.passes <= self._at_most else ""  # a cap of a phase, not of the run
        words = [f"pass {progress.passes}{of}", f"best {format_percent(self._best)} %"]
        if progress.joules is not None:
            words.append(format_energy(progress.joules))
        self._bar.update(self._task, description="  ".join(words))
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
