"""The runs below a folder, as the first page lists them: read leniently, since one damaged line must not hide the rest."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any
from urllib.parse import quote

from bpfree.report.rendering import fill
from bpfree.text import readable

__all__ = ["Listed", "listed", "page"]

DEPTH = 4
"""Folders below the one that is served in which runs are looked for; a suite has its run directories inside."""

_NO_RUNS = frozenset({"report", "checkpoints", "timelines", "figures"})


@dataclass(frozen=True)
class Listed:
    """One directory with runs or with a report.

    Attributes:
        name: its path below the folder.
        report, records, log: addresses; empty where there is no such file.
        tasks, arms: names in the records, in their order.
        runs: number of runs by status, in words.
        last: when the last of them began.
    """

    name: str
    report: str
    records: str
    log: str
    tasks: tuple[str, ...] = ()
    arms: tuple[str, ...] = ()
    runs: str = ""
    ruleset: str = ""
    last: str = ""


def listed(root: Path) -> list[Listed]:
    """Every directory with runs or a report, the latest first; links to other directories are not followed."""
    return sorted((_read(path, root) for path in _directories(root)), key=lambda each: (each.last, each.name), reverse=True)


def _directories(root: Path) -> Iterator[Path]:
    for folder, names, files in os.walk(root):
        path = Path(folder)
        names[:] = sorted(name for name in names if not name.startswith(".") and name not in _NO_RUNS)
        if len(path.relative_to(root).parts) >= DEPTH:
            names.clear()
        if "records.jsonl" in files or _inside(path / "report" / "index.html", root):
            yield path


def _inside(path: Path, root: Path) -> bool:
    return path.is_file() and path.resolve().is_relative_to(root)


def _read(path: Path, root: Path) -> Listed:
    def address(name: str) -> str:
        inside = _inside(path / name, root)
        return "/" + quote((path / name).relative_to(root).as_posix(), errors="surrogateescape") if inside else ""

    records = address("records.jsonl")
    return Listed(
        name=readable(root.name if path == root else path.relative_to(root).as_posix()),
        report=address("report/index.html"),
        records=records,
        log=address("log.txt"),
        ruleset=_ruleset(path / "ruleset.yaml") if address("ruleset.yaml") else "",
        **(_summary(path / "records.jsonl") if records else {}),
    )


def _summary(path: Path) -> dict[str, Any]:
    """What the records say, read again only when the file has changed: they may be long, and the runs many."""
    state = path.stat()
    return _read_records(path, state.st_mtime_ns, state.st_size)


@lru_cache(maxsize=4096)
def _read_records(path: Path, changed_ns: int, size_bytes: int) -> dict[str, Any]:
    del changed_ns, size_bytes  # with them an old answer is not taken for a file that has changed
    records = list(_records(path))
    counts = Counter(str(record.get("status")) for record in records)
    return {
        "tasks": tuple(dict.fromkeys(f"{record.get('dataset')}, {record.get('net')}" for record in records)),
        "arms": tuple(dict.fromkeys(str(record.get("arm")) for record in records)),
        "runs": ", ".join(f"{count} {status}" for status, count in counts.most_common()),
        "last": max((str(record.get("started_at", ""))[:16] for record in records), default="").replace("T", " "),
    }


def _records(path: Path) -> Iterator[Mapping[str, Any]]:
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            record = json.loads(line)
        except ValueError:
            continue
        if isinstance(record, dict):
            yield record


def _ruleset(path: Path) -> str:
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        if line.startswith("name:"):
            return line.removeprefix("name:").strip().strip("'\"")
    return ""


def page(root: Path) -> str:
    """The list as a page."""
    runs = listed(root)
    return fill("runs.html.j2", has_charts=False, title=f"bpfree: runs in {readable(root.name)}", runs=runs)
