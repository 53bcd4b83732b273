"""Where the seconds of the main job go: processor time of ``bpfree compare`` by part and arm, as a Markdown table.

    python benchmarks/main_job.py                                       # the installed bpfree
    PYTHONPATH=OTHER/src python benchmarks/main_job.py                  # another checkout; run both at the same time
    python benchmarks/main_job.py --trials 1 --seeds 1                  # options of ``bpfree compare``

Processor time of this process is less disturbed by other programs than the clock is, though not free of them: two programs that
share a core lengthen each other's. So compare two checkouts only in runs made at the same time.
"""

from __future__ import annotations

import importlib
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

SPENT_S: dict[str, float] = {}
COUNTS: dict[str, int] = {}


def timed(owner: Any, name: str, part: Callable[..., str]) -> None:
    """Add up the processor time of a function under the name that ``part`` gives to its arguments."""
    inner = getattr(owner, name)

    def wrapper(*args: Any, **options: Any) -> Any:
        begin_s = time.process_time()
        try:
            return inner(*args, **options)
        finally:
            key = part(*args)
            SPENT_S[key] = SPENT_S.get(key, 0.0) + time.process_time() - begin_s
            COUNTS[key] = COUNTS.get(key, 0) + 1

    setattr(owner, name, wrapper)


def _arm(algorithm: Any) -> str:
    schedule = getattr(algorithm, "schedule", "joint")
    return algorithm.name if schedule == "joint" else f"{algorithm.name} ({schedule})"


def main(options: list[str]) -> None:
    """Run the main job and print the table."""
    begin_s = time.process_time()
    from bpfree import report
    from bpfree.cli import compare as _command  # noqa: F401  # the command's own imports
    from bpfree.cli import run

    # By name: the packages have functions of the same names.
    training, measure, record = (
        importlib.import_module(f"bpfree.{name}") for name in ("train.training", "bench.measure", "bench.record")
    )

    SPENT_S["start-up: imports"] = time.process_time() - begin_s
    timed(training._Run, "learn", lambda run, *_: f"{_arm(run.work.algorithm)}: steps")
    timed(training, "evaluate", lambda algorithm, *_: f"{_arm(algorithm)}: validation")
    timed(measure, "_cost", lambda *_: "counting the cost of a step")
    timed(measure, "warm_up", lambda *_: "warm-up of measured runs")
    timed(record, "_inference", lambda *_: "timing inference")
    timed(report, "build", lambda *_: "report")
    with tempfile.TemporaryDirectory() as folder:
        run(["compare", "--quiet", "--jobs", "1", "--out", str(Path(folder) / "run"), *options])
    total_s = time.process_time() - begin_s
    SPENT_S["all else"] = total_s - sum(SPENT_S.values())
    lines = ["| part | processor time (s) | calls | ms a call |\n|---|--:|--:|--:|"]
    for part, spent_s in sorted(SPENT_S.items(), key=lambda pair: -pair[1]):
        n = COUNTS.get(part, 1)
        lines.append(f"| {part} | {spent_s:.2f} | {n} | {1000 * spent_s / n:.2f} |")
    lines.append(f"| **all** | {total_s:.2f} | | |")
    sys.stdout.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
