"""The journal of a run directory's searches: Optuna's operations, one JSON value a line.

Optuna's own file needs symbolic links to lock it, and a kill between two of its lines leaves half a trial. Here a trial is one
line, written when it is over (:func:`add_trial`), and each line is written under a lock of the file.
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

__all__ = ["WORK", "add_trial", "finished_trials", "open_storage"]

WORK = "bpfree work "
"""How the name of a study begins whose trials are the tasks of a shared comparison, see :mod:`bpfree.bench.claims`."""

NEEDED = ("seed", "passes", "time_s", "joules", "method", "diverged")
"""Attributes that every finished trial has."""


class _Lines(BaseJournalBackend):
    """The file. Other processes may append to it too; each line is read once."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._records: list[dict[str, Any]] = []
        self._read_bytes = 0
        self._read()

    def read_logs(self, log_number_from: int) -> Iterator[dict[str, Any]]:
        self._read()
        yield from self._records[log_number_from:]

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        append_line(self._path, "\n".join(json.dumps(log, separators=(",", ":")) for log in logs))

    def _read(self) -> None:
        """The lines that are new and whole."""
        if not self._path.exists():
            return
        with reading(self._path), self._path.open("rb") as file:
            file.seek(self._read_bytes)
            *lines, _half = file.read().split(b"\n")
        for line in lines:
            try:
                self._records.append(json.loads(line))
            except ValueError as error:
                raise _damaged(self._path, f"line {len(self._records) + 1} is not JSON ({error})") from error
            self._read_bytes += len(line) + 1


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
        searches = [each for each in studies if not each.study_name.startswith(WORK)]
        trials = [trial for each in searches for trial in storage.get_all_trials(each._study_id, deepcopy=False)]
    except Exception as error:
        raise _damaged(journal, f"an operation in it makes no sense ({type(error).__name__}: {error})") from error
    for trial in trials:
        missing = [name for name in NEEDED if name not in trial.user_attrs]
        if trial.state == TrialState.COMPLETE and (missing or not isinstance(trial.value, float)):
            raise _damaged(journal, f"trial {trial.number} of a search has no {(missing or ['value'])[0]}")
    return storage


def finished_trials(study: optuna.Study) -> list[optuna.trial.FrozenTrial]:
    """Those that were completed, in the order of their seeds, which is that of their numbers.

    Trials that ran at once stand in the journal as they ended. Of two with one seed the first counts: a process that was thought
    dead may have finished what another made again.
    """
    completed = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    first: dict[int, optuna.trial.FrozenTrial] = {}
    for trial in completed:
        first.setdefault(trial.user_attrs.get("seed", -1), trial)
    return [first[seed] for seed in sorted(first)]


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
