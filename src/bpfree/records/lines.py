"""Records as lines of ``records.jsonl``: written whole, read with one line for what is damaged."""

from __future__ import annotations

import json
from pathlib import Path

from pydantic import ValidationError

from bpfree.errors import RunDirectoryError
from bpfree.files import append_line, reading
from bpfree.records.record import SCHEMA_VERSION, Record

__all__ = ["append_record", "finished", "read_records"]


def append_record(path: Path, record: Record) -> None:
    """Append one record as one line; a crash leaves the whole line or none (:func:`bpfree.files.append_line`).

    Raises:
        StorageError: the disk is full, read-only or not permitted. The records written before stay whole.
    """
    append_line(path, record.to_json())


_CURE = "remove that line, and the same command makes that run again"


def read_records(path: Path) -> list[Record]:
    """Read all whole records; a half-written last line (after a crash) is left out.

    Raises:
        RunDirectoryError: a line in the middle is damaged, or was written by a newer version of bpfree.
    """
    if not path.exists():
        return []
    with reading(path):
        *lines, _half = path.read_bytes().split(b"\n")
    records = []
    for number, line in enumerate(lines, start=1):
        try:
            raw = json.loads(line)
        except ValueError as error:
            raise RunDirectoryError(f"{path}, line {number} is not JSON ({error}); {_CURE}") from error
        version = raw.get("schema") if isinstance(raw, dict) else None
        if isinstance(version, int) and version > SCHEMA_VERSION:
            raise RunDirectoryError(
                f"{path}, line {number} has schema {version}, this bpfree reads up to {SCHEMA_VERSION}; "
                "update it with: pip install --upgrade bpfree"
            )
        try:
            records.append(Record.model_validate(raw))
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"]) or "record"
            raise RunDirectoryError(f"{path}, line {number}: {where}: {first['msg']}; {_CURE}") from error
    return records


def finished(records: list[Record]) -> list[Record]:
    """One record per cell: the last that was not interrupted, or the interrupted one where the cell was never finished."""
    last: dict[tuple[str, str, str, str, int], Record] = {}
    for record in records:
        if record.cell not in last or record.status != "interrupted":
            last[record.cell] = record
    return list(last.values())
