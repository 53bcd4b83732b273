"""Nothing is lost: the same command resumes, and ends with the same accuracies, bit for bit."""

from __future__ import annotations

import contextlib
import io
import json
import signal
import subprocess
import time
from pathlib import Path

import pytest

from bpfree.cli import run
from bpfree.records import read_records

from .conftest import ALONE, start

STAGED = "mono-forward:schedule=staged"
SMALL = ("--arms", f"backprop,{STAGED}", "--net", "mlp:2x16", "--trials", "2", "--max-passes", "6", "--seeds", "2")


def accuracies(directory: Path) -> dict[tuple[str, str, str, int], tuple[float | None, float | None, int]]:
    """Cell to what must be the same, bit for bit."""
    records = read_records(directory / "records.jsonl")
    found = {r.cell: (r.val_accuracy, r.test_accuracy, r.passes) for r in records if r.status == "ok"}
    assert len(found) == sum(r.status == "ok" for r in records), "a cell was run twice"
    return found


def tuned(directory: Path) -> list[object]:
    """What the search found."""
    return [(row["arm"], row["best"], row["best_val_accuracy"]) for row in json.loads((directory / "tuned.json").read_text())]


def finish(arguments: tuple[str, ...], where: Path) -> subprocess.CompletedProcess[str]:
    """Run to the end in this process, which starts nothing new: those that are killed are processes of their own."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.chdir(where), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = run(list(arguments))
    return subprocess.CompletedProcess(arguments, code, out.getvalue(), err.getvalue())


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A comparison that nobody interrupted."""
    where = tmp_path_factory.mktemp("whole")
    done = finish(("compare", "--out", "R", "--quiet", *SMALL), where)
    assert done.returncode == 0, done.stderr
    return where / "R"


def test_another_process_and_directory_give_the_same_accuracies_bit_for_bit(whole: Path, tmp_path: Path) -> None:
    other = start(("compare", "--out", "elsewhere", "--quiet", *SMALL, *ALONE), tmp_path)
    _, err = other.communicate(timeout=240)
    assert other.returncode == 0, err
    assert accuracies(tmp_path / "elsewhere") == accuracies(whole)
    assert tuned(tmp_path / "elsewhere") == tuned(whole)


def test_a_finished_comparison_is_not_run_again(whole: Path) -> None:
    before = (whole / "records.jsonl").read_bytes()
    done = finish(("compare", "--out", str(whole), "--quiet", *SMALL), whole.parent)
    assert done.returncode == 0, done.stderr
    assert (whole / "records.jsonl").read_bytes() == before


@pytest.mark.parametrize(
    "kills",
    [
        pytest.param(("records.jsonl",), id="runs"),
        pytest.param(("study.journal", "records.jsonl", "records.jsonl"), id="search, runs, runs", marks=pytest.mark.slow),
    ],
)
def test_killed_at_any_moment_it_resumes(whole: Path, tmp_path: Path, kills: tuple[str, ...]) -> None:
    directory = tmp_path / "R"
    for name in kills:
        process = start(("compare", "--out", "R", "--quiet", *SMALL, *ALONE), tmp_path)
        size = _size(directory / name)
        deadline = time.monotonic() + 120
        while process.poll() is None and _size(directory / name) < size + 400 and time.monotonic() < deadline:
            time.sleep(0.002)
        process.send_signal(signal.SIGKILL)
        process.communicate()
    (directory / "records.jsonl").open("a").write('{"schema": 1, "arm": "half a li')
    (directory / "study.journal").open("a").write('{"op_code": 5, "half')
    done = finish(("compare", "--out", "R", "--quiet", *SMALL), tmp_path)
    assert done.returncode == 0, done.stderr
    assert accuracies(directory) == accuracies(whole)
    assert tuned(directory) == tuned(whole)


PRESSING = """
import os, pathlib, signal, sys, time
from bpfree.cli import interrupt, main, session

class Pressing(interrupt.QuietObserver):
    def begin(self, name, n_passes):
        self.name = name

    def passed(self, progress):
        if self.name == STAGE and progress.passes == 2:
            pathlib.Path("pressed").write_text(str(time.time()))
            os.kill(os.getpid(), signal.SIGINT)
        super().passed(progress)

session.QuietObserver = Pressing
main()
"""
"""The command line; after the second pass of a stage, within its window, Ctrl-C is pressed."""


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


@pytest.mark.parametrize(
    ("stage", "written"),
    [
        pytest.param(f"search {STAGED}", [], id="in a trial", marks=pytest.mark.slow),  # as test_interrupt.py
        pytest.param(f"{STAGED}, seed 0", [("backprop", "ok"), (STAGED, "interrupted")], id="in a run"),
    ],
)
def test_control_c_ends_within_two_seconds_and_says_how_to_resume(
    whole: Path, tmp_path: Path, stage: str, written: list[tuple[str, str]]
) -> None:
    script = PRESSING.replace("STAGE", repr(stage))
    process = start(("compare", "--out", "R", "--quiet", *SMALL, *ALONE), tmp_path, script=script)
    _, err = process.communicate(timeout=120)
    ended_s = time.time() - float((tmp_path / "pressed").read_text())
    assert ended_s < 2.0
    assert process.returncode == 130
    assert "Resume with: bpfree compare" in err
    assert "--out R" in err
    assert "Traceback" not in err
    directory = tmp_path / "R"
    records = read_records(directory / "records.jsonl")
    assert [(record.arm, record.status) for record in records] == written  # it hit what it should
    assert all(record.passes == 2 for record in records if record.status == "interrupted")
    done = finish(("compare", "--out", "R", "--quiet", *SMALL), tmp_path)
    assert done.returncode == 0, done.stderr
    assert accuracies(directory) == accuracies(whole)
    assert tuned(directory) == tuned(whole)


def test_two_at_once_in_one_directory_are_refused(tmp_path: Path) -> None:
    first = start(("compare", "--out", "R", "--quiet", *SMALL, *ALONE), tmp_path)
    while first.poll() is None and not (tmp_path / "R" / "study.journal").exists():
        time.sleep(0.005)
    second = finish(("compare", "--out", "R", "--quiet", *SMALL), tmp_path)
    first.send_signal(signal.SIGKILL)
    first.communicate()
    assert second.returncode == 2
    assert "is being written by another bpfree" in second.stderr


def test_one_long_run_resumes_after_a_kill(tmp_path: Path) -> None:
    arguments = ("mono-forward", "--net", "mlp:2x16", "--max-passes", "40", "--patience", "40", "--quiet")
    whole = finish(("train", *arguments, "--out", "whole"), tmp_path)
    assert whole.returncode == 0, whole.stderr
    process = start(("train", *arguments, "--out", "killed"), tmp_path)
    checkpoints = tmp_path / "killed" / "checkpoints"
    while process.poll() is None and not list(checkpoints.glob("mono-forward-seed0-*.safetensors")):
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert not (tmp_path / "killed" / "records.jsonl").exists()
    again = finish(("train", *arguments, "--out", "killed"), tmp_path)
    assert again.returncode == 0, again.stderr
    (one,) = read_records(tmp_path / "whole" / "records.jsonl")
    (two,) = read_records(tmp_path / "killed" / "records.jsonl")
    assert (two.val_accuracy, two.test_accuracy, two.passes) == (one.val_accuracy, one.test_accuracy, one.passes)
    assert [e.train_loss for e in two.history] == [e.train_loss for e in one.history]
    assert "two sittings" in two.reasons["energy.joules"]
