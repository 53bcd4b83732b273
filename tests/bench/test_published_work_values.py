"""A shared comparison as its storage has it, and the proxy in front of a database: what is written, served and refused."""

from __future__ import annotations

import hashlib
import warnings
from types import SimpleNamespace
from typing import Any

import optuna
import pytest
from optuna.storages import InMemoryStorage

from bpfree.bench import proxy, published
from bpfree.bench.published import Work
from bpfree.bench.storages import Store
from bpfree.errors import RunDirectoryError

ANY: Any = None
REQUEST = {"b": 1, "a": [2]}
NAME = "bpfree work " + hashlib.sha256(b'{"a": [2], "b": 1}').hexdigest()[:16]


def test_the_first_process_writes_what_was_asked_for_and_the_others_find_it() -> None:
    store = Store(InMemoryStorage(), "P")
    work = Work(store, REQUEST, "the command")
    assert work.name == Work(store, {"a": [2], "b": 1}, "").name == NAME
    with pytest.raises(KeyError):
        work.claims("cpu")
    first = work.plan("cpu")
    second = Work(store, REQUEST, "another").plan("cuda")
    third = work.claims("mps")
    assert [(each.store, each.study.study_name, each._device) for each in (first, second, third)] == [
        (store, NAME, "cpu"),
        (store, NAME, "cuda"),
        (store, NAME, "mps"),
    ]
    for each in (first, second, third):
        assert isinstance(each.study.sampler, optuna.samplers.RandomSampler)
        assert list(each.study.user_attrs.items()) == [("command", "the command"), ("request", REQUEST)]
    assert isinstance(first.study.pruner, optuna.pruners.NopPruner)
    assert [(each.request, each.command, each.store) for each in published.published(store)] == [(REQUEST, "the command", store)]


def test_work_of_other_versions_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    versions = {"torch": "2", "bpfree": "1", published.environment.CODE: "c", "optuna": "4", "numpy": "5"}
    monkeypatch.setattr(published.environment, "versions", lambda: versions)
    code = {"bpfree": "1", published.environment.CODE: "c", "torch": "2", "optuna": "4"}
    assert list(published.code().items()) == list(code.items())
    Work(Store(ANY, "P"), {"code": code}, "").check_code()
    del code["optuna"]
    with pytest.raises(RunDirectoryError) as error:
        Work(Store(ANY, "P"), {"code": code | {"torch": "1"}}, "").check_code()
    assert str(error.value) == (
        "the work at P was planned by other code (torch 1, here 2; optuna None, here 4); install that version here"
    )


def study(number: int, name: str, **attributes: Any) -> Any:
    return SimpleNamespace(_study_id=number, study_name=name, user_attrs=attributes)


def test_work_is_found_in_the_order_in_which_it_was_begun() -> None:
    studies = [
        study(3, "bpfree work c", request={"c": 3}),
        study(1, "bpfree work a", request={"a": 1}, command="the command"),
        study(2, "bpfree work b"),  # its process ended before it wrote what was asked for
        study(0, "a search", request={"d": 4}),
    ]
    storage: Any = SimpleNamespace(get_all_studies=lambda: studies)
    works = published.published(Store(storage, "P"))
    assert [(work.request, work.command) for work in works] == [({"a": 1}, "the command"), ({"c": 3}, "")]
    del studies[:2]
    with pytest.raises(RunDirectoryError) as error:
        published.published(Store(storage, "P"))
    assert str(error.value) == (
        "P has no shared work; plan some with: bpfree compare --storage journal --out DIR, or with the URL of a database"
    )


class Database:
    """Stands for a storage with heartbeats."""

    def __init__(self, *studies: Any) -> None:
        self.noted: list[Any] = []
        self.studies = studies

    def record_heartbeat(self, trial_id: int) -> None:
        self.noted.append(("beat", trial_id))

    def set_trial_user_attr(self, trial_id: int, key: str, value: Any) -> None:
        self.noted.append((trial_id, key, value))

    def get_all_studies(self) -> Any:
        self.noted.append("look")
        if not self.studies:
            raise ValueError
        return self.studies


