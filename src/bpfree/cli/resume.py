"""The message after Ctrl-C: which directory holds what was finished, and the command that resumes."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

__all__ = ["command_line", "hint", "remember"]

_current: list[Path] = []


def remember(directory: Path) -> None:
    """Name the directory that is written from now on."""
    _current[:] = [directory]


def command_line() -> str:
    """The command as the user gave it."""
    return shlex.join(["bpfree", *sys.argv[1:]])


def hint() -> str:
    """One line to print after an interruption."""
    if not _current:
        return "interrupted; nothing was written"
    words = sys.argv[1:]
    if "--out" not in words and not any(word.startswith("--out=") for word in words):
        words = [*words, "--out", str(_current[0])]
    return f"interrupted; what was finished is in {_current[0]}. Resume with: {shlex.join(['bpfree', *words])}"
