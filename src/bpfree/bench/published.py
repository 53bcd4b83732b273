"""What a shared comparison is, as other processes find it in its storage: what was asked for, and the tasks."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import optuna

from bpfree.bench import environment
from bpfree.bench.claims import Claims
from bpfree.bench.journal import WORK
from bpfree.bench.storages import Store
from bpfree.errors import RunDirectoryError

__all__ = ["Work", "code", "published"]

_REQUEST, _COMMAND = "request", "command"


@dataclass(frozen=True)
class Work:
    """A shared comparison.

    Attributes:
        request: JSON values from which any process comes to the same settings and arms; no password.
        command: that asked for it, for the records.
    """

    store: Store
    request: Mapping[str, Any]
    command: str

    @property
    def name(self) -> str:
        """Of the study that holds its tasks: the same wherever the same is asked for."""
        return WORK + hashlib.sha256(json.dumps(self.request, sort_keys=True).encode()).hexdigest()[:16]

    def plan(self, device: str) -> Claims:
        """Its tasks; the first process makes the study.

        Args:
            device: of this process.
        """
        study = optuna.create_study(
            study_name=self.name,
            storage=self.store.storage,
            load_if_exists=True,
            sampler=optuna.samplers.RandomSampler(seed=0),
            pruner=optuna.pruners.NopPruner(),
        )
        if _REQUEST not in study.user_attrs:
            study.set_user_attr(_COMMAND, self.command)
            study.set_user_attr(_REQUEST, dict(self.request))
        return Claims(self.store, study, device)

    def claims(self, device: str) -> Claims:
        """Its tasks, which were planned; nothing is written."""
        sampler = optuna.samplers.RandomSampler(seed=0)
        return Claims(self.store, optuna.load_study(study_name=self.name, storage=self.store.storage, sampler=sampler), device)

    def check_code(self) -> None:
        """Refuse work that other code has planned: trials of two versions are not to be mixed.

        Raises:
            RunDirectoryError: bpfree, torch or optuna is of another version than that of the process that planned it.
        """
        mine = code()
        theirs = self.request["code"]
        differences = [f"{name} {theirs.get(name)}, here {mine[name]}" for name in mine if theirs.get(name) != mine[name]]
        if differences:
            raise RunDirectoryError(
                f"the work at {self.store.place} was planned by other code ({'; '.join(differences)}); install that version here"
            )


def code() -> dict[str, str]:
    """Versions that decide what a run computes."""
    known = environment.versions()
    return {name: known[name] for name in ("bpfree", environment.CODE, "torch", "optuna")}


def published(store: Store) -> list[Work]:
    """The shared comparisons in a storage, in the order in which they were begun.

    Raises:
        RunDirectoryError: there are none.
    """
    studies = sorted(store.storage.get_all_studies(), key=lambda study: study._study_id)
    works = [
        Work(store, study.user_attrs[_REQUEST], study.user_attrs.get(_COMMAND, ""))
        for study in studies
        if study.study_name.startswith(WORK) and _REQUEST in study.user_attrs
    ]
    if not works:
        raise RunDirectoryError(
            f"{store.place} has no shared work; plan some with: bpfree compare --storage journal --out DIR, or with the URL of a "
            "database"
        )
    return works
