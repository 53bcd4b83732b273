"""A run directory: the records and the journal of the searches are the state; the other files can be rebuilt from them."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import date
from pathlib import Path

from bpfree import rulesets
from bpfree.bench import environment
from bpfree.bench.damage import rules_of, set_aside
from bpfree.bench.environment import Environment, read_environments, write_environments
from bpfree.bench.tuned import TunedRow, read_tuned, write_tuned
from bpfree.errors import RunDirectoryError, StorageError
from bpfree.files import append_line, drop_half_line, locked, remove_parts, write_atomic, writing
from bpfree.locks import held
from bpfree.meter import Trace
from bpfree.records import Record, append_record, finished, read_records
from bpfree.rulesets import Ruleset
from bpfree.text import slug

__all__ = ["RunDirectory", "cell_name", "fresh_path"]

_CODE = ("bpfree", environment.CODE, "torch", "optuna")
"""Versions that decide what a search samples and what a run computes."""


def fresh_path(name: str, root: Path = Path("runs")) -> Path:
    """``runs/DATE-NAME``; ``runs/DATE-NAME-2`` and so on where that exists. Odd characters of the name become hyphens."""
    base = root / f"{date.today().isoformat()}-{slug(name, keep='._') or 'unnamed'}"
    path, number = base, 2
    while path.exists():
        path, number = base.with_name(f"{base.name}-{number}"), number + 1
    return path


def cell_name(cell: tuple[str, str, str, str, int], *, study: bool = False) -> str:
    """A file name for a measured run: its arm, shortened, its seed (or study), and a digest of the whole cell.

    Args:
        cell: see ``Record.cell``.
        study: whether its number is that of a study.
    """
    which = hashlib.sha256(json.dumps(cell).encode()).hexdigest()[:8]
    return f"{slug(cell[0])}-{'study' if study else 'seed'}{cell[-1]}-{which}"


class RunDirectory:
    """``ruleset.yaml environment.json study.journal records.jsonl tuned.json checkpoints/ timelines/ report/ log.txt``."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.ruleset_path = path / "ruleset.yaml"
        self.environment_path = path / "environment.json"
        self.journal_path = path / "study.journal"
        self.records_path = path / "records.jsonl"
        self.tuned_path = path / "tuned.json"
        self.checkpoints_path = path / "checkpoints"
        self.timelines_path = path / "timelines"
        self.log_path = path / "log.txt"

    @contextmanager
    def opened(self, ruleset: Ruleset, facts: Environment, *, accept_other_code: bool = False) -> Iterator[RunDirectory]:
        """Make the directory, or resume one made under the same ruleset by the same code; it is locked until the block ends.

        Args:
            facts: see :func:`bpfree.bench.environment.facts`; added to ``environment.json``.
            accept_other_code: resume although other code did a part of the work; the log and the report say so.

        Raises:
            RunDirectoryError: another ruleset or other code was used here, the directory holds something else, or it is in use.
            StorageError: the directory cannot be written.
        """
        damage = self._check_before_touching(ruleset)
        other = self._other_code(facts)
        if other and not accept_other_code:
            raise RunDirectoryError(
                f"{self.path} was made by other code ({other}), and results of two versions should not be mixed; choose "
                "another --out DIR, install the version that made it, or accept the mixture with --accept-other-code"
            )
        with writing(self.path):
            self.path.mkdir(parents=True, exist_ok=True)
        with locked(self.path / ".lock"):
            drop_half_line(self.journal_path)
            self._remove_parts()
            if damage:
                self._set_aside(self.ruleset_path, damage, "of the rules of this command, under which its records were made")
            if not self.ruleset_path.exists():
                rulesets.save(ruleset, self.ruleset_path)
            self.add_environment(facts)
            if other:
                self.log(f"other code accepted: {other}")
            yield self

    @contextmanager
    def joined(self, facts: Environment) -> Iterator[RunDirectory]:
        """Work in a directory that another process has opened, beside it; records and the log are appended line by line.

        Raises:
            StorageError: the directory cannot be written.
        """
        with held(self.path / ".workers.lock", together=True):
            self.add_environment(facts)
            yield self

    def has_workers(self) -> bool:
        """Whether other processes work in the directory, see :meth:`joined`."""
        if not self.path.exists():
            return False
        with held(self.path / ".workers.lock", wait=False) as alone:
            return not alone

    def _remove_parts(self) -> None:
        """Of a killed process, where no other is at work here."""
        report = self.path / "report"
        with held(self.path / ".workers.lock", wait=False) as alone:
            for folder in (self.path, self.checkpoints_path, self.timelines_path, report, report / "figures") if alone else ():
                remove_parts(folder)

    def _check_before_touching(self, ruleset: Ruleset) -> str:
        """Refuse another ruleset; returns what is the matter with ``ruleset.yaml``, if that file is to be made again."""
        if not self.path.exists():
            return ""
        if not self.path.is_dir():
            raise RunDirectoryError(f"{self.path} is a file; choose another --out DIR")
        there, damage = rules_of(self.path, ruleset)
        if rulesets.digest(there) != rulesets.digest(ruleset):
            raise RunDirectoryError(
                f"{self.path} holds runs under another ruleset ({'; '.join(rulesets.difference(there, ruleset))}); "
                "choose another --out DIR, or give the options it was made with"
            )
        return damage

    def _other_code(self, facts: Environment) -> str:
        """How the code that did the work so far differs from this one, in words; empty if it does not."""
        has_work = any(path.exists() and path.stat().st_size for path in (self.records_path, self.journal_path))
        if not has_work:
            return ""
        differences: list[str] = []
        for earlier in self._earlier_versions():
            differences = [
                f"{key} {earlier[key]}, now {facts.versions.get(key)}"
                for key in _CODE
                if key in earlier and earlier[key] != facts.versions.get(key)
            ]
            if not differences:
                return ""
        return "; ".join(differences)

    def _earlier_versions(self) -> list[dict[str, str]]:
        """Versions of the code that did the work so far; the records have them too, if ``environment.json`` is lost."""
        known, damage = self._environments()
        if known:
            return [environment.versions for environment in known.values()]
        recorded = [record.versions for record in read_records(self.records_path)]
        return recorded or [{environment.CODE: f"unknown: {damage or f'{self.environment_path} is missing'}"}]

    def _environments(self) -> tuple[dict[str, Environment], str]:
        """What ``environment.json`` has, and what is the matter with it, if anything is."""
        try:
            return read_environments(self.environment_path), ""
        except RunDirectoryError as error:
            return {}, str(error)

    def add_environment(self, facts: Environment) -> None:
        """Add what a process runs on to ``environment.json``; a damaged file is made again.

        Raises:
            StorageError: the file cannot be written.
        """
        with held(self.path / ".environment.lock"):
            known, damage = self._environments()
            if damage:
                self._set_aside(
                    self.environment_path, damage, "the machines of earlier runs are lost, their versions are in the records"
                )
            key = environment.digest(facts)
            if key not in known:
                write_environments(self.environment_path, {**known, key: facts})

    def _set_aside(self, path: Path, damage: str, lost: str) -> None:
        self.log(f"{damage}: {lost}")
        set_aside(path, damage, lost)

    def records(self) -> list[Record]:
        """One record per cell, see :func:`bpfree.records.finished`."""
        return finished(read_records(self.records_path))

    def finished(self) -> dict[tuple[str, str, str, str, int], Record]:
        """The records of the cells that need not be run again, by cell: all but those whose run was interrupted."""
        return {record.cell: record for record in self.records() if record.status != "interrupted"}

    def append(self, record: Record, traces: Sequence[Trace] = ()) -> None:
        """Write a record, and before it the traces of its window: a kill in between leaves a run that is made again.

        Raises:
            StorageError: the directory cannot be written; a disk that refuses a trace does not lose the record.
        """
        refused: StorageError | None = None
        try:
            for trace in traces:
                self.keep_trace(record, trace)
        except StorageError as error:
            refused = error
        append_record(self.records_path, record)
        if refused is not None:
            raise refused

    def keep_trace(self, record: Record, trace: Trace) -> None:
        """Write what the device did during a run to ``timelines/ARM-seedN-HASH.jsonl``; repeating the run replaces the file.

        In a study the best trial so far replaces the one before.
        """
        about = {
            "arm": record.arm,
            "dataset": record.dataset,
            "net": record.net,
            "seed": record.seed,
            "ruleset_digest": record.ruleset_digest,
            "started_at": record.started_at,
        }
        with writing(self.timelines_path):
            self.timelines_path.mkdir(exist_ok=True)
        write_atomic(self.timelines_path / f"{cell_name(record.cell, study=record.study is not None)}.jsonl", trace.lines(about))

    def log(self, line: str) -> None:
        """Append a line with its time to ``log.txt``."""
        append_line(self.log_path, f"{time.strftime('%Y-%m-%dT%H:%M:%S')} {line}")

    def tuned(self) -> list[TunedRow]:
        """The outcomes of the searches, as ``tuned.json`` has them.

        Raises:
            RunDirectoryError: the file cannot be read.
        """
        return read_tuned(self.tuned_path)

    def add_tuned(self, rows: Sequence[TunedRow]) -> None:
        """Add outcomes of searches to ``tuned.json``; a row of the same search is replaced, and a damaged file is made again."""
        try:
            known = self.tuned()
        except RunDirectoryError as error:
            self._set_aside(self.tuned_path, str(error), "searches of other commands come back when those are given again")
            known = []
        rows = [*known, *rows]
        if not self.tuned_path.exists() or rows != known:
            write_tuned(self.tuned_path, rows)
