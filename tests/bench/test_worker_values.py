"""Processes of a search as they are started, told and heard: with stand-ins for processes, connections and clocks."""

from __future__ import annotations

import pickle
import warnings
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from bpfree.bench import environment, worker, workers
from bpfree.bench.outcome import Tried
from bpfree.bench.worker import Noted, Outcome, Passes, Ready, Task, packed, unmetered
from bpfree.bench.workers import Died, FewerWarning, Worker, Workers
from bpfree.meter import Meter, ReplaySource

from .test_parallel_values import ANY, ARM, CPU, setting


def tried(value: float, **changes: Any) -> Tried:
    return Tried(**({"values": {"lr": value}, "val_accuracy": value, "seed": 1, "passes": 2, "time_s": 3.0, "joules": None,
                     "method": None, "diverged": False} | changes))  # fmt: skip


@pytest.mark.parametrize(
    ("code", "how"),
    [(-9, "was killed (signal 9)"), (-1, "was killed (signal 1)"), (0, "ended (exit code 0)"), (3, "ended (exit code 3)"),
     (None, "ended (exit code None)")],
)  # fmt: skip
def test_how_a_process_ended(code: int | None, how: str) -> None:
    assert Died(code).how == how


class Pipe:
    """A connection whose other end says what is given, or is gone."""

    def __init__(self, *said: Any, gone: type[Exception] | None = None) -> None:
        self.said, self.gone, self.sent, self.closed = list(said), gone, [], False

    def _or_gone(self, value: Any) -> Any:
        if isinstance(value, Exception):
            raise value
        return value

    def recv(self) -> Any:
        return self._or_gone(self.said.pop(0))

    recv_bytes = recv

    def send(self, value: Any) -> None:
        if self.gone is not None:
            raise self.gone
        self.sent.append(value)

    send_bytes = send

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def pipes(monkeypatch: pytest.MonkeyPatch) -> list[Pipe]:
    """Connections of the processes that are started, in order."""
    made: list[Pipe] = []
    started = iter(range(100))

    def take(answer: str) -> Any:
        done: list[str] = []
        process = SimpleNamespace(
            pid=next(started), exitcode=5, done=done, kill=lambda: done.append("kill"), join=lambda: done.append("join")
        )
        return process, made[process.pid]

    monkeypatch.setattr(workers, "take", take)
    return made


@pytest.mark.parametrize("gone", [None, BrokenPipeError, ConnectionResetError])
def test_a_process_that_has_died_is_noticed_by_the_next_look(gone: Any, pipes: list[Pipe]) -> None:
    pipes.append(Pipe("hello", EOFError(), OSError(), gone=gone))
    one, task = Worker(), Task(ARM, 3, {})
    assert (one.task, one.ready, one.pid) == (None, False, 0)
    one.set_up(b"setting")
    one.give(task)
    assert (one.task, one.ready, pipes[0].sent) == (task, True, [] if gone else [b"setting", task])
    assert one.next_message() == "hello"
    for _ in range(2):
        died: Any = one.next_message()
        assert died.how == "ended (exit code 5)"
    one.end()
    assert one._process.done == ["join", "join", "kill", "join"]
    assert pipes[0].closed


def test_what_other_processes_say(pipes: list[Pipe], monkeypatch: pytest.MonkeyPatch) -> None:
    """The setting is packed once; a warning is repeated at its place; one that died is ended and no longer asked."""
    pipes += [Pipe(Ready(), EOFError()), Pipe(Ready(), Outcome(None, None, (Noted("odd", UserWarning, "file.py", 7),)))]
    waited: list[Any] = []
    packings: list[int] = []
    discarded: list[str] = []
    monkeypatch.setattr(workers, "wait", lambda connections, timeout: waited.append(timeout) or list(connections))
    monkeypatch.setattr(workers, "packed", lambda here, threads: packings.append(threads) or b"packed")
    monkeypatch.setattr(workers, "discard_waiting", lambda: discarded.append("discarded"))
    with Workers(setting(), 2, 3) as several:
        one, other = several.all
        assert (several.idle(), several.busy) == ([], False)
        assert list(several.messages(waiting=True)) == []
        assert [pipe.sent for pipe in pipes] == [[b"packed"]] * 2
        assert several.idle() == [one, other]
        other.give(Task(ARM, 0, {}))
        assert (several.idle(), several.busy) == ([one], True)
        with pytest.warns(UserWarning, match="odd") as caught:
            said = list(several.messages(waiting=False))
        assert [(worker_, type(message)) for worker_, message in said] == [(one, Died), (other, Outcome)]
        assert [(each.filename, each.lineno) for each in caught] == [("file.py", 7)]
        assert several.all == [other]
        assert (pipes[0].closed, pipes[1].closed, discarded) == (True, False, [])
    assert (pipes[1].closed, several.all, discarded) == (True, [], ["discarded"])
    assert (waited, packings) == ([None, 0], [3])


