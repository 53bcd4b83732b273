"""A proxy in front of a database (Optuna's), for more workers than the database has connections.

Optuna's proxy passes no heartbeat on. Here a worker reports by an attribute of its trial, of which the proxy makes a heartbeat;
and the proxy looks for claims that have expired.
"""

from __future__ import annotations

import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import optuna
from optuna.storages import BaseStorage

from bpfree.bench.claims import BEAT, expire
from bpfree.bench.journal import WORK
from bpfree.bench.storages import HEARTBEAT_S, open_database

__all__ = ["serving"]

N_THREADS = 10
"""Calls that are answered at once; each has a connection to the database."""


def _with_heartbeats(storage: Any) -> BaseStorage:
    """The storage, where the attribute :data:`bpfree.bench.claims.BEAT` of a trial is a heartbeat."""
    plain = storage.set_trial_user_attr

    def set_trial_user_attr(trial_id: int, key: str, value: Any) -> None:
        if key == BEAT:
            storage.record_heartbeat(trial_id)
        else:
            plain(trial_id, key, value)

    storage.set_trial_user_attr = set_trial_user_attr
    return storage


@contextmanager
def serving(url: str, host: str, port: int) -> Iterator[Any]:
    """Serve a database while the block runs; yields the server of gRPC.

    Args:
        url: of the database.
        host, port: where to listen; port 0 for any that is free.

    Raises:
        StorageError: the database cannot be reached.
        OSError: the port is in use.
    """
    from concurrent.futures import ThreadPoolExecutor

    from optuna.storages._grpc.server import make_server

    storage = _with_heartbeats(open_database(url))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        try:
            server = make_server(storage, host, port, ThreadPoolExecutor(N_THREADS))
        except RuntimeError as error:
            raise OSError(f"cannot listen at {host}:{port} ({error})") from error
    over = threading.Event()
    watcher = threading.Thread(target=_expire, args=(storage, over), daemon=True)
    server.start()
    watcher.start()
    try:
        yield server
    finally:
        over.set()
        server.stop(grace=1.0).wait()
        watcher.join()


def _expire(storage: BaseStorage, over: threading.Event) -> None:
    while not over.wait(HEARTBEAT_S):
        with suppress(Exception):  # the database is restarted
            for each in storage.get_all_studies():
                if each.study_name.startswith(WORK):
                    expire(optuna.load_study(study_name=each.study_name, storage=storage))
