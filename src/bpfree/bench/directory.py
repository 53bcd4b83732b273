"""A run directory: the records and the search's journal are the state; everything else can be rebuilt from them."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import Any

from bpfree import rulesets
from bpfree.bench import environment
from bpfree.errors import RunDirectoryError
from bpfree.files import append_line, drop_half_line, locked, write_atomic, writing
from bpfree.records import Record, append_record, finished, read_records
from bpfree.rulesets import Ruleset

__all__ = ["RunDirectory", "fresh_path"]


def fresh_path(name: str, root: Path = Path("runs")) -> Path:
    """``runs/DATE-NAME``, with a number behind it if that exists."""
    base = root / f"{date.today().isoformat()}-{name}"
    path, number = base, 2
    while path.exists():
        path, number = base.with_name(f"{base.name}-{number}"), number + 1
    return path


class RunDirectory:
    """``ruleset.yaml environment.json study.journal records.jsonl tuned.json checkpoints/ report/ log.txt`` at one place."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.ruleset_path = path / "ruleset.yaml"
        self.environment_path = path / "environment.json"
        self.journal_path = path / "study.journal"
        self.records_path = path / "records.jsonl"
        self.tuned_path = path / "tuned.json"
        self.checkpoints_path = path / "checkpoints"
        self.log_path = path / "log.txt"

    @contextmanager
    def opened(self, ruleset: Ruleset, facts: dict[str, Any]) -> Iterator[RunDirectory]:
        """Make the directory, or resume it if it has the same ruleset; hold its lock meanwhile.

        Raises:
            RunDirectoryError: another ruleset was used here, the directory holds something else, or it is in use.
            StorageError: the place cannot be written.
        """
        self._check_before_touching(ruleset)
        with writing(self.path):
            self.path.mkdir(parents=True, exist_ok=True)
        with locked(self.path / ".lock"):
            drop_half_line(self.journal_path)
            for stale in self.path.glob(f"{self.journal_path.name}.lock*"):
                stale.unlink(missing_ok=True)  # a killed process leaves Optuna's lock behind; ours shows that none is alive
            if not self.ruleset_path.exists():
                rulesets.save(ruleset, self.ruleset_path)
            self._add_environment(facts)
            yield self

    def _check_before_touching(self, ruleset: Ruleset) -> None:
        if not self.path.exists():
            return
        if not self.path.is_dir():
            raise RunDirectoryError(f"{self.path} is a file; choose another --out DIR")
        if self.ruleset_path.exists():
            there = rulesets.load(self.ruleset_path)
            if rulesets.digest(there) != rulesets.digest(ruleset):
                raise RunDirectoryError(
                    f"{self.path} holds runs under another ruleset ({'; '.join(rulesets.difference(there, ruleset))}); "
                    "choose another --out DIR, or give the options it was made with"
                )
        elif any(entry.name != ".lock" for entry in self.path.iterdir()):
            raise RunDirectoryError(
                f"{self.path} is not empty and not a run directory (it has no ruleset.yaml); choose another --out DIR"
            )

    def _add_environment(self, facts: dict[str, Any]) -> None:
        known = json.loads(self.environment_path.read_text()) if self.environment_path.exists() else {}
        key = environment.digest(facts)
        if key not in known:
            write_atomic(self.environment_path, json.dumps({**known, key: facts}, indent=2) + "\n")

    def records(self) -> list[Record]:
        """One record per cell, see :func:`bpfree.records.finished`."""
        return finished(read_records(self.records_path))

    def append(self, record: Record) -> None:
        """Keep a record for good."""
        append_record(self.records_path, record)

    def log(self, line: str) -> None:
        """Append a line with its time to ``log.txt``."""
        append_line(self.log_path, f"{time.strftime('%Y-%m-%dT%H:%M:%S')} {line}")

    def keep_tuned(self, rows: list[dict[str, Any]]) -> None:
        """Write what was tuned to what; it can always be rebuilt from the journal."""
        write_atomic(self.tuned_path, json.dumps(rows, indent=2) + "\n")
