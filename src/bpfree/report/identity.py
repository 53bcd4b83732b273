"""What the runs of one table must share besides their rules: the data, the code, and the version of their records.

Rules, data and code each have a digest of their own in a record. Two data are refused, since accuracies on them are no pair.
Two versions of the code are refused unless the reader accepts them; the report then says so. Another processor, GPU or number of
threads changes times and energies, and accuracies by rounding alone, which :mod:`bpfree.report.identity_flags` says.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from bpfree.errors import RunDirectoryError
from bpfree.records import Record

__all__ = ["CODE", "check_identity", "code_differences"]

CODE = ("bpfree code", "torch", "optuna")
"""Versions in a record that decide what a search tries and what a run computes."""

SHOWN = 16
"""Digits of a digest in a message."""


def check_identity(records: Mapping[Path, Sequence[Record]], *, accept_other_code: bool = False) -> None:
    """Refuse records of which one table cannot be made.

    Args:
        records: by run directory.
        accept_other_code: let runs of several versions of the code stand in one table.

    Raises:
        RunDirectoryError: the runs of a data set and net are on two data, by two versions of the code, or in records of two
            versions.
    """
    placed = [(path, run) for path, runs in records.items() for run in runs]
    for task in dict.fromkeys((run.dataset, run.net) for _path, run in placed):
        of_task = [(path, run) for path, run in placed if (run.dataset, run.net) == task]
        _check_versions(of_task)
        _check_data(of_task)
        differences = code_differences([run for _path, run in of_task])
        if differences and not accept_other_code:
            raise RunDirectoryError(
                f"DIFFERENT CODE: {'; '.join(_placed(of_task, name) for name in differences)}; accuracies cannot be compared "
                f"either; report the runs on {task[0]} of one code at a time, or accept both with --accept-other-code"
            )


def _check_versions(placed: Sequence[tuple[Path, Record]]) -> None:
    old = [(path, run) for path, run in placed if run.schema_version < 2]
    if old and len(old) < len(placed):
        new = next(path for path, run in placed if run.schema_version >= 2)
        raise RunDirectoryError(
            f"{old[0][0]} has records of version 1, which do not name the contents of their data, {new} has later ones; they "
            "cannot stand in one table; report them one by one"
        )


def _check_data(placed: Sequence[tuple[Path, Record]]) -> None:
    """Runs with one split seed must be on the same values, in the same split, normalised in the same way."""
    first: dict[int, tuple[Path, Record]] = {}
    for path, run in placed:
        there, one = first.setdefault(run.split_seed, (path, run))
        what = _other_data(one, run)
        if what:
            raise RunDirectoryError(
                f"{there} ({one.arm}, seed {one.seed}) and {path} ({run.arm}, seed {run.seed}) were run on different data of the "
                f"name {run.dataset}: {what}; they cannot stand in one table; report them one by one"
            )


def _other_data(one: Record, other: Record) -> str:
    """How the data of two records differ, in words; empty if they do not."""
    if one.split != other.split:
        return f"stored values or split {one.split[:SHOWN]} and {other.split[:SHOWN]}"
    if one.data_digest != other.data_digest:
        digests = f"{(one.data_digest or 'none')[:SHOWN]} and {(other.data_digest or 'none')[:SHOWN]}"
        return f"the same values in the same split, normalised differently ({digests})"
    return ""


def code_differences(runs: Sequence[Record]) -> dict[str, list[str]]:
    """The versions of :data:`CODE` in which the runs differ, each with the values that occur, in order."""
    by_name = {name: list(dict.fromkeys(run.versions.get(name, "not recorded") for run in runs)) for name in CODE}
    return {name: values for name, values in by_name.items() if len(values) > 1}


def _placed(placed: Sequence[tuple[Path, Record]], name: str) -> str:
    """``"torch 2.12 in runs/a, 2.13 in runs/b"``."""
    return f"{name} " + ", ".join(f"{value} in {', '.join(places)}" for value, places in _places(placed, name))


def _places(placed: Sequence[tuple[Path, Record]], name: str) -> Iterator[tuple[str, list[str]]]:
    by_value: dict[str, dict[str, None]] = {}
    for path, run in placed:
        by_value.setdefault(run.versions.get(name, "not recorded"), {})[str(path)] = None
    for value, places in by_value.items():
        yield value, list(places)
