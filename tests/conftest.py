"""For all tests: one thread a process (two test processes share two cores), and results that do not depend on it."""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is imported; inherited by the processes that tests start
