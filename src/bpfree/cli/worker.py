"""``bpfree worker``: make trials and measured runs of comparisons that other processes have planned."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

import typer

from bpfree.bench.directory import RunDirectory
from bpfree.bench.published import Work, published
from bpfree.bench.results import Results
from bpfree.bench.shared import Sharing
from bpfree.bench.storages import Store, open_store, open_store_of_directory
from bpfree.cli.interrupt import watch_for_interrupts
from bpfree.cli.session import Session
from bpfree.cli.shared import PlannedRequest
from bpfree.errors import RunDirectoryError, UsageError
from bpfree.urls import JOURNAL

__all__ = ["store_of", "worker_command"]


def store_of(directory: Path | None, storage: str | None) -> Store:
    """Where to look for work.

    Raises:
        UsageError: neither a directory nor a database was given.
        RunDirectoryError: the directory is none.
        StorageError: the database cannot be reached.
    """
    if directory is not None:
        if not (directory / "ruleset.yaml").exists():
            raise RunDirectoryError(f"{directory} is no run directory; run directories are made by: bpfree compare --out DIR")
        return open_store_of_directory(directory)
    if storage in (None, JOURNAL):
        raise UsageError("nothing to look for work in; give a run directory, or --storage postgresql://USER@HOST/DATABASE")
    return open_store(str(storage))


def worker_command(directory: Path | None, *, storage: str | None, data_dir: Path | None, device: str | None, quiet: bool) -> int:
    """Work until nothing is left; 1 where something was left out."""
    store = store_of(directory, storage)
    left_out: list[str] = []
    for work in store.patient(lambda: published(store)):
        left_out += _work(work, None if directory is None else RunDirectory(directory), data_dir, device, quiet=quiet)
    for reason in left_out:
        typer.echo(f"bpfree: left out: {reason}", err=True)
    if not left_out and not quiet:
        typer.echo(f"{store.place}: nothing is left")
    return 1 if left_out else 0


def _work(work: Work, directory: RunDirectory | None, data_dir: Path | None, device: str | None, *, quiet: bool) -> list[str]:
    name = device or work.request["meter"]["device"]
    claims = work.store.patient(lambda: work.claims(name))
    if all(entry.finished for entry in work.store.patient(claims.entries)):
        return []  # without loading its data
    request = PlannedRequest.of(work, data_dir, device)
    ready = request.checked(work)
    settings = (ready.setting, *request.other_splits(ready.setting))
    watch_for_interrupts()
    with nullcontext() if directory is None else directory.joined(ready.setting.facts), Session(quiet=quiet).watch(0) as observer:
        results = Results(directory, ready.setting.facts, in_database=work.store.in_database)
        sharing = Sharing(settings, ready.arms, claims, results, observer, _say(directory, observer.end))
        sharing.work()
    return sharing.interrupted


def _say(directory: RunDirectory | None, show: Callable[[str], None]) -> Callable[[str], None]:
    def say(line: str) -> None:
        if directory is not None:
            directory.log(line)
        show(line)

    return say
