"""The journal of a run directory's searches: Optuna's operations, one JSON value a line, under the lock of the directory.

Optuna's own file needs symbolic links to lock it, and a kill between two of its lines leaves half a trial. Here a trial is one
line, written when it is over (:func:`add_trial`), and the directory is locked as a whole.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.storages import JournalStorage
from optuna.storages.journal import BaseJournalBackend
from optuna.trial import TrialState

from bpfree.errors import RunDirectoryError
from bpfree.files import append_line, reading

__all__ = ["add_trial", "finished_trials", "open_storage"]

NEEDED = ("seed", "passes", "time_s", "joules", "method", "diverged")
"""Attributes that every finished trial has."""


class _Lines(BaseJournalBackend):
    """The file; ``records`` of it are read once, and those that are written are kept."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._records = _read(path)

    def read_logs(self, log_number_from: int) -> Iterator[dict[str, Any]]:
        yield from self._records[log_number_from:]

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        lines = [json.dumps(log, separators=(",", ":")) for log in logs]
        append_line(self._path, "\n".join(lines))
        self._records += [json.loads(line) for line in lines]


def _read(path: Path) -> list[dict[str, Any]]:
    if not path.exists():
        return []
    records: list[dict[str, Any]] = []
    with reading(path):
        *lines, _half = path.read_bytes().split(b"\n")
    for number, line in enumerate(lines, start=1):
        try:
            records.append(json.loads(line))
        except ValueError as error:
            raise _damaged(path, f"line {number} is not JSON ({error})") from error
    return records


def _damaged(path: Path, what: str) -> RunDirectoryError:
    return RunDirectoryError(
        f"{path} cannot be read: {what}, so the trials of its searches are lost; delete the file, and the same command searches "
        "again and comes to the same values (runs that were measured are kept)"
    )


def open_storage(journal: Path) -> optuna.storages.BaseStorage:
    """The journal of a run directory.

    Raises:
        RunDirectoryError: the file is damaged, or was edited.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    backend = _Lines(journal)
    try:
        storage = JournalStorage(backend)
        studies = storage.get_all_studies()
        trials = [trial for each in studies for trial in storage.get_all_trials(each._study_id, deepcopy=False)]
    except Exception as error:
        raise _damaged(journal, f"an operation in it makes no sense ({type(error).__name__}: {error})") from error
    for trial in trials:
        missing = [name for name in NEEDED if name not in trial.user_attrs]
        if trial.state == TrialState.COMPLETE and (missing or not isinstance(trial.value, float)):
            raise _damaged(journal, f"trial {trial.number} of a search has no {(missing or ['value'])[0]}")
    return storage


def finished_trials(study: optuna.Study) -> list[optuna.trial.FrozenTrial]:
    """Those that were completed, in the order of their seeds, which is that of their numbers.

    Trials that ran at once stand in the journal as they ended.
    """
    completed = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    return sorted(completed, key=lambda trial: trial.user_attrs.get("seed", -1))


def add_trial(
    study: optuna.Study,
    values: Mapping[str, float],
    space: Mapping[str, BaseDistribution],
    value: float,
    attributes: Mapping[str, Any],
) -> None:
    """Write a finished trial as one line: after a kill it is there as a whole or not at all."""
    trial = optuna.trial.create_trial(
        params=dict(values), distributions=dict(space), value=value, user_attrs=dict(attributes), state=TrialState.COMPLETE
    )
    study.add_trial(trial)
