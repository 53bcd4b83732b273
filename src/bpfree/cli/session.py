"""What ``compare``, ``train``, ``tune`` and ``reproduce`` have in common: check first, then open a directory and run in it."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from bpfree.bench import (
    Arm,
    Observer,
    RunDirectory,
    Setting,
    check_named,
    check_runnable,
    check_supported,
    fresh_path,
    parse_arms,
    with_control,
)
from bpfree.cli.interrupt import QuietObserver, watch_for_interrupts
from bpfree.cli.options import DirectoryOptions
from bpfree.cli.output import console
from bpfree.cli.progress import ConsoleObserver
from bpfree.cli.resume import remember
from bpfree.cli.setting import Request
from bpfree.train import ShortBudgetWarning, short_budget

__all__ = ["Checked", "Session", "check", "open_directory", "start"]


@dataclass(frozen=True)
class Checked:
    """A setting, and arms that can be run in it. Nothing has been written."""

    setting: Setting
    arms: tuple[Arm, ...]

    @property
    def dataset(self) -> str:
        """Name of the data set, without the folder where it is a file."""
        return Path(self.setting.data.name).name


def check(request: Request, use: str, arms: Sequence[Arm] | None = None, seeds: Sequence[int] | None = None) -> Checked:
    """Load what was asked for, and refuse what cannot be run.

    Args:
        use: name of the command; some rulesets are for one command only.
        arms: None for those of the ruleset's plan.
        seeds: of the measured runs, None for those of the ruleset's plan.

    Raises:
        BpfreeError: a ruleset, data, net, device or country that cannot be used, or an arm that cannot be trained so.
    """
    rules = request.rules(use)
    chosen = tuple(parse_arms(",".join(rules.plan.arms)) if arms is None else arms)
    if use == "compare" and rules.plan.control:
        chosen = with_control(chosen)
    check_supported(rules, chosen)  # before data are loaded
    if use in ("compare", "tune"):
        check_named(rules, chosen)
    setting = request.setting(rules)
    check_runnable(setting, chosen, searched=use != "train")
    setting.plan["arms"] = [arm.label for arm in chosen]
    if use == "compare" and rules.search.studies > 1:
        setting.plan["studies"] = list(range(rules.search.studies))
    else:
        setting.plan["seeds"] = list(rules.plan.seeds if seeds is None else seeds)
    return Checked(setting, chosen)


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
    checked: Checked, options: DirectoryOptions, name: str, *, quiet: bool
) -> Iterator[tuple[RunDirectory, Session]]:
    """Make or resume the run directory, locked while the block runs.

    Args:
        name: of a new directory (``runs/DATE-NAME``), where ``--out`` is not given.

    Raises:
        RunDirectoryError, StorageError: see :meth:`bpfree.bench.RunDirectory.opened`.
    """
    directory, setting = RunDirectory(options.out or fresh_path(name)), checked.setting
    with directory.opened(setting.ruleset, setting.facts, accept_other_code=options.accept_other_code):
        session = start(directory.path, quiet=quiet)
        if not quiet:
            _warn_of_short_budgets(checked)
        yield directory, session


def _warn_of_short_budgets(checked: Checked) -> None:
    n, name = checked.setting.data.n("train"), checked.dataset
    for arm in checked.arms:
        under = checked.setting.arm_rules(arm)
        if (short := short_budget(n, under.rules.batch_size, under.passes, name)) is not None:
            warnings.warn(short, ShortBudgetWarning, stacklevel=2)  # the command line prints equal lines once
