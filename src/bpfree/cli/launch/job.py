"""What a job of a cluster does: it runs one command line as a process of its own, and lets it end in order when it is preempted.

submitit pickles the function and its arguments; both are plain, so that nothing of this program is in the pickle. The command is
resumable, so that preemption needs no state but the command: the process is asked to end (it keeps what it has finished) and the
same command line is queued again.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from types import FrameType
from typing import Any

__all__ = ["RunCommand", "run_command"]

_running: list[int] = []
"""Process number of the command, while it runs."""


class RunCommand:
    """Callable with what submitit needs to queue it again; it has no state."""

    def __call__(self, arguments: Sequence[str], folder: str) -> int:
        """Run ``bpfree`` with these arguments in a folder; returns its exit code.

        Raises:
            SystemExit: the command was ended by a signal. submitit writes no result then, so that the scheduler decides: a
                preempted job runs again, a cancelled one does not.
        """
        command = [sys.executable, "-m", "bpfree", *arguments]
        before = signal.signal(signal.SIGTERM, _pass_on)
        process = subprocess.Popen(command, cwd=folder)
        _running[:] = [process.pid]
        try:
            code = process.wait()
        except BaseException:  # whatever ends this process, the command is to end too
            process.terminate()
            raise
        finally:
            _running.clear()
            signal.signal(signal.SIGTERM, before)
        if code < 0 or code > 128:
            raise SystemExit(code if code > 0 else 128 - code)
        return code

    def checkpoint(self, arguments: Sequence[str], folder: str) -> Any:
        """End the command and return the same once more, as ``submitit.helpers.Checkpointable`` has it.

        submitit calls it in the handler of its signal, while the call above waits, so the process is waited for without Python's
        locks, and not reaped.
        """
        from submitit.helpers import DelayedSubmission

        for pid in _running:
            os.kill(pid, signal.SIGTERM)
            os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
        return DelayedSubmission(self, arguments, folder)


def _pass_on(number: int, _frame: FrameType | None) -> None:
    for pid in _running:
        os.kill(pid, number)


run_command = RunCommand()
"""The one instance."""
