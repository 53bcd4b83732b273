"""Where shared work is kept: how it is opened, how long it is waited for, and what is said where it cannot be reached."""

from __future__ import annotations

import time
import warnings
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import optuna
import pytest
from optuna.storages import InMemoryStorage, JournalStorage
from sqlalchemy import exc

from bpfree.bench import storages
from bpfree.bench.storages import Store, first_line, namespace, open_database, open_store
from bpfree.errors import StorageError, UsageError
from bpfree.locks import held

ANY: Any = None


def error_of(package: str, name: str) -> Exception:
    """An error as if ``package`` had it."""
    return type(name, (Exception,), {"__module__": package})("the server is gone")


def test_times() -> None:
    assert (storages.HEARTBEAT_S, storages.GRACE_S, storages.CONNECT_S) == (10, 60, 10)
    assert (storages.LOST_S, storages.AGAIN_S) == (120.0, 0.5)


def test_a_database_that_does_not_answer_is_asked_until_the_last_second(monkeypatch: pytest.MonkeyPatch) -> None:
    times_s, waited, asked = iter([1000.0, 1000.0, 1119.0, 1120.0, 1120.1]), [], []
    monkeypatch.setattr(storages, "time", SimpleNamespace(monotonic=lambda: next(times_s)))

    def action() -> str:
        asked.append(1)
        raise optuna.exceptions.StorageInternalError("down.\nmore")

    with pytest.raises(StorageError) as error:
        Store(ANY, "the place").patient(action, waited.append)
    assert str(error.value) == (
        "the place does not answer any more (down); what was finished is kept, and the same command goes on when it is back"
    )
    assert (len(asked), waited) == (4, [0.5] * 3)
    assert Store.patient.__defaults__ == (time.sleep,)


