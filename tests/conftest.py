"""For all tests: one thread a process (two test processes share two cores), and signals as in a terminal."""

from __future__ import annotations

import os
import signal

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is imported; inherited by the processes that tests start

# A shell lets what it starts in the background ignore Ctrl-C, and nohup a closed terminal; tests of signals need neither.
for number, handler in ((signal.SIGINT, signal.default_int_handler), (signal.SIGHUP, signal.SIG_DFL)):
    if signal.getsignal(number) is signal.SIG_IGN:
        signal.signal(number, handler)
