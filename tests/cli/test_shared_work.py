"""``--storage``, ``bpfree worker``, ``bpfree status``: as users give them, and their mistakes."""

from __future__ import annotations

import json
import os
import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from bpfree.bench import RunDirectory, storages, tasks
from bpfree.bench.proxy import serving
from bpfree.bench.storages import open_database, open_store
from bpfree.errors import StorageError
from bpfree.urls import masked
from tests.bench.test_shared import planned

from .conftest import Outcome, start

Command = Callable[..., Outcome]

ASKED = (
    *("--dataset", "synthetic:n=300:inputs=4:classes=3", "--net", "mlp:1x4", "--arms", "backprop,mono-forward"),
    *("--trials", "2", "--max-passes", "1", "--seeds", "1", "--quiet"),
)
SECRET = "p%40ss:w/rd"


@pytest.fixture(autouse=True)
def _alone(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tasks, "LOCKS", tmp_path_factory.mktemp("locks"))
    monkeypatch.delenv("BPFREE_STORAGE", raising=False)


def records(directory: Path) -> list[tuple[object, ...]]:
    return sorted((each.arm, each.seed, each.test_accuracy, str(each.params)) for each in RunDirectory(directory).records())


def test_a_worker_of_its_own_process_helps(bpfree: Command, tmp_path: Path) -> None:
    """Planned here, and made by two processes; the command itself only collects."""
    assert bpfree("compare", *ASKED, "--out", "alone").code == 0
    assert bpfree("compare", *ASKED, "--storage", "journal", "--out", "R").code == 0
    (tmp_path / "R" / "records.jsonl").unlink()
    text = (tmp_path / "R" / "study.journal").read_text().splitlines(keepends=True)
    begun = next(number for number, line in enumerate(text) if '"state":0' in line)
    (tmp_path / "R" / "study.journal").write_text("".join(text[:begun]))  # as it was when all was planned
    workers = [start(["worker", "R"], tmp_path) for _ in range(2)]
    for worker in workers:
        out, err = worker.communicate(timeout=120)
        assert (worker.returncode, out) == (0, "R: nothing is left\n"), err
    assert records(tmp_path / "R") == records(tmp_path / "alone")
    assert bpfree("status", "R").out.splitlines()[1:] == [
        "  trials: 4 of 4 finished, 0 running, 0 waiting",
        "  measured runs: 2 of 2 finished, 0 running, 0 waiting",
        "  done",
    ]
    status = json.loads(bpfree("status", "R", "--json").out)
    assert status["work"][0]["done"] is True
    assert status["work"][0]["finished"] == {"trial": 4, "run": 2}
    assert bpfree("compare", *ASKED, "--storage", "journal", "--out", "R").code == 0
    assert records(tmp_path / "R") == records(tmp_path / "alone")


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (
            ("compare", "--storage", "mysql://u:%@h/d"),
            "--storage must be journal, postgresql://USER@HOST/DATABASE or grpc://HOST:PORT",
        ),
        (("compare", "--storage", "grpc://server"), "--storage of a proxy must be grpc://HOST:PORT, got 'grpc://server'"),
        (("tune", "backprop", "--storage", "journal", "--jobs", "2"), "--jobs 2 and --storage were both given"),
        (("compare", "--storage", "postgresql://u:%@127.0.0.1:1/d"), "cannot reach postgresql://u:***@127.0.0.1:1/d (connection"),
        (
            ("compare", "--storage", "postgresql://h:1/d?user=u&password=%"),
            "cannot reach postgresql://h:1/d?user=u&password=*** (",
        ),
        (
            ("compare", "--storage", "postgresql://u:%@h:port/d"),
            "--storage must have a number after HOST:, got 'postgresql://u:***@h:port/d'",
        ),
        (("worker",), "nothing to look for work in; give a run directory, or --storage"),
        (("worker", "nowhere"), "nowhere is no run directory"),
        (("status", "nowhere"), "nowhere is no run directory"),
        (("storage-proxy", "--storage", "journal"), "a proxy stands in front of a database"),
    ],
    ids=lambda value: " ".join(value[:3]) if isinstance(value, tuple) else "",
)
def test_a_mistake_is_one_line_without_a_password(command: tuple[str, ...], words: str, bpfree: Command, tmp_path: Path) -> None:
    outcome = bpfree(*(word.replace("%", SECRET) for word in command))
    assert outcome.code == 2
    assert words in outcome.one_line()
    assert SECRET not in outcome.err
    assert "w/rd" not in outcome.err
    assert list(tmp_path.iterdir()) == []


