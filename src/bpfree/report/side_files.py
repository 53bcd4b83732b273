"""``tuned.json`` and ``environment.json`` as the report reads them: of any version, and refused where they are damaged."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from bpfree.errors import RunDirectoryError
from bpfree.files import reading

__all__ = ["read_environments", "read_searches"]


class _Trial(BaseModel):
    """The part of a trial that the report reads; earlier versions wrote less."""

    model_config = ConfigDict(frozen=True)

    values: dict[str, Any] | None = None
    val_accuracy: float | None = None
    diverged: bool | None = None


class _Search(BaseModel):
    """The part of a search that the report reads; earlier versions wrote less."""

    model_config = ConfigDict(frozen=True)

    arm: str | None = None
    dataset: str | None = None
    net: str | None = None
    data_digest: str | None = None
    study: int | None = None
    split_seed: int | None = None
    best: dict[str, float | int | bool | str] | None = None
    best_val_accuracy: float | None = None
    space: dict[str, str] | None = None
    at_edge: list[str] | None = None
    trials: int | None = None
    diverged_trials: int | None = None
    passes_per_trial: int | None = None
    examples_per_trial: int | None = None
    examples_per_run: int | None = None
    n_validation: int | None = None
    time_s: float | None = None
    joules: float | None = None
    unequal_search: list[str] | None = None
    tried: list[_Trial] | None = None


class _Environment(BaseModel):
    """Only the versions are compared; everything else is shown as it is."""

    model_config = ConfigDict(frozen=True)

    versions: dict[str, str] | None = None


_SEARCHES = TypeAdapter(list[_Search])
_ENVIRONMENTS = TypeAdapter(dict[str, _Environment])


def read_searches(directory: Path) -> list[Mapping[str, Any]]:
    """The rows of ``tuned.json``, as they are; none where there is no file.

    Raises:
        RunDirectoryError: the file is damaged; the message says what to do.
    """
    return _read(directory / "tuned.json", _SEARCHES, "searches") or []


def read_environments(directory: Path) -> dict[str, Mapping[str, Any]]:
    """The environments of ``environment.json`` by their digest, as they are; none where there is no file.

    Raises:
        RunDirectoryError: the file is damaged; the message says what to do.
    """
    return _read(directory / "environment.json", _ENVIRONMENTS, "machines") or {}


def _read(path: Path, form: TypeAdapter[Any], what: str) -> Any:
    if not path.exists():
        return None
    with reading(path):
        content = path.read_bytes()
    cure = f"the command that made {path.parent} makes it again, or move it away to report without its {what}"
    try:
        form.validate_json(content)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise RunDirectoryError(f"{path} cannot be read ({where + ': ' if where else ''}{first['msg']}); {cure}") from error
    return json.loads(content)
