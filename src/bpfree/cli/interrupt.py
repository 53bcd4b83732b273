"""Ctrl-C, SIGTERM and SIGUSR1 or SIGUSR2 (preemption) and SIGHUP (a closed terminal), none of which is lost.

A scheduler tells a job by one of these signals that its time is over (``sbatch --signal=USR1@90``), and some send it to every
process of the job.

Python raises ``KeyboardInterrupt`` wherever it happens to be; in a destructor or in the callback of a weak reference the
exception is printed and *ignored*, and the run would not stop. The handler therefore also sets a flag, and the observer of a
run looks at it after every pass.
"""

from __future__ import annotations

import signal
from types import FrameType

from bpfree.bench import SilentObserver
from bpfree.train import Progress

__all__ = ["QuietObserver", "exit_code", "raise_if_asked", "watch_for_interrupts"]

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)

_asked: list[int] = []
"""The signals that came."""


def _remember_and_raise(number: int, _frame: FrameType | None) -> None:
    again = number in _asked
    _asked.append(number)
    if again and number != signal.SIGINT:
        return  # a scheduler repeats itself; while the record is written, only a person may be impatient
    raise KeyboardInterrupt


def watch_for_interrupts() -> None:
    """Install the handlers; what came before does not count. A signal that is ignored (``nohup``) stays so."""
    _asked.clear()
    for number in SIGNALS:
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, _remember_and_raise)


def raise_if_asked() -> None:
    """Raise if a signal came and Python ignored its exception.

    Raises:
        KeyboardInterrupt: it did.
    """
    if _asked:
        raise KeyboardInterrupt


def exit_code() -> int:
    """128 + the number of the first signal, as shells have it; of Ctrl-C where none was noted."""
    return 128 + (_asked[0] if _asked else signal.SIGINT)


class QuietObserver(SilentObserver):
    """Prints nothing, but notices signals."""

    def passed(self, progress: Progress) -> None:
        """Raise ``KeyboardInterrupt`` if a signal came and its exception got lost."""
        del progress
        raise_if_asked()

    def advance(self, n_passes: int) -> None:
        """The same, after passes of other processes."""
        del n_passes
        raise_if_asked()
