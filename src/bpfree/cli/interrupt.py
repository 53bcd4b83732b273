"""Ctrl-C that is never lost.

Python raises ``KeyboardInterrupt`` wherever it happens to be; in a destructor or in the callback of a weak reference the
exception is printed and *ignored*, and the run would not stop. The handler therefore also sets a flag, and the observer of a
run looks at it after every pass.
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
    """Install the handler of SIGINT; what was pressed before does not count."""
    _asked[0] = False
    signal.signal(signal.SIGINT, _remember_and_raise)


def raise_if_asked() -> None:
    """Raise if Ctrl-C was pressed and Python ignored its exception.

    Raises:
        KeyboardInterrupt: it was.
    """
    if _asked[0]:
        raise KeyboardInterrupt


class QuietObserver(SilentObserver):
    """Prints nothing, but notices Ctrl-C."""

    def passed(self, progress: Progress) -> None:
        """Raise ``KeyboardInterrupt`` if Ctrl-C was pressed and its exception got lost."""
        del progress
        raise_if_asked()
