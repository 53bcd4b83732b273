"""``tuned.json``: a row for each search of a run directory. It can be rebuilt from the journal of the searches."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, TypeAdapter

from bpfree.bench.json_file import read_json
from bpfree.files import write_atomic

__all__ = ["TunedRow", "read_tuned", "write_tuned"]


class TunedRow(BaseModel):
    """Outcome of the search for one arm on one data set and net.

    Attributes:
        best: the hyper-parameters of the best trial, by name.
        best_val_accuracy: a fraction from 0 to 1.
        diverged_trials: trials whose loss became NaN or infinite, or that raised, out of ``trials``.
        failed_trials: those of them that raised; what they raised is in ``tried``.
        passes_per_trial: cap on the passes of a trial.
        examples_per_trial: training examples of a trial.
        time_s: seconds of all trials.
        joules: of all trials; None where a trial was not metered.
        space: the range of each hyper-parameter in words.
        at_edge: hyper-parameters whose best value lies at an end of its range.
        sampler: arguments of the sampler, and how it is seeded.
        data_digest: of the data that were searched on.
        split_seed: with which they were split.
        study: number of the study, None where one search serves all seeds.
        control: whether the arm is a repetition of the baseline.
        best_trial: number of the best trial, None where nothing was searched.
        passes_per_run, examples_per_run, n_validation: of a measured run, to be held against those of a trial.
        unequal_search: hyper-parameters that the arm fixes although the ruleset searches them.
        not_searched: numbers of a rule of another package that have no range, with their values; left out where there are none.
        tried: values, validation accuracy, seed, passes and ``diverged`` of every trial, in order.
        trials_at_once: processes that shared the search; where there were several, the seconds of its trials overlap.
        compile_time_s: seconds for which a process compiled for them; not in ``time_s``. None where nothing is compiled.

    What earlier versions did not write is None in their files.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    arm: str
    algorithm: str
    dataset: str
    net: str
    best: dict[str, float | int | bool | str]
    best_val_accuracy: float
    trials: int
    diverged_trials: int | None = None
    failed_trials: int | None = None
    passes_per_trial: int | None = None
    examples_per_trial: int | None = None
    time_s: float
    joules: float | None
    space: dict[str, str]
    at_edge: list[str]
    sampler: dict[str, Any] | None = None
    data_digest: str | None = None
    split_seed: int = 0
    study: int | None = None
    control: bool = False
    best_trial: int | None = None
    passes_per_run: int | None = None
    examples_per_run: int | None = None
    n_validation: int | None = None
    unequal_search: list[str] | None = None
    not_searched: dict[str, float] | None = None
    tried: list[dict[str, Any]] | None = None
    trials_at_once: int | None = None
    compile_time_s: float | None = None

    @property
    def key(self) -> tuple[str, str, str | None, str, int | None]:
        """What identifies the search within a directory: arm, data set, its digest, net, study."""
        return (self.arm, self.dataset, self.data_digest, self.net, self.study)

    def as_json(self) -> dict[str, Any]:
        """The row as plain values; a field that an earlier version did not write stays out."""
        return self.model_dump(mode="json", exclude_unset=True)


_ROWS = TypeAdapter(list[TunedRow])


def read_tuned(path: Path) -> list[TunedRow]:
    """The rows of a file; none where there is no file.

    Raises:
        RunDirectoryError: the file does not hold such rows.
    """
    return read_json(path, _ROWS, [])


def write_tuned(path: Path, rows: Iterable[TunedRow]) -> None:
    """Write the rows as a whole; of two rows of one search the later replaces the earlier.

    Raises:
        StorageError: the disk is full, read-only or not permitted.
    """
    by_key = {row.key: row for row in rows}
    write_atomic(path, json.dumps([row.as_json() for row in by_key.values()], indent=2) + "\n")
