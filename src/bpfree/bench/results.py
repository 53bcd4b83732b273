"""Where the records of a shared comparison go."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bpfree.bench.claims import Entry
from bpfree.bench.directory import RunDirectory
from bpfree.bench.environment import Environment
from bpfree.meter import Trace
from bpfree.records import Record

__all__ = ["Results", "collect"]


class Results:
    """Where records go: into a run directory where there is one, and with the claim into a database."""

    def __init__(self, directory: RunDirectory | None, facts: Environment, *, in_database: bool) -> None:
        self.directory, self._facts, self._in_database = directory, facts, in_database
        self.last: Record | None = None

    def append(self, record: Record, traces: Sequence[Trace] = ()) -> None:
        """Write a record; without a directory traces are left out.

        Raises:
            StorageError: the directory cannot be written.
        """
        if self.directory is not None:
            self.directory.append(record, traces)
        self.last = record

    def keep_trace(self, record: Record, trace: Trace) -> None:
        """See :meth:`RunDirectory.keep_trace`."""
        if self.directory is not None:
            self.directory.keep_trace(record, trace)

    def has(self, cell: tuple[str, str, str, str, int]) -> bool:
        """Whether the directory has the cell."""
        return self.directory is not None and cell in self.directory.finished()

    def attributes(self) -> dict[str, Any]:
        """What the claim of the last record is finished with."""
        if self.last is None or not self._in_database:
            return {}
        return {"record": self.last.to_json(), "environment": self._facts.as_json()}


def collect(entries: Sequence[Entry], directory: RunDirectory) -> None:
    """Write the records that a database has and the directory has not.

    Raises:
        StorageError: the directory cannot be written.
    """
    there = directory.finished()
    for entry in entries:
        if entry.finished and "record" in entry.attributes:
            record = Record.model_validate_json(entry.attributes["record"])
            if record.cell not in there:
                directory.add_environment(Environment.model_validate(entry.attributes["environment"]))
                directory.append(record)
                there[record.cell] = record
