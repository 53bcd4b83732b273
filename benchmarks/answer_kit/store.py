"""What was measured, in files: one for each section, written after each measurement, and ``answer.json`` with all of them."""

from __future__ import annotations

import hashlib
import json
import re
import sys
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bpfree.errors import RunDirectoryError
from bpfree.files import write_atomic, writing

from .options import HERE, SECTIONS, Options

__all__ = ["TITLES", "Section", "Store", "digest", "now", "say"]

SCHEMA = 1
TITLES = {
    "doctor": "Is the meter right?",
    "costs": "What a pass and a step cost",
    "experiment": "Experiment 1: whole trainings, at most 50 passes",
    "clocks": "Clocks and power over time",
    "tests": "The tests that need a GPU",
}


def say(line: str) -> None:
    """Print a line of progress."""
    sys.stderr.write(f"{datetime.now().strftime('%H:%M:%S')} {line}\n")
    sys.stderr.flush()


def now() -> str:
    """The time, for a file."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def digest(values: Any) -> str:
    """First 8 hexadecimal digits of the sha256 of plain values."""
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:8]


@dataclass
class Section:
    """One section.

    Attributes:
        identity: code, device and options that made ``data``; data of another identity are not gone on with.
        status: ``"running"``, ``"done"``, ``"partial"`` (the same command goes on), ``"failed"``.
        reason: why it is not done.
        calls: when it was run, what time it was given and took (s), how it ended.
    """

    store: Store
    name: str
    identity: dict[str, Any]
    status: str = "partial"
    reason: str | None = None
    calls: list[dict[str, Any]] = field(default_factory=list)
    data: dict[str, Any] = field(default_factory=dict)

    def begin(self, given_s: float) -> None:
        """A call works on it, with that much time."""
        self.status, self.reason = "running", None
        self.calls.append({"started_at": now(), "given_s": round(given_s, 3), "used_s": None, "status": "running"})
        self.save()

    def end(self, status: str, used_s: float | None, reason: str | None = None) -> None:
        """The call has ended; the time is None where it is not known. How earlier calls ended stays as it was."""
        self.status, self.reason = status, reason
        if self.calls and self.calls[-1]["status"] == "running":
            self.calls[-1] |= {"used_s": None if used_s is None else round(used_s, 3), "status": status, "reason": reason}
        self.save()

    def save(self) -> None:
        """Write the section, and the answer with it."""
        self.store.write_section(self)

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        fields = ("name", "status", "reason", "identity", "calls", "data")
        return {"title": TITLES[self.name]} | {key: getattr(self, key) for key in fields}


class Store:
    """The directory ``out``.

    Args:
        hidden: folders of this machine, and what is written in their place.
    """

    def __init__(self, out: Path, hidden: dict[str, str] | None = None) -> None:
        self.out = out
        places = {str(out.resolve()): "OUT", str(out): "OUT", str(HERE.parent): ".", str(Path.home()): "~", **(hidden or {})}
        places = {place: name for place, name in places.items() if len(place) > 1 and place.startswith("/")}
        self._hidden = dict(sorted(places.items(), key=lambda item: -len(item[0])))

    @classmethod
    def of(cls, options: Options) -> Store:
        """The store that the options name; what it writes does not name the folders of the data either."""
        folders = [] if options.data_dir is None else [options.data_dir]
        if options.dataset is not None and options.dataset.endswith(".npz"):
            folders.append(Path(options.dataset).parent)
        return cls(options.out, {str(place): "DIR" for folder in folders for place in (folder, folder.resolve())})

    def clean(self, text: str) -> str:
        """The text without the folders of this machine."""
        for place, name in self._hidden.items():
            text = re.sub(rf"{re.escape(place)}(?![\w-])", name, text)
        return text

    def read(self, name: str) -> dict[str, Any]:
        """A section as it is stored; empty where it is not.

        Raises:
            RunDirectoryError: the file is damaged.
        """
        return self._read(self.out / "sections" / f"{name}.json")

    def section(self, name: str, identity: dict[str, Any]) -> Section:
        """A section to work on: the one that is there if its identity is the same; another one is moved to ``earlier/``."""
        there = self.read(name)
        if there and there["identity"] == identity:
            return Section(self, name, identity, there["status"], there["reason"], there["calls"], there["data"])
        if there:
            (self.out / "earlier").mkdir(exist_ok=True)
            (self.out / "sections" / f"{name}.json").replace(self.out / "earlier" / f"{name}-{digest(there)}.json")
        return Section(self, name, identity)

    def write_about(self, about: dict[str, Any]) -> None:
        """Write what the answers were made on."""
        self._write(self.out / "about.json", about)

    def write_section(self, section: Section) -> None:
        """Write a section, and ``answer.json``."""
        self._write(self.out / "sections" / f"{section.name}.json", section.as_json())
        self.write_answer()

    def answer(self) -> dict[str, Any]:
        """Everything, as plain values."""
        sections = {name: self.read(name) or _not_run(name) for name in SECTIONS}
        return {"schema": SCHEMA, "about": self._read(self.out / "about.json"), "sections": sections}

    def write_answer(self) -> None:
        """Write ``answer.json``."""
        self._write(self.out / "answer.json", self.answer())

    def write_text(self, name: str, text: str) -> None:
        """Write another file of the answer."""
        self._write_text(self.out / name, text)

    def _write(self, path: Path, values: Any) -> None:
        self._write_text(path, json.dumps(values, indent=1, allow_nan=False) + "\n")

    def _write_text(self, path: Path, text: str) -> None:
        with writing(path.parent):
            path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(path, self.clean(text))

    @staticmethod
    def _read(path: Path) -> dict[str, Any]:
        if not path.exists():
            return {}
        try:
            return json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise RunDirectoryError(f"{path} is damaged ({error}); remove it, and the same command measures it again") from error


def _not_run(name: str) -> dict[str, Any]:
    reason = "it was not run yet"
    return {"title": TITLES[name], "name": name, "status": "not run", "reason": reason, "identity": {}, "calls": [], "data": {}}
