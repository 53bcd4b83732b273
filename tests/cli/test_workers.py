"""Eight workers, 200 short trials, two of them killed, and a database that is restarted meanwhile: nothing is lost or doubled."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import optuna
import pytest

from bpfree.bench import RunDirectory
from bpfree.bench.claims import Claims
from bpfree.bench.journal import WORK
from bpfree.bench.published import published
from bpfree.bench.storages import Store, open_store, open_store_of_directory
from bpfree.errors import RunDirectoryError
from tests.postgres import PASSWORD, Server, server, why_none

from .conftest import Outcome
from .conftest import start_cold as start

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]  # eight processes that import torch

Command = Callable[..., Outcome]

ASKED = (
    *("--dataset", "synthetic:n=300:inputs=4:classes=3", "--net", "mlp:1x8", "--arms", "backprop,mono-forward"),
    *("--trials", "100", "--max-passes", "1", "--seeds", "2", "--quiet"),
)
N_WORKERS = 8
LONGEST_S = 900


@pytest.fixture(scope="module")
def postgres() -> Iterator[Server]:
    if why := why_none():
        pytest.skip(why)
    with server() as one:
        yield one


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same comparison in one process."""
    place = tmp_path_factory.mktemp("alone")
    _, err = (running := start(["compare", *ASKED, "--jobs", "1", "--out", "R"], place)).communicate(timeout=LONGEST_S)
    assert running.returncode == 0, err
    return place / "R"


def claims(store: Store) -> Claims | None:
    """The tasks, once they are planned."""
    try:
        (work,) = published(store)
    except RunDirectoryError:
        return None
    return work.claims("")


def wait_for(what: Callable[[], bool]) -> None:
    until_s = time.monotonic() + LONGEST_S
    while not what():
        assert time.monotonic() < until_s
        time.sleep(0.2)


def n_finished(store: Store) -> int:
    work = claims(store)
    return sum(entry.finished for entry in work.entries()) if work else 0


def check(directory: Path, alone: Path, store: Store) -> None:
    """Each trial and each run once, with what one process comes to."""
    seeds = Counter(
        (name, trial.user_attrs["seed"])
        for name in optuna.get_all_study_names(store.storage)
        if not name.startswith(WORK)
        for trial in optuna.load_study(study_name=name, storage=store.storage).trials
    )
    assert len(seeds) == 200
    assert set(seeds.values()) == {1}
    lines = (directory / "records.jsonl").read_text().splitlines()
    ours, theirs = RunDirectory(directory), RunDirectory(alone)
    assert len(lines) == len(ours.records()) == 4
    found = {row.arm: (row.best, row.best_val_accuracy, row.best_trial, row.tried) for row in ours.tuned()}
    assert found == {row.arm: (row.best, row.best_val_accuracy, row.best_trial, row.tried) for row in theirs.tuned()}
    runs = {record.cell: (record.params, record.test_accuracy, record.passes) for record in ours.records()}
    assert runs == {record.cell: (record.params, record.test_accuracy, record.passes) for record in theirs.records()}


def plan(store: Callable[[], Store], place: Path, *where: str) -> None:
    """Plan the work with the command itself, and end it once it has begun, so that the rest is left to others."""
    planner = start(["compare", *ASKED, "--out", "R", *where], place)
    wait_for(lambda: (place / "R" / "study.journal").exists() or not where)
    wait_for(lambda: n_finished(store()) > 0)
    planner.terminate()
    planner.communicate(timeout=LONGEST_S)
    assert planner.returncode == 143
    assert n_finished(store()) < 100


def kill_two(workers: list[subprocess.Popen[str]], store: Store) -> None:
    """kill -9 to two that have claimed a task: each is halted first, so that it still has it then."""
    killed: list[int] = []

    def one_more() -> bool:
        for worker in workers:
            if worker.pid not in killed and worker.pid in busy(store):
                worker.send_signal(signal.SIGSTOP)
                if worker.pid in busy(store):
                    worker.kill()
                    worker.wait()
                    killed.append(worker.pid)
                    break
                worker.send_signal(signal.SIGCONT)
        return len(killed) == 2

    wait_for(one_more)


def busy(store: Store) -> set[int]:
    work = claims(store)
    return {entry.owner.get("pid", 0) for entry in work.entries() if entry.running} if work else set()


def ended(workers: list[subprocess.Popen[str]]) -> str:
    """What they said; all but the killed ended well."""
    said, codes = "", []
    for worker in workers:
        out, err = worker.communicate(timeout=LONGEST_S)
        said += out + err
        codes.append(worker.returncode)
    assert sorted(codes) == [-9, -9] + [0] * (N_WORKERS - 2), said
    return said


def test_on_a_journal(alone: Path, tmp_path: Path) -> None:
    def store() -> Store:
        return open_store_of_directory(tmp_path / "R")

    plan(store, tmp_path, "--storage", "journal")
    workers = [start(["worker", "R", "--quiet"], tmp_path) for _ in range(N_WORKERS)]
    kill_two(workers, store())
    ended(workers)
    assert (tmp_path / "R" / "log.txt").read_text().count("its process is gone; it is made again") >= 2
    last = start(["compare", *ASKED, "--storage", "journal", "--out", "R"], tmp_path)
    _, err = last.communicate(timeout=LONGEST_S)
    assert last.returncode == 0, err
    check(tmp_path / "R", alone, store())


def test_on_postgresql(postgres: Server, alone: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The password stands in the URL; it is nowhere in what is written and said."""
    monkeypatch.setenv("BPFREE_STORAGE", postgres.url)
    store = open_store(postgres.url)
    plan(lambda: store, tmp_path)
    workers = [start(["worker"], tmp_path) for _ in range(N_WORKERS)]
    kill_two(workers, store)
    at = n_finished(store)
    postgres.stop()
    time.sleep(2.0)
    postgres.start()
    assert at < 200  # in mid-study
    said = ended(workers)
    assert said.count("its process is gone; it is made again") >= 2
    last = start(["compare", *ASKED, "--out", "R"], tmp_path)
    said += "".join(last.communicate(timeout=LONGEST_S))
    assert last.returncode == 0, said
    check(tmp_path / "R", alone, open_store(postgres.url))
    written = [path for path in (tmp_path / "R").rglob("*") if path.is_file()]
    assert len(written) > 5
    for form in (PASSWORD, PASSWORD.replace(" ", "%20")):
        assert form not in said
        assert not [path for path in written if form.encode() in path.read_bytes()]


def test_a_wrong_password_and_none(postgres: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bpfree: Command) -> None:
    monkeypatch.delenv("BPFREE_STORAGE", raising=False)
    wrong = postgres.open_url.replace("postgres@", "postgres:not-this@")
    line = bpfree("status", "--storage", wrong).one_line()
    assert "cannot reach postgresql://postgres:***@127.0.0.1" in line
    assert "password authentication failed" in line
    assert "not-this" not in line
    assert "no password" in bpfree("status", "--storage", postgres.open_url).one_line()
    monkeypatch.setenv("PGPASSWORD", PASSWORD)
    assert "cannot reach" not in bpfree("status", "--storage", postgres.open_url).err
    assert os.environ["PGPASSWORD"] == PASSWORD
