"""Running the command line in this process and in others."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from rich.console import Console

from bpfree.cli import run
from tests import warm

TINY = ("--net", "mlp:1x16", "--trials", "2", "--max-passes", "3", "--seeds", "2", "--batch-size", "256")
"""A comparison that takes a second or two."""

ALONE = ("--jobs", "1")
"""For a command in a process of its own that starts no other: by default one is started early and imports torch, unused here."""


@dataclass(frozen=True)
class Outcome:
    code: int
    out: str
    err: str

    def one_line(self) -> str:
        """The only line on standard error."""
        lines = self.err.strip().splitlines()
        assert len(lines) == 1, self.err
        assert lines[0].startswith("bpfree: ")
        assert "Traceback" not in self.err
        return lines[0]


@pytest.fixture
def bpfree(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Outcome]:
    """Run the command in this process, in an empty directory."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("BPFREE_DATA", raising=False)

    def call(*arguments: str) -> Outcome:
        code = run(list(arguments))
        seen = capsys.readouterr()
        return Outcome(code, seen.out, seen.err)

    return call


def start(arguments: Sequence[str], where: Path, file_limit_bytes: int | None = None, script: str | None = None) -> warm.Started:
    """Start the command in another process, which has imported all that it needs.

    Args:
        file_limit_bytes: no file may become larger.
        script: Python code that is run instead of ``python -m bpfree``.
    """
    return warm.start(arguments, where, environment(), script=script, file_limit_bytes=file_limit_bytes)


def start_cold(arguments: Sequence[str], where: Path) -> subprocess.Popen[str]:
    """Start the command as a user does."""
    return subprocess.Popen(
        [sys.executable, "-m", "bpfree", *arguments],
        cwd=where, env=environment(), text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


def environment() -> dict[str, str]:
    return {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Standard output is a terminal of 80 columns without colours."""

    def screen(*, stderr: bool = False, quiet: bool = False) -> Console:
        file = sys.stderr if stderr else sys.stdout
        return Console(file=file, force_terminal=not stderr, color_system=None, width=80, highlight=False, quiet=quiet)

    for name in ("output", "show"):
        monkeypatch.setattr(f"bpfree.cli.{name}.on_terminal", lambda: True)
    monkeypatch.setattr("bpfree.cli.output.console", screen)
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("NO_COLOR", "1")
