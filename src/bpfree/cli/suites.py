"""The rows of a suite that were asked for; nothing is run."""

from __future__ import annotations

from bpfree.bench import suites
from bpfree.bench.reproduce import Reproduction
from bpfree.bench.suite_choice import choose

__all__ = ["choose_rows"]


def choose_rows(
    suite: str, *, scale: float, datasets: str | None, arms: str | None, seeds: int | None, max_hours: float | None
) -> Reproduction:
    """The rows of a suite that were asked for, see :func:`bpfree.bench.suite_choice.choose`."""
    return choose(
        suites.load(suite), scale=scale, dataset_names=_words(datasets), arms=_words(arms), n_seeds=seeds, max_hours=max_hours
    )


def _words(text: str | None) -> tuple[str, ...]:
    return tuple(word.strip() for word in (text or "").split(",") if word.strip())
