"""Run tests again and again without importing the libraries each time.

``python -m tools.mutation.server LIBRARY ...`` imports the libraries, then reads one line of JSON from its standard input
for each run: the arguments of pytest. It forks; the child answers with its process number, runs pytest as
the leader of a session of its own, and ends. The server then answers with the exit code.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import sys


def main() -> None:
    """Serve until the standard input ends."""
    for name in sys.argv[1:]:
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    import pytest

    gc.freeze()  # the children do not copy these pages at their first collection
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            os.setsid()
            _silence()
            os._exit(int(pytest.main(json.loads(line))))
        print(child, flush=True)
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


def _silence() -> None:
    nothing = os.open(os.devnull, os.O_RDWR)
    for number in (0, 1, 2):
        os.dup2(nothing, number)


if __name__ == "__main__":
    main()
