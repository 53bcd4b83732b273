"""What ``compare``, ``train``, ``tune`` and ``reproduce`` have in common: check first, then open a directory and run in it."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path

from rich.console import Console

from bpfree.bench import Arm, Observer, RunDirectory, fresh_path
from bpfree.bench.checked import Checked, arms_for, checked
from bpfree.cli.interrupt import QuietObserver, watch_for_interrupts
from bpfree.cli.options import DirectoryOptions
from bpfree.cli.output import console
from bpfree.cli.progress import ConsoleObserver
from bpfree.cli.resume import remember
from bpfree.cli.setting import Request
from bpfree.train import ShortBudgetWarning

__all__ = ["Checked", "Session", "check", "open_directory", "start"]


def check(request: Request, use: str, arms: Sequence[Arm] | None = None, seeds: Sequence[int] | None = None) -> Checked:
    """Load what was asked for, and refuse what cannot be run.

    Raises:
        BpfreeError: a ruleset, data, net, device or country that cannot be used, or an arm that cannot be trained so.
    """
    rules, chosen = arms_for(request.rules(use), use, arms)  # before data are loaded
    return checked(request.setting(rules), chosen, use, seeds)


class Session:
    """The screen of a command that runs something."""

    def __init__(self, *, quiet: bool) -> None:
        self.console: Console = console(stderr=True, quiet=quiet)
        self._quiet = quiet

    def watch(self, n_passes: int) -> AbstractContextManager[Observer]:
        """An observer of at most ``n_passes`` that also notices Ctrl-C; entering it starts the progress bar."""
        return nullcontext(QuietObserver()) if self._quiet else ConsoleObserver(self.console, n_passes)


def start(path: Path, *, quiet: bool) -> Session:
    """From now on Ctrl-C ends the command, and the message names ``path`` as the directory to resume."""
    watch_for_interrupts()
    remember(path)
    return Session(quiet=quiet)


@contextmanager
def open_directory(
    ready: Checked, options: DirectoryOptions, name: str, *, quiet: bool
) -> Iterator[tuple[RunDirectory, Session]]:
    """Make or resume the run directory, locked while the block runs.

    Args:
        name: of a new directory (``runs/DATE-NAME``), where ``--out`` is not given.

    Raises:
        RunDirectoryError, StorageError: see :meth:`bpfree.bench.RunDirectory.opened`.
    """
    directory, setting = RunDirectory(options.out or fresh_path(name)), ready.setting
    with directory.opened(setting.ruleset, setting.facts, accept_other_code=options.accept_other_code):
        session = start(directory.path, quiet=quiet)
        if not quiet:
            for short in ready.short_budgets():
                warnings.warn(short, ShortBudgetWarning, stacklevel=3)  # equal lines are printed once
        yield directory, session
