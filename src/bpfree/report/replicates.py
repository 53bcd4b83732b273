"""What the pairs of a table are: seeds, or studies, and these crossed with the splits of the data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from bpfree import stats
from bpfree.records import Record

__all__ = ["PLURALS", "is_crossed", "mean_over", "noun_of", "number_words", "numbers_of", "pair_key", "splits_of"]

PLURALS = {"seed": "seeds", "study": "studies"}


def splits_of(runs: Sequence[Record]) -> list[int]:
    """Split seeds, sorted."""
    return sorted({run.split_seed for run in runs})


def is_crossed(runs: Sequence[Record]) -> bool:
    """Whether the runs are on several splits, so that seeds or studies are crossed with them."""
    return len(splits_of(runs)) > 1


def pair_key(run: Record, crossed: bool) -> Any:
    """Equal for the runs of two arms that make a pair: (split, number) where crossed, else the seed or study."""
    return run.replicate if crossed else run.replicate[1]


def noun_of(runs: Sequence[Record]) -> str:
    """``"seed"`` or ``"study"``."""
    return "seed" if all(run.study is None for run in runs) else "study"


def numbers_of(runs: Sequence[Record]) -> list[int]:
    """Seeds (or studies) of the runs, sorted; a control's count as those that it is paired with."""
    return sorted({run.replicate[1] for run in runs})


def number_words(numbers: Sequence[int], noun: str) -> str:
    """``"seeds 0 to 4"``, ``"study 0"``, ``"seeds 7, 13 and 41"``."""
    words = noun if len(numbers) == 1 else PLURALS[noun]
    if len(numbers) > 2 and list(numbers) == list(range(numbers[0], numbers[-1] + 1)):
        return f"{words} {numbers[0]} to {numbers[-1]}"
    *rest, last = map(str, numbers)
    return f"{words} {', '.join(rest)} and {last}" if rest else f"{words} {last}"


def mean_over(values: Mapping[Any, float], crossed: bool) -> stats.Interval:
    """Mean with its interval; of a full grid of studies and splits that of :func:`bpfree.stats.crossed_interval`."""
    if crossed and values:
        splits, studies = sorted({split for split, _ in values}), sorted({study for _, study in values})
        if len(values) == len(splits) * len(studies):
            grid = np.array([[values[split, study] for split in splits] for study in studies])
            return stats.crossed_interval(grid).interval
    return stats.mean_interval(list(values.values()))