def test_a_report_to_the_proxy_is_a_heartbeat() -> None:
    storage: Any = proxy._with_heartbeats(database := Database())  # type: ignore[arg-type]
    assert storage is database
    storage.set_trial_user_attr(4, "heartbeat", 12.5)
    storage.set_trial_user_attr(5, "owner", "me")
    assert database.noted == [("beat", 4), (5, "owner", "me")]


class Serving:
    """Stands for the server, its threads and the event at which they end."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *, free: bool = True) -> None:
        self.noted: list[Any] = []
        self.free = free
        self.database = Database()
        noted = self.noted

        class Thread:
            def __init__(self, target: Any, args: Any, daemon: bool) -> None:
                self.start = lambda: noted.append(("watch", target, *args, daemon))
                self.join = lambda: noted.append("join")

        over = SimpleNamespace(set=lambda: noted.append("over"))
        monkeypatch.setattr(proxy, "threading", SimpleNamespace(Event=lambda: over, Thread=Thread))
        monkeypatch.setattr(proxy, "open_database", lambda url: noted.append(url) or self.database)
        monkeypatch.setattr("optuna.storages._grpc.server.make_server", self.make)
        self.over = over

    def make(self, storage: Any, host: str, port: int, pool: Any) -> Any:
        warnings.warn("new", optuna.exceptions.ExperimentalWarning, stacklevel=1)
        if not self.free:
            raise RuntimeError("in use")
        self.noted.append((storage, host, port, pool._max_workers))

        def stop(grace: float) -> Any:
            self.noted.append(f"stop {grace}")
            return SimpleNamespace(wait=lambda: self.noted.append("stopped"))

        self.server = SimpleNamespace(start=lambda: self.noted.append("start"), stop=stop)
        return self.server


def test_a_server_is_stopped_with_its_watcher(monkeypatch: pytest.MonkeyPatch) -> None:
    serving = Serving(monkeypatch)
    with (
        warnings.catch_warnings(record=True) as seen,
        pytest.raises(ZeroDivisionError),
        proxy.serving("sqlite:///w.db", "h", 13) as server,
    ):
        assert server is serving.server
        serving.database.set_trial_user_attr(2, "heartbeat", 1)
        serving.noted.append("work")
        raise ZeroDivisionError
    assert seen == []
    assert serving.database.noted == [("beat", 2)]
    assert serving.noted == [
        "sqlite:///w.db", (serving.database, "h", 13, 10), "start",
        ("watch", proxy._expire, serving.database, serving.over, True),
        "work", "over", "stop 1.0", "stopped", "join",
    ]  # fmt: skip


def test_a_port_in_use_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    Serving(monkeypatch, free=False)
    with pytest.raises(OSError, match=r"^cannot listen at h:13 \(in use\)$"), proxy.serving("sqlite:///w.db", "h", 13):
        raise AssertionError("nothing is served")


def test_the_proxy_looks_for_claims_that_have_expired(monkeypatch: pytest.MonkeyPatch) -> None:
    expired: list[Any] = []
    waits: list[float] = []
    monkeypatch.setattr(proxy.optuna, "load_study", lambda study_name, storage: (study_name, storage))
    monkeypatch.setattr(proxy, "expire", expired.append)
    over: Any = SimpleNamespace(wait=lambda seconds: waits.append(seconds) or len(waits) > 2)
    database: Any = Database(study(0, "bpfree work a"), study(1, "a search"), study(2, "bpfree work b"))
    proxy._expire(database, over)
    assert expired == [("bpfree work a", database), ("bpfree work b", database)] * 2
    assert waits == [10] * 3
    waits.clear()
    proxy._expire(restarted := Database(), over)  # type: ignore[arg-type]
    assert restarted.noted == ["look"] * 2, "it looks again after an error"
