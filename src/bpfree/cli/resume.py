"""The message after Ctrl-C: which directory holds what was finished, and the command that resumes."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from bpfree.text import readable
from bpfree.urls import masked

__all__ = ["command_line", "fail_interrupted", "hint", "remember", "where_it_is"]

_current: list[Path] = []


def remember(directory: Path) -> None:
    """Name the directory that is written from now on."""
    _current[:] = [directory]


def command_line() -> str:
    """The command as the user gave it, without passwords."""
    return masked(readable(shlex.join([*_program(), *sys.argv[1:]])))


def _program() -> list[str]:
    """How this process was started: by its name, or by torchrun, which sets the variable."""
    ranks = os.environ.get("LOCAL_WORLD_SIZE")
    return ["bpfree"] if ranks is None else ["torchrun", "--nproc-per-node", ranks, "-m", "bpfree"]


def where_it_is() -> str:
    """Where the results are, as the end of a sentence; empty where nothing is written."""
    return f"; what was finished is in {_current[0]}" if _current else ""


def hint(what: str = "interrupted") -> str:
    """One line to print after an interruption.

    Args:
        what: happened.
    """
    if not _current:
        return f"{what}; nothing was written"
    words = sys.argv[1:]
    if "--out" not in words and not any(word.startswith("--out=") for word in words):
        words = [*words, "--out", str(_current[0])]
    return f"{what}; what was finished is in {_current[0]}. Resume with: {masked(shlex.join([*_program(), *words]))}"


def fail_interrupted(reasons: Sequence[str]) -> int:
    """Say what was interrupted and how to go on; returns the exit code."""
    more = f" (and {len(reasons) - 1} more, see log.txt)" if len(reasons) > 1 else ""
    print(f"bpfree: {hint(f'interrupted: {reasons[0]}{more}')}", file=sys.stderr, flush=True)  # noqa: T201 - an error, as in main
    return 1