def test_an_error_of_another_kind_is_raised_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    waited: list[float] = []
    with pytest.raises(ZeroDivisionError):
        Store(ANY, "").patient(lambda: 1 // 0, waited.append)
    assert waited == []
    with Store(ANY, "").answering(lost=False):
        raise optuna.exceptions.StorageInternalError("down")
    with pytest.raises(StorageError, match=r"^P does not answer any more \(down\)"), Store(ANY, "P").answering():
        raise optuna.exceptions.StorageInternalError("down")
    with pytest.raises(KeyError), Store(ANY, "P").answering(lost=False):
        raise KeyError


@pytest.mark.parametrize(
    ("package", "name", "expected"),
    [
        ("grpc._channel", "_Inactive", True),
        ("sqlalchemy.exc", "OperationalError", True),
        ("sqlalchemy.exc", "InterfaceError", True),
        ("psycopg.errors", "OperationalError", True),
        ("sqlalchemy.exc", "IntegrityError", False),
        ("sqlite3", "OperationalError", False),
        ("my.grpc", "OperationalError", False),
    ],
)
def test_which_errors_are_of_the_database(package: str, name: str, expected: bool) -> None:
    assert storages._of_the_database(error_of(package, name)) is expected
    assert storages._of_the_database(optuna.exceptions.StorageInternalError()) is True


def test_studies_in_a_database_are_named_by_rules_and_code(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(storages, "digest", lambda rules: f"{rules}0123456789")
    monkeypatch.setattr(storages.environment, "run_code_digest", lambda: "abcdefghijkl")
    rules: Any = "R"
    assert namespace(InMemoryStorage(), rules) == ""
    assert namespace(JournalStorage.__new__(JournalStorage), rules) == ""
    assert namespace(ANY, rules) == "R0123456-abcdefgh "


def test_a_journal_is_opened_and_locked_in_its_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(storages, "open_storage", lambda journal: f"storage of {journal}")
    store = open_store("journal", tmp_path)
    assert (store.storage, store.place, store.in_database) == (f"storage of {tmp_path / 'study.journal'}", str(tmp_path), False)
    with store.claiming(), held(tmp_path / ".claims.lock", wait=False) as free:
        assert not free
    with pytest.raises(AssertionError):
        open_store("journal")


def test_a_database_is_opened_without_a_lock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(storages, "open_database", lambda url: f"storage of {url}")
    store = open_store("postgresql://u:secret@h/d")
    assert (store.storage, store.place) == ("storage of postgresql://u:secret@h/d", "postgresql://u:***@h/d")
    assert (store.in_database, store.claiming) == (True, nullcontext)


def test_the_first_contact(monkeypatch: pytest.MonkeyPatch) -> None:
    looked: list[str] = []

    def opened(kind: str) -> Any:
        def storage(url: str) -> Any:
            warnings.warn("new", optuna.exceptions.ExperimentalWarning, stacklevel=1)
            return SimpleNamespace(get_all_studies=lambda: looked.append(f"{kind} {url}"))

        return storage

    monkeypatch.setattr(storages, "_proxy", opened("proxy"))
    monkeypatch.setattr(storages, "_database", opened("database"))
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.INFO)
    try:
        with warnings.catch_warnings(record=True) as seen:
            warnings.simplefilter("always")
            open_database("grpc://h:1")
            open_database("sqlite:///grpc://")
        assert optuna.logging.get_verbosity() == optuna.logging.WARNING
    finally:
        optuna.logging.set_verbosity(before)
    assert (looked, seen) == (["proxy grpc://h:1", "database sqlite:///grpc://"], [])


def test_a_proxy_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []

    class Proxy:
        def __init__(self, **named: Any) -> None:
            asked.append(named)

        def wait_server_ready(self, timeout: float) -> None:
            asked.append(timeout)

    monkeypatch.setattr(optuna.storages, "GrpcStorageProxy", Proxy)
    assert isinstance(storages._proxy("grpc://there:13000"), Proxy)
    assert asked == [{"host": "there", "port": 13000}, 10]


def test_the_engine_of_a_database(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(storages, "RDBStorage", lambda *args, **named: (args, named))
    monkeypatch.setattr(optuna.storages, "get_storage", lambda storage: ("cached", storage))
    beats = {"heartbeat_interval": 10, "grace_period": 60}
    postgres = {"pool_pre_ping": True, "connect_args": {"connect_timeout": 10}}
    opened: list[Any] = [
        storages._database(url)
        for url in ("sqlite:///w.db", "postgresql://h/d?a=postgresql://", "postgresql+psycopg://h/d")
    ]  # fmt: skip
    assert opened == [
        ("cached", (("sqlite:///w.db", {"pool_pre_ping": True}), beats)),
        ("cached", (("postgresql+psycopg://h/d?a=postgresql://", postgres), beats)),
        ("cached", (("postgresql+psycopg://h/d", postgres), beats)),
    ]


REACH = (
    "cannot reach postgresql://u:***@h/d ({}); see that the server runs, and that address, user and password "
    "(PGPASSWORD) are right"
)
USE = (
    f"postgresql://u:***@h/d cannot be used ({{}}); its tables are not those of optuna {optuna.__version__}: choose an empty "
    "database, or upgrade this one with: optuna storage upgrade"
)


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (exc.OperationalError("", {}, Exception("no secret here.")), REACH.format("no *** here")),
        (exc.ArgumentError("no URL"), REACH.format("no URL")),
        (TimeoutError(), REACH.format("TimeoutError")),
        (error_of("grpc._channel", "_Inactive"), REACH.format("the server is gone")),
        (error_of("my.grpc", "Error"), USE.format("the server is gone")),
        (ValueError("version\n2\n3"), USE.format("version")),
    ],
)
def test_a_first_contact_that_fails_is_one_line(error: Exception, words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(url: str) -> Any:
        raise error

    monkeypatch.setattr(storages, "_database", refuse)
    with pytest.raises(StorageError) as caught:
        open_database("postgresql://u:secret@h/d")
    assert str(caught.value) == words


def test_a_refusal_of_ours_is_passed_on() -> None:
    with pytest.raises(UsageError, match=r"^ours$"), storages._one_line("postgresql://h/d"):
        raise UsageError("ours")
    with pytest.raises(KeyboardInterrupt), storages._one_line("postgresql://h/d"):
        raise KeyboardInterrupt


@pytest.mark.parametrize(
    ("text", "url", "line"),
    [
        (" a.\nb\nc", "", "a"),
        ("(psycopg.errors.Refused) b (x.y) c", "", "b (x.y) c"),
        ("p:a@d is wrong", "postgresql://u:p:a@d@h/d", "*** is wrong"),
        ("u is wrong", "postgresql://u@h/d", "u is wrong"),
        ("1300 is wrong", "grpc://h:1300", "1300 is wrong"),
        ("at postgresql://u:secret@h/d", "", "at postgresql://u:***@h/d"),
        ("", "", "ValueError"),
    ],
)
def test_the_first_line_of_an_error(text: str, url: str, line: str) -> None:
    assert first_line(ValueError(text), url) == line
