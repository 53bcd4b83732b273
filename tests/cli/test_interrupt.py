"""Ctrl-C, SIGTERM and SIGHUP: none is lost, all end a run in the same way."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from bpfree.cli import train as module
from bpfree.cli.interrupt import SIGNALS, exit_code, raise_if_asked, watch_for_interrupts
from bpfree.records import read_records

from .conftest import Outcome


@pytest.fixture(autouse=True)
def _own_handlers() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in SIGNALS}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)
    watch_for_interrupts()  # forget what came
    for number, handler in before.items():
        signal.signal(number, handler)


def test_nothing_is_raised_when_nobody_asked() -> None:
    watch_for_interrupts()
    raise_if_asked()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("number", SIGNALS)
def test_an_interrupt_that_python_swallows_is_raised_at_the_next_look(number: signal.Signals) -> None:
    """In the callback of a weak reference Python prints an exception and goes on."""

    class Thing:
        pass

    watch_for_interrupts()
    thing = Thing()
    reference = weakref.ref(thing, lambda _: os.kill(os.getpid(), number))
    del thing  # the callback runs here, and its KeyboardInterrupt is lost
    assert reference() is None
    with pytest.raises(KeyboardInterrupt):
        raise_if_asked()
    assert exit_code() == 128 + number


def test_a_signal_that_is_ignored_stays_ignored() -> None:
    """As under ``nohup``."""
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    watch_for_interrupts()
    os.kill(os.getpid(), signal.SIGHUP)
    raise_if_asked()


def test_a_scheduler_that_repeats_itself_does_not_cost_the_record() -> None:
    watch_for_interrupts()
    with pytest.raises(KeyboardInterrupt):
        os.kill(os.getpid(), signal.SIGTERM)
    os.kill(os.getpid(), signal.SIGTERM)  # while the record is written
    with pytest.raises(KeyboardInterrupt):
        os.kill(os.getpid(), signal.SIGINT)  # a person may be impatient


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129), (signal.SIGINT, 130)])
def test_a_signal_records_the_run_and_the_same_command_goes_on(
    bpfree: Callable[..., Outcome], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: signal.Signals, code: int
) -> None:
    task = ("--dataset", "synthetic:n=200:inputs=4:classes=2", "--net", "mlp:1x4", "--max-passes", "3", "--out", "R", "--quiet")
    with monkeypatch.context() as patch:
        patch.setattr(module, "_line", lambda _: os.kill(os.getpid(), number))
        outcome = bpfree("train", "backprop", *task)
    assert outcome.code == code
    assert "interrupted; what was finished is in R. Resume with: bpfree" in outcome.one_line()
    assert len(list((tmp_path / "R" / "checkpoints").iterdir())) == 1
    assert [(r.status, r.passes) for r in read_records(tmp_path / "R" / "records.jsonl")] == [("interrupted", 1)]
    assert bpfree("train", "backprop", *task).code == 0
    ended = read_records(tmp_path / "R" / "records.jsonl")[-1]
    assert (ended.status, ended.passes) == ("ok", 3)
    assert "two sittings" in ended.reasons["energy.joules"]


TORCH = """
import sys
if hasattr(sys, "torch_was_imported"):
    raise RuntimeError("Only a single TORCH_LIBRARY can be used to register the namespace prims")
sys.torch_was_imported = True
raise KeyboardInterrupt
"""
"""What stands for torch: Ctrl-C comes while it is imported, and a second import fails, as that of the real one does."""


def test_ctrl_c_within_the_import_of_torch(tmp_path: Path) -> None:
    (tmp_path / "torch").mkdir()
    (tmp_path / "torch" / "__init__.py").write_text(TORCH)
    paths = os.pathsep.join([str(tmp_path), *sys.path])
    command = [sys.executable, "-m", "bpfree", "compare", "--jobs", "1", "--out", "R"]
    ended = subprocess.run(
        command, cwd=tmp_path, env={**os.environ, "PYTHONPATH": paths}, capture_output=True, text=True, check=False, timeout=60
    )
    assert (ended.returncode, ended.stdout) == (130, "")
    assert ended.stderr == "bpfree: interrupted; nothing was written\n"
