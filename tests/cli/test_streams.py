"""Standard output that is closed, lost or of another encoding costs no work."""

from __future__ import annotations

import codecs
import errno
import io
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from bpfree.cli import streams
from bpfree.cli.output import console
from bpfree.cli.progress import ConsoleObserver
from bpfree.cli.streams import HANDLER, GuardedStream

from .conftest import Outcome


class Refusing(io.StringIO):
    """A stream that the system refuses to write after some texts."""

    def __init__(self, number: int, after: int) -> None:
        super().__init__()
        self.number, self.left, self.spare = number, after, os.open(os.devnull, os.O_WRONLY)

    def write(self, text: str) -> int:
        if self.left == 0:
            raise OSError(self.number, os.strerror(self.number))
        self.left -= 1
        return super().write(text)

    def fileno(self) -> int:
        return self.spare


@pytest.mark.parametrize("number", [errno.EPIPE, errno.EIO, errno.ENOSPC])
def test_what_cannot_be_written_any_more_is_dropped(number: int) -> None:
    inner = Refusing(number, after=1)
    kept = GuardedStream(inner)
    assert [kept.write(text) for text in ("one", "two", "three")] == [3, 3, 5]
    kept.flush()
    assert inner.getvalue() == "one"
    assert kept.lost == os.strerror(number).lower()


@pytest.mark.parametrize(("number", "code"), [(errno.EPIPE, None), (errno.ENOSPC, 1)])
def test_a_result_that_is_lost_is_said_unless_its_reader_has_ended(
    monkeypatch: pytest.MonkeyPatch, number: int, code: int | None
) -> None:
    kept = GuardedStream(Refusing(number, after=0))
    kept.write("result")
    monkeypatch.setattr(sys, "stdout", kept)
    lost = streams.what_was_lost()
    assert (None if lost is None else lost.code) == code
    assert lost is None or "standard output could not be written (no space left on device)" in lost.message


@pytest.mark.parametrize(
    ("encoding", "shown"),
    [("ascii", "1.5 +/- 0.2 x ? - e"), ("latin-1", "1.5 ± 0.2 × ? - é"), ("utf-8", "1.5 ± 0.2 × 漢 – é")],
)
def test_characters_that_a_stream_does_not_have_become_plain_ones(encoding: str, shown: str) -> None:
    codecs.register_error(HANDLER, streams._plainly)
    assert "1.5 ± 0.2 × 漢 – é".encode(encoding, HANDLER).decode(encoding) == shown


@pytest.mark.parametrize("redirection", [">&-", ">/dev/full", "| head -c 1 >/dev/null", "2>&-"])
def test_a_command_whose_streams_are_gone_ends_without_a_traceback(tmp_path: Path, redirection: str) -> None:
    """In a shell, since a closed descriptor cannot be handed over in another way."""
    done = subprocess.run(
        ["bash", "-c", f"{sys.executable} -m bpfree list rulesets {redirection}"],
        cwd=tmp_path, env={**os.environ, "PYTHONIOENCODING": "ascii"}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert "Traceback" not in done.stderr
    assert len(done.stderr.splitlines()) == (1 if redirection in (">&-", ">/dev/full") else 0)
    assert done.returncode == (1 if redirection == ">/dev/full" else 0)


def test_lines_are_not_cut_in_a_pipe(capsys: pytest.CaptureFixture[str]) -> None:
    line = "backprop, seed 0: " + "a line that is longer than eighty columns " * 5
    observer = ConsoleObserver(console(stderr=True), 3)
    with observer:
        observer.begin("backprop, seed 0", 3)
        observer.end(line)
    assert line in capsys.readouterr().err.splitlines()


def test_help_in_a_pipe_has_no_dots_for_what_was_cut(bpfree: Callable[..., Outcome]) -> None:
    assert "…" not in bpfree("compare", "--help").out


def test_a_tilde_after_an_equals_sign_is_the_home_directory(
    bpfree: Callable[..., Outcome], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "home").mkdir()
    task = ("--dataset", "synthetic:n=200:inputs=4:classes=2", "--net", "mlp:1x4", "--max-passes", "1", "--quiet")
    assert bpfree("train", "backprop", "--out=~/R", *task).code == 0
    assert (tmp_path / "home" / "R" / "records.jsonl").exists()
    assert not (tmp_path / "~").exists()
    assert bpfree("report", "~/R", "--quiet").code == 0
    assert "home/none.npz" in bpfree("train", "backprop", "--dataset=~/none.npz").one_line()
    assert "home/none.yaml" in bpfree("compare", "--ruleset=~/none.yaml").one_line()


@pytest.mark.parametrize("name", ["with space", "[1] *?", "-leading", "ünï", "a'b\"c", os.fsdecode(b"not-utf8-\xff")])
def test_odd_names_of_directories(bpfree: Callable[..., Outcome], tmp_path: Path, name: str) -> None:
    task = ("--dataset", "synthetic:n=200:inputs=4:classes=2", "--net", "mlp:1x4", "--max-passes", "1", "--quiet")
    outcome = bpfree("train", "backprop", f"--out={name}", *task)
    assert outcome.code == 0, outcome.err
    assert bpfree("report", f"./{name}", "--quiet").code == 0
    assert (tmp_path / name / "report" / "index.html").exists()


@pytest.mark.parametrize("name", ["a b.npz", "x" * 240 + ".npz", os.fsdecode(b"\xff.npz"), "[1] <b>.npz"])
def test_odd_names_of_data_files(bpfree: Callable[..., Outcome], tmp_path: Path, name: str) -> None:
    x = np.random.default_rng(0).normal(size=(60, 3)).astype(np.float32)
    np.savez(tmp_path / "plain.npz", x=x, y=np.arange(60) % 2)
    (tmp_path / "plain.npz").rename(tmp_path / name)
    task = ("--net", "mlp:1x4", "--batch-size", "20", "--max-passes", "1", "--trials", "1", "--seeds", "1", "--quiet")
    outcome = bpfree("compare", "--arms", "backprop", "--dataset", f"./{name}", *task)
    assert outcome.code == 0, outcome.err
    (directory,) = (tmp_path / "runs").iterdir()
    assert directory.name.isascii()
    assert (directory / "report" / "index.html").exists()
