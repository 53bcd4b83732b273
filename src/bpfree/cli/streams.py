"""Standard output and error that never cost the work: closed, lost, or of another encoding than UTF-8."""

from __future__ import annotations

import codecs
import errno
import os
import sys
import unicodedata
from dataclasses import dataclass
from typing import Any, TextIO

from bpfree.cli.resume import where_it_is

__all__ = ["GuardedStream", "keep_streams", "what_was_lost"]

HANDLER = "bpfree-plain"
"""Name of the handler of characters that a stream cannot show."""

_PLAIN = str.maketrans({
    "–": "-", "—": "-", "−": "-", "·": ".", "×": "x", "±": "+/-", "…": "...", "≤": "<=", "≥": ">=", "≈": "~", "→": "->",
    "⊙": "*", "√": "sqrt", "’": "'", "“": '"', "”": '"', "≠": "!=", "∞": "inf", "│": "|", "─": "-", "┃": "|", "━": "-",
})  # fmt: skip


def _plainly(error: UnicodeError) -> tuple[str, int]:
    """The nearest ASCII of what cannot be encoded."""
    assert isinstance(error, UnicodeEncodeError)
    text = error.object[error.start : error.end].translate(_PLAIN)
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()
    return plain or "?" * (error.end - error.start), error.end


class GuardedStream:
    """A text stream that takes everything: what can no longer be written (a closed pipe or terminal) is dropped.

    Attributes:
        lost: why; empty while the stream can be written.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self.lost = ""

    def write(self, text: str) -> int:
        """Write, or drop."""
        if not self.lost:
            try:
                self._stream.write(text)
            except OSError as error:
                self._drop(error)
        return len(text)

    def flush(self) -> None:
        """Flush, unless the stream is lost."""
        if not self.lost:
            try:
                self._stream.flush()
            except OSError as error:
                self._drop(error)

    def _drop(self, error: OSError) -> None:
        self.lost = (error.strerror or type(error).__name__).lower()
        descriptor = os.open(os.devnull, os.O_WRONLY)
        os.dup2(descriptor, self._stream.fileno())  # what is buffered goes there when Python ends
        os.close(descriptor)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


_absent: list[str] = []


def keep_streams() -> None:
    """Make standard output and error a :class:`GuardedStream`; without one, nothing is shown and ``what_was_lost`` says so."""
    codecs.register_error(HANDLER, _plainly)
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:  # else the next file that is opened would get this number, and stray output
            os.open(os.devnull, os.O_RDWR)
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            _absent.append(name)
            stream = open(os.devnull, "w", encoding="utf-8")  # noqa: PTH123, SIM115 - for the rest of the process
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors=HANDLER)
        setattr(sys, name, GuardedStream(stream))


@dataclass(frozen=True)
class Lost:
    """What to say of standard output that could not take the result, and the exit code."""

    message: str
    code: int


def what_was_lost() -> Lost | None:
    """None where standard output took everything, or the reader of a pipe has ended (as ``head`` does)."""
    sys.stdout.flush()
    if "stdout" in _absent:
        return Lost(f"standard output is closed, nothing was printed{where_it_is()}", 0)
    why = getattr(sys.stdout, "lost", "")
    if not why or why == os.strerror(errno.EPIPE).lower():
        return None
    return Lost(f"standard output could not be written ({why}){where_it_is()}", 1)
