"""Kill a command at its events in the file system, one after another, give it again, and say what differs from a whole run.

Run as a script: ``python kill_sweep.py FOLDER STEP ARGUMENTS``; it prints a JSON object. An event is what Python tells its audit
hooks (a file that is opened for writing, renamed, removed, cut, a folder that is made), a ``write`` (killed with half of it done)
or an ``fsync``. Each command is a fork of one process that has loaded all modules and computed nothing, since threads do not
survive a fork.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import json
import os
import shutil
import sys
from pathlib import Path
from typing import Any

from bpfree.cli import run
from bpfree.records import read_records

KILLED = 137
EVENTS = ("os.rename", "os.remove", "os.mkdir", "os.truncate", "os.chmod")
LEARNED = (
    "arm", "study", "seed", "params", "status", "val_accuracy", "test_accuracy", "correct", "steps", "examples_seen", "stops",
    "passes", "split_seed", "data_digest",
)  # fmt: skip


class Faults:
    """Counts the events under a folder, and ends the process at one of them.

    Args:
        kill_at: number of the event, from 0; None for none.
    """

    def __init__(self, folder: Path, kill_at: int | None) -> None:
        self.folder, self.kill_at, self.seen = str(folder), kill_at, []
        sys.addaudithook(self._hook)
        self._write, self._fsync = os.write, os.fsync
        os.write, os.fsync = self._half_write, self._sync

    def _count(self, kind: str, path: object) -> bool:
        self.seen.append(f"{kind} {Path(os.fsdecode(path)).name if isinstance(path, str | bytes | Path) else ''}")
        return len(self.seen) - 1 == self.kill_at

    def _hook(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open":
            path, _, flags = arguments
            counts = isinstance(path, str) and isinstance(flags, int) and flags & (os.O_WRONLY | os.O_RDWR)
        else:
            path, counts = (arguments[0], True) if event in EVENTS else ("", False)
        inside = isinstance(path, int) or (isinstance(path, str | Path) and str(Path(path).absolute()).startswith(self.folder))
        if counts and inside and self._count(event, path):
            os._exit(KILLED)

    def _half_write(self, descriptor: int, data: bytes) -> int:
        if self._count("write", None):
            self._write(descriptor, data[: len(data) // 2])
            os._exit(KILLED)
        return self._write(descriptor, data)

    def _sync(self, descriptor: int) -> None:
        if self._count("fsync", None):
            os._exit(KILLED)
        self._fsync(descriptor)


def command(arguments: list[str], where: Path, kill_at: int | None) -> tuple[int, list[str]]:
    """Run ``bpfree`` in a fork; returns its exit code and the events, if it was not killed."""
    where.mkdir(exist_ok=True)
    log = where / "events.json"
    child = os.fork()
    if child == 0:
        os.chdir(where)
        for descriptor in (1, 2):
            os.dup2(os.open(where / "output.txt", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666), descriptor)
        faults = Faults(where / "R", kill_at)
        code = run(arguments)
        events = list(faults.seen)
        faults.kill_at = None
        log.write_text(json.dumps(events))
        (where / "modules.json").write_text(json.dumps(list(sys.modules)))
        os._exit(code)
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status), json.loads(log.read_text()) if log.exists() else []


def state(directory: Path) -> dict[str, Any]:
    """What must be the same after any kill: what was learned, what was found, the models, and which files there are."""
    records = [record for record in read_records(directory / "records.jsonl") if record.status != "interrupted"]
    tuned = json.loads((directory / "tuned.json").read_text()) if (directory / "tuned.json").exists() else []
    return {
        "records": [
            record.model_dump(mode="json", include=set(LEARNED)) | {"losses": [entry.train_loss for entry in record.history]}
            for record in records
        ],
        "tuned": [{key: row[key] for key in ("arm", "study", "best", "best_val_accuracy", "tried", "trials")} for row in tuned],
        "models": {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in sorted(directory.glob("*.safetensors"))},
        "files": sorted(str(path.relative_to(directory)) for path in directory.rglob("*") if path.is_file()),
    }


def sweep(folder: Path, arguments: list[str], step: int) -> dict[str, Any]:
    """Kill at every ``step``-th event; ``wrong`` says after which of them the same command did not come to the same state."""
    code, events = command(arguments, folder / "whole", None)
    assert code == 0, (folder / "whole" / "output.txt").read_text()
    for name in json.loads((folder / "whole" / "modules.json").read_text()):
        with contextlib.suppress(Exception):  # some can only be loaded by their package
            importlib.import_module(name)
    whole = state(folder / "whole" / "R")
    chosen = range(0, len(events), step)
    wrong = []
    for number in chosen:
        where = folder / "killed"
        killed, _ = command(arguments, where, number)
        code, _ = command(arguments, where, None)
        found = state(where / "R") if code == 0 else {}
        if (killed, code, found) != (KILLED, 0, whole):
            differs = [key for key in whole if found.get(key) != whole[key]]
            said = (where / "output.txt").read_text()[-2000:]
            wrong.append(
                {"event": f"{number}: {events[number]}", "killed": killed, "code": code, "differs": differs, "said": said}
            )
        shutil.rmtree(where)
    return {"events": len(events), "tried": len(chosen), "wrong": wrong}


if __name__ == "__main__":
    print(json.dumps(sweep(Path(sys.argv[1]).absolute(), [*sys.argv[3:], "--out", "R"], int(sys.argv[2])), indent=1))
