"""Warnings of bpfree on the command line: one line each, and each once."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

__all__ = ["one_line_warnings"]


@contextmanager
def one_line_warnings() -> Iterator[None]:
    """Within the block, print a warning of bpfree as ``bpfree: warning: ...``, and any other as Python does."""
    seen: set[str] = set()
    with warnings.catch_warnings():
        others = warnings.showwarning

        def show(
            message: Warning | str,
            category: type[Warning],
            filename: str,
            lineno: int,
            file: TextIO | None = None,
            line: str | None = None,
        ) -> None:
            if not category.__module__.startswith("bpfree."):
                others(message, category, filename, lineno, file, line)
            elif (text := " ".join(str(message).split())) not in seen:
                seen.add(text)
                print(f"bpfree: warning: {text}", file=file or sys.stderr, flush=True)

        warnings.showwarning = show
        yield
