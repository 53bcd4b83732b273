"""Ctrl-C that cannot get lost.

Python raises ``KeyboardInterrupt`` wherever it happens to be; in a destructor or a weak reference's callback the exception is
printed and *ignored*, and the run would go on to its end. The handler therefore also remembers that somebody asked, and the
observer of a run looks after every pass.
"""

from __future__ import annotations

import signal
from types import FrameType

from bpfree.bench import SilentObserver
from bpfree.train import Progress

__all__ = ["QuietObserver", "raise_if_asked", "watch_for_interrupts"]

_asked = [False]


def _remember_and_raise(_signal: int, _frame: FrameType | None) -> None:
    _asked[0] = True
    raise KeyboardInterrupt


def watch_for_interrupts() -> None:
    """Install the handler."""
    _asked[0] = False
    signal.signal(signal.SIGINT, _remember_and_raise)


def raise_if_asked() -> None:
    """Stop here if Ctrl-C was pressed and its exception got lost."""
    if _asked[0]:
        raise KeyboardInterrupt


class QuietObserver(SilentObserver):
    """Says nothing, and still listens to Ctrl-C."""

    def passed(self, progress: Progress) -> None:
        """Look after a pass."""
        del progress
        raise_if_asked()
