"""The rows of a suite that were asked for; nothing is run."""

from __future__ import annotations

from pathlib import Path

from bpfree.bench import suites
from bpfree.bench.reproduce import Reproduction
from bpfree.bench.suite_choice import choose
from bpfree.bench.suites.sizes import FROM_FOLDER
from bpfree.errors import UsageError

__all__ = ["choose_rows"]


def choose_rows(
    suite: str,
    *,
    scale: float,
    datasets: str | None,
    arms: str | None,
    seeds: int | None,
    max_hours: float | None,
    folder: Path | None = None,
) -> Reproduction:
    """The rows of a suite that were asked for, see :func:`bpfree.bench.suite_choice.choose`.

    Args:
        folder: of images, for the rows that want one.

    Raises:
        UsageError: a folder was given, and no row wants one.
    """
    chosen = choose(
        suites.load(suite), scale=scale, dataset_names=_words(datasets), arms=_words(arms), n_seeds=seeds, max_hours=max_hours
    )
    if folder is not None and not any(line.row.dataset in FROM_FOLDER for line in chosen.lines):
        raise UsageError(
            f"--dataset {folder} was given, and the rows of {chosen.suite.name} have data sets of their own; leave it out"
        )
    chosen.folder = folder
    return chosen


def _words(text: str | None) -> tuple[str, ...]:
    return tuple(word.strip() for word in (text or "").split(",") if word.strip())