def test_a_directory_without_shared_work(bpfree: Command) -> None:
    assert bpfree("tune", "backprop", "--trials", "1", "--max-passes", "1", "--out", "R", "--quiet").code == 0
    for command in ("worker", "status"):
        assert "R has no shared work; plan some with: bpfree compare --storage journal" in bpfree(command, "R").one_line()


def test_tables_of_another_program(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "other.db") as database:
        database.execute("CREATE TABLE studies (name TEXT)")
        database.execute("CREATE TABLE version_info (version_info_id INTEGER PRIMARY KEY, schema_version INTEGER)")
    with pytest.raises(
        StorageError, match=r"cannot be used \(.*its tables are not those of optuna [\d.]+: choose an empty"
    ) as error:
        open_database(f"sqlite:///{tmp_path}/other.db")
    assert "\n" not in str(error.value)


def test_tables_of_another_version(tmp_path: Path) -> None:
    open_database(f"sqlite:///{tmp_path}/work.db")
    with sqlite3.connect(tmp_path / "work.db") as database:
        database.execute("UPDATE alembic_version SET version_num = 'v9.9.9'")
    with pytest.raises(StorageError, match=r"cannot be used .*upgrade this one with: optuna storage upgrade"):
        open_database(f"sqlite:///{tmp_path}/work.db")


def test_a_database_that_goes_away_is_asked_again_and_then_reported(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    store = open_store(f"sqlite:///{tmp_path}/work.db")
    failures = iter([True, True, False])

    def action() -> str:
        if next(failures):
            raise storages.optuna.exceptions.StorageInternalError("the server was shut down\n[SQL: ...]")
        return "there"

    waited: list[float] = []
    assert store.patient(action, waited.append) == "there"
    assert waited == [storages.AGAIN_S] * 2
    monkeypatch.setattr(storages, "LOST_S", -1.0)
    failures = iter([True])
    with pytest.raises(StorageError, match=r"does not answer any more \(the server was shut down\); what was finished is kept"):
        store.patient(action, waited.append)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("postgresql://me:secret@host/db", "postgresql://me:***@host/db"),
        ("--storage=postgresql+psycopg://me:se@cr:et@host/db --out R", "--storage=postgresql+psycopg://me:***@host/db --out R"),
        (
            "postgresql://host/db?user=me&password=secret&connect_timeout=3",
            "postgresql://host/db?user=me&password=***&connect_timeout=3",
        ),
        ("postgresql://me@host/db", "postgresql://me@host/db"),
        ("grpc://host:13000", "grpc://host:13000"),
    ],
)
def test_masked(text: str, shown: str) -> None:
    assert masked(text) == shown


def test_a_full_disk_under_the_journal(bpfree: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One line; the lines before stay whole, and the same command goes on."""
    write, left = os.write, iter(range(12))

    def full(descriptor: int, content: bytes) -> int:
        if b'"op_code"' in content and next(left, None) is None:
            raise OSError(28, "No space left on device")
        return write(descriptor, content)

    monkeypatch.setattr(os, "write", full)
    line = bpfree("compare", *ASKED, "--storage", "journal", "--out", "R").one_line()
    assert "cannot write R/study.journal: the disk is full; free some space and give the same command again" in line
    monkeypatch.setattr(os, "write", write)
    for each in (tmp_path / "R" / "study.journal").read_text().splitlines():
        json.loads(each)
    assert bpfree("compare", *ASKED, "--storage", "journal", "--out", "R").code == 0
    assert len(records(tmp_path / "R")) == 2


def test_a_proxy_passes_claims_and_heartbeats_on(tmp_path: Path) -> None:
    import socket

    from sqlalchemy import create_engine, text

    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    url = f"sqlite:///{tmp_path}/work.db"
    with serving(url, "localhost", port):
        far, near = planned(open_store(f"grpc://localhost:{port}")), planned(open_store(url))
        first, second, *_ = far.entries()
        assert far.take(first) is not None
        assert near.take(first) is None
        with far.reporting(claim := far.take(second)):  # type: ignore[arg-type]
            assert far.holds(claim)  # type: ignore[arg-type]
        with create_engine(url).connect() as connection:
            assert connection.execute(text("SELECT count(*) FROM trial_heartbeats")).scalar() == 2
        far.finish(claim)  # type: ignore[arg-type]
    assert [entry.finished for entry in near.entries()[:2]] == [False, True]
    assert threading.active_count() < 50
