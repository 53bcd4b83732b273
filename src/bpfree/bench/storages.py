"""Where the work of a comparison is shared: the journal of its run directory, a database, or a proxy in front of one.

In a journal a process holds a lock while it claims a task, and a claim whose process is gone is released by any other of its
machine. In a database a claim expires where its process no longer reports (Optuna's heartbeat).
"""

from __future__ import annotations

import re
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import optuna
from optuna.storages import BaseStorage, InMemoryStorage, JournalStorage, RDBStorage

from bpfree.bench import environment
from bpfree.bench.journal import open_storage
from bpfree.errors import BpfreeError, StorageError
from bpfree.locks import held
from bpfree.rulesets import Ruleset, digest
from bpfree.urls import JOURNAL, PROXY, masked, proxy_address

__all__ = ["GRACE_S", "HEARTBEAT_S", "Store", "namespace", "open_database", "open_store", "open_store_of_directory"]

HEARTBEAT_S = 10
"""How often a process reports that it still works at what it has claimed."""

GRACE_S = 60
"""After how long without a report its claim in a database expires."""

LOST_S = 120.0
"""For how long a database that does not answer is asked again: it may be restarted."""

AGAIN_S = 0.5
"""Seconds between two tries."""

CONNECT_S = 10
"""For how long a first connection is waited for."""

_T = TypeVar("_T")
_DRIVER = re.compile(r"^\(\w+\.[\w.]+\) ")
"""With which SQLAlchemy begins the message of a driver: ``(psycopg.OperationalError)``."""

_LOST = ("OperationalError", "InterfaceError")
"""Errors of SQLAlchemy and of drivers where there is no connection."""


@dataclass(frozen=True)
class Store:
    """A storage of Optuna with what tasks are claimed by.

    Attributes:
        place: for messages; without a password.
        claiming: held while a task is claimed.
        in_database: whether claims expire by heartbeat.
    """

    storage: BaseStorage
    place: str
    claiming: Callable[[], AbstractContextManager[Any]] = nullcontext
    in_database: bool = True

    def patient(self, action: Callable[[], _T], sleep: Callable[[float], None] = time.sleep) -> _T:
        """Do something that may be done twice; where the database does not answer, again for :data:`LOST_S` seconds.

        Raises:
            StorageError: it does not come back.
        """
        until_s = time.monotonic() + LOST_S
        while True:
            with self.answering(lost=time.monotonic() > until_s):
                return action()
            sleep(AGAIN_S)

    @contextmanager
    def answering(self, *, lost: bool = True) -> Iterator[None]:
        """Say in one line that the database does not answer.

        Args:
            lost: false says nothing: the block just ends early.

        Raises:
            StorageError: it does not.
        """
        try:
            yield
        except Exception as error:
            if not _of_the_database(error):
                raise
            if lost:
                raise StorageError(
                    f"{self.place} does not answer any more ({first_line(error)}); what was finished is kept, and the same "
                    "command goes on when it is back"
                ) from None


def namespace(storage: BaseStorage, rules: Ruleset) -> str:
    """How names of studies begin: a database holds those of several rulesets and versions; a directory or a process, of one."""
    if isinstance(storage, (JournalStorage, InMemoryStorage)):
        return ""
    return f"{digest(rules)[:8]}-{environment.run_code_digest()[:8]} "


def open_store(url: str, directory: Path | None = None) -> Store:
    """What ``--storage`` names.

    Args:
        directory: of the run; needed for its journal.

    Raises:
        StorageError, RunDirectoryError, UsageError: it cannot be reached, or holds something else.
    """
    if url == JOURNAL:
        assert directory is not None
        return open_store_of_directory(directory)
    return Store(open_database(url), masked(url))


def open_store_of_directory(directory: Path) -> Store:
    """The journal of a run directory.

    Raises:
        RunDirectoryError: the file is damaged, or was edited.
    """
    journal = directory / "study.journal"
    return Store(open_storage(journal), str(directory), lambda: held(directory / ".claims.lock"), in_database=False)


def open_database(url: str) -> BaseStorage:
    """A database, or a proxy in front of one. Its tables are made where there are none.

    Raises:
        StorageError: it cannot be reached, or its tables are not those of this Optuna. The message has no password.
        UsageError: the text has another form.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    with _one_line(url), warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        storage = _proxy(url) if url.startswith(PROXY) else _database(url)
        storage.get_all_studies()
    return storage


def _proxy(url: str) -> BaseStorage:
    from optuna.storages import GrpcStorageProxy

    host, port = proxy_address(url)
    storage = GrpcStorageProxy(host=host, port=port)
    storage.wait_server_ready(timeout=CONNECT_S)
    return storage


def _database(url: str) -> BaseStorage:
    is_postgres = url.startswith("postgresql")
    engine: dict[str, Any] = {"pool_pre_ping": True}  # a connection that a restart has cut is replaced
    if is_postgres:
        engine["connect_args"] = {"connect_timeout": CONNECT_S}
    driver = url.replace("postgresql://", "postgresql+psycopg://", 1)
    storage = RDBStorage(driver, engine, heartbeat_interval=HEARTBEAT_S, grace_period=GRACE_S)
    return optuna.storages.get_storage(storage)  # in front of it Optuna's cache of finished trials


@contextmanager
def _one_line(url: str) -> Iterator[None]:
    """What goes wrong at the first contact, as one line without a password."""
    try:
        yield
    except BpfreeError:
        raise
    except Exception as error:  # noqa: BLE001 - of whichever driver
        what = first_line(error, url)
        if _unreachable(error):
            raise StorageError(
                f"cannot reach {masked(url)} ({what}); see that the server runs, and that address, user and password "
                "(PGPASSWORD) are right"
            ) from None
        raise StorageError(
            f"{masked(url)} cannot be used ({what}); its tables are not those of optuna {optuna.__version__}: choose an empty "
            "database, or upgrade this one with: optuna storage upgrade"
        ) from None


def _unreachable(error: BaseException) -> bool:
    from sqlalchemy import exc  # deferred: a journal needs none of it

    return isinstance(error, exc.OperationalError | exc.ArgumentError | TimeoutError) or type(error).__module__.startswith("grpc")


def _of_the_database(error: BaseException) -> bool:
    if isinstance(error, optuna.exceptions.StorageInternalError):
        return True
    package = type(error).__module__.partition(".")[0]
    return package == "grpc" or (package in ("sqlalchemy", "psycopg") and type(error).__name__ in _LOST)


def first_line(error: BaseException, url: str = "") -> str:
    """The first line of an error, without its address and without a password of ``url``."""
    text = (str(error) or type(error).__name__).strip().splitlines()[0].rstrip(".")
    text = _DRIVER.sub("", text)
    password = _password(url)
    text = text.replace(password, "***") if password else text
    return masked(text)


def _password(url: str) -> str:
    user, at, _ = url.partition("://")[2].rpartition("@")
    return user.partition(":")[2] if at else ""