@pytest.mark.parametrize("error", [OSError("no more"), KeyboardInterrupt()])
def test_where_no_more_processes_can_be_started(error: BaseException, pipes: list[Pipe], monkeypatch: pytest.MonkeyPatch) -> None:
    pipes.append(Pipe())
    plain = workers.take

    def take(answer: str) -> Any:
        if len(taken) == 1:
            raise error
        taken.append(answer)
        return plain(answer)

    taken: list[str] = []
    monkeypatch.setattr(workers, "take", take)
    monkeypatch.setattr(workers, "discard_waiting", lambda: None)
    several = Workers(setting(), 3, 1)
    if isinstance(error, KeyboardInterrupt):
        with pytest.raises(KeyboardInterrupt):
            several.__enter__()
        assert pipes[0].closed
        return
    with pytest.warns(FewerWarning) as caught:
        several.__enter__()
    assert str(caught[0].message) == "1 of 3 further processes could be started (no more)"
    assert caught[0].filename == __file__
    assert (len(several.all), taken) == (1, ["bpfree.bench.worker:serve"])


def test_a_setting_for_another_process_has_no_meter_and_no_test_split() -> None:
    metered = setting(meter=Meter("cpu", [ReplaySource([0.0, 1.0], [0.0, 1.0])]), costs={"a": ANY})
    assert (unmetered(metered).meter.sources, unmetered(metered).plan) == ((), {"a": 1})
    sent, threads = pickle.loads(packed(metered, 5))
    assert (threads, sent.plan, sent.costs, "test" in sent.data.splits, sent.net) == (5, {}, {}, False, "mlp:1x4")


@pytest.mark.parametrize("gone", [EOFError(), BrokenPipeError(), ConnectionResetError()])
def test_a_process_answers_until_the_other_end_is_gone(gone: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[Any] = []

    def thread(*, target: Any, daemon: bool) -> Any:
        return SimpleNamespace(start=lambda: started.append((target, daemon)))

    configured: list[Any] = []
    monkeypatch.setattr(worker.threading, "Thread", thread)
    monkeypatch.setattr(worker, "_configure", lambda here, threads: configured.append((here.net, threads)))
    monkeypatch.setattr(worker, "_outcome", lambda here, task, connection: f"outcome of {task}")
    pipe: Any = Pipe(packed(setting(), 5), "one", "two", gone)
    worker.serve(pipe)
    assert started == [(worker._end_with_the_parent, True)]
    assert configured == [("mlp:1x4", 5)]
    assert pipe.sent == [Ready(), "outcome of one", "outcome of two"]


@pytest.mark.parametrize("parent", [None, SimpleNamespace(sentinel="sentinel")])
def test_a_process_ends_with_its_parent(parent: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[Any] = []
    monkeypatch.setattr(worker, "parent_process", lambda: parent)
    monkeypatch.setattr(worker, "wait", done.append)
    monkeypatch.setattr(worker.os, "_exit", done.append)
    worker._end_with_the_parent()
    assert done == ([] if parent is None else [["sentinel"], 1])


def test_torch_computes_as_in_the_process_that_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[Any] = []
    facts = environment.facts(CPU).model_copy(update={"float32_matmul_precision": "high", "deterministic_algorithms": True})
    for name in ("set_num_threads", "set_float32_matmul_precision", "use_deterministic_algorithms"):
        monkeypatch.setattr(torch, name, lambda value, name=name: done.append((name, value)))
    monkeypatch.setattr(environment, "configure_torch", lambda *args: done.append(("configured", args[-1])))
    worker._configure(setting(facts=facts), 5)
    assert done == [
        ("configured", CPU), ("set_num_threads", 5), ("set_float32_matmul_precision", "high"),
        ("use_deterministic_algorithms", True),
    ]  # fmt: skip


def test_passes_are_told_every_quarter_of_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [10.0]
    monkeypatch.setattr(worker.time, "monotonic", lambda: now[0])
    pipe: Any = Pipe()
    tell = worker._teller(pipe)
    for now[0] in (10.0, 10.125, 10.3, 10.4, 10.5, 10.6):
        tell(ANY)
    assert pipe.sent == [Passes(3), Passes(3)]


class Odd(Exception):  # noqa: N818 - it stands for an error that cannot be sent
    def __reduce__(self) -> Any:
        raise TypeError("not sent")


@pytest.mark.parametrize("error", [ValueError("first\nsecond"), Odd("first\nsecond")])
def test_a_trial_and_its_error_are_sent(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    def run_trial(here: Any, arm: Any, values: Any, index: int, on_pass: Any) -> Any:
        warnings.warn("odd", UserWarning, stacklevel=1)
        assert (arm, values, index) == (ARM, {"lr": 1.0}, 4)
        return tried(0.5), problem

    monkeypatch.setattr(worker, "run_trial", run_trial)
    task = Task(ARM, 4, {"lr": 1.0})
    problem: Exception | None = ValueError("of the arm")
    outcome = worker._outcome(setting(), task, ANY)
    assert (outcome.tried, outcome.error) == (tried(0.5), None)
    assert [(each.text, each.category, each.file) for each in outcome.noted] == [("odd", UserWarning, __file__)]
    problem = MemoryError()
    outcome = worker._outcome(setting(), task, ANY)
    assert (outcome.tried, str(outcome.error)) == (tried(0.5), "memory ran out (MemoryError: no message)")

    def refuse(*_: Any) -> Any:
        raise error

    monkeypatch.setattr(worker, "run_trial", refuse)
    outcome = worker._outcome(setting(), task, ANY)
    assert outcome.tried is None
    if isinstance(error, Odd):
        assert (type(outcome.error), str(outcome.error)) == (RuntimeError, "Odd: first")
    else:
        assert outcome.error is error
        assert "in refuse" in error.__notes__[0]
