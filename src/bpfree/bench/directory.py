"""A run directory: the records and the search's journal are the state; everything else can be rebuilt from them."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import Any

from bpfree import rulesets
from bpfree.bench import environment
from bpfree.errors import RunDirectoryError
from bpfree.files import append_line, drop_half_line, locked, write_atomic, writing
from bpfree.meter import Trace
from bpfree.records import Record, append_record, finished, read_records
from bpfree.rulesets import Ruleset
from bpfree.text import slug

__all__ = ["RunDirectory", "fresh_path"]

_CODE = ("bpfree", environment.CODE, "torch", "optuna")
"""Versions that decide what a search samples and what a run computes."""


def fresh_path(name: str, root: Path = Path("runs")) -> Path:
    """``runs/DATE-NAME``, with a number behind it if that exists."""
    base = root / f"{date.today().isoformat()}-{name}"
    path, number = base, 2
    while path.exists():
        path, number = base.with_name(f"{base.name}-{number}"), number + 1
    return path


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
    def opened(self, ruleset: Ruleset, facts: dict[str, Any], *, accept_other_code: bool = False) -> Iterator[RunDirectory]:
        """Make the directory, or resume it if it has the same ruleset and was made by the same code; hold its lock meanwhile.

        Args:
            facts: see :func:`bpfree.bench.environment.facts`; kept in ``environment.json``.
            accept_other_code: go on although part of the work was done by other code; it is written to the log, and the
                report says it.

        Raises:
            RunDirectoryError: another ruleset or other code was used here, the directory holds something else, or it is in use.
            StorageError: the place cannot be written.
        """
        self._check_before_touching(ruleset)
        other = self._other_code(facts)
        if other and not accept_other_code:
            raise RunDirectoryError(
                f"{self.path} was made by other code ({other}), and a search half done by each is neither; choose "
                "another --out DIR, install what made it, or accept the mixture with --accept-other-code"
            )
        with writing(self.path):
            self.path.mkdir(parents=True, exist_ok=True)
        with locked(self.path / ".lock"):
            drop_half_line(self.journal_path)
            for stale in self.path.glob(f"{self.journal_path.name}.lock*"):
                stale.unlink(missing_ok=True)  # a killed process leaves Optuna's lock behind; ours shows that none is alive
            if not self.ruleset_path.exists():
                rulesets.save(ruleset, self.ruleset_path)
            self._add_environment(facts)
            if other:
                self.log(f"other code accepted: {other}")
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

    def _other_code(self, facts: dict[str, Any]) -> str:
        """In what the code that did the work so far differs from this one, as words; empty if it does not."""
        worked = any(path.exists() and path.stat().st_size for path in (self.records_path, self.journal_path))
        if not worked or not self.environment_path.exists():
            return ""
        mine = facts.get("versions", {})
        differences: list[str] = []
        for known in json.loads(self.environment_path.read_text()).values():
            theirs = known.get("versions", {})
            found = [f"{key} {theirs[key]}, now {mine[key]}" for key in _CODE if key in theirs and theirs[key] != mine.get(key)]
            if not found:
                return ""
            differences = found
        return "; ".join(differences)

    def _add_environment(self, facts: dict[str, Any]) -> None:
        known = json.loads(self.environment_path.read_text()) if self.environment_path.exists() else {}
        key = environment.digest(facts)
        if key not in known:
            write_atomic(self.environment_path, json.dumps({**known, key: facts}, indent=2) + "\n")

    def records(self) -> list[Record]:
        """One record per cell, see :func:`bpfree.records.finished`."""
        return finished(read_records(self.records_path))

    def append(self, record: Record, traces: Sequence[Trace] = ()) -> None:
        """Keep a record for good, and then the traces of its window (a disk that refuses them must not take it along)."""
        append_record(self.records_path, record)
        for trace in traces:
            self._keep_trace(record, trace)

    def _keep_trace(self, record: Record, trace: Trace) -> None:
        """Write what the device did during a run to ``timelines/ARM-seedN-HASH.jsonl``; a run done again replaces it."""
        about = {"arm": record.arm, "dataset": record.dataset, "net": record.net, "seed": record.seed,
                 "ruleset_digest": record.ruleset_digest, "started_at": record.started_at}  # fmt: skip
        arm = slug(record.arm)
        which = hashlib.sha256(json.dumps(record.cell).encode()).hexdigest()[:8]
        with writing(self.timelines_path):
            self.timelines_path.mkdir(exist_ok=True)
        write_atomic(self.timelines_path / f"{arm}-seed{record.seed}-{which}.jsonl", trace.lines(about))

    def log(self, line: str) -> None:
        """Append a line with its time to ``log.txt``."""
        append_line(self.log_path, f"{time.strftime('%Y-%m-%dT%H:%M:%S')} {line}")

    def keep_tuned(self, rows: list[dict[str, Any]]) -> None:
        """Write what was tuned to what, beside the cells that were tuned before; it can always be rebuilt from the journal."""
        known = json.loads(self.tuned_path.read_text()) if self.tuned_path.exists() else []
        cells = {_tuned_cell(row): row for row in (*known, *rows)}
        write_atomic(self.tuned_path, json.dumps(list(cells.values()), indent=2) + "\n")


def _tuned_cell(row: dict[str, Any]) -> tuple[Any, ...]:
    return tuple(row.get(key) for key in ("arm", "dataset", "net"))
