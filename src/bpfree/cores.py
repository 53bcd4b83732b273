"""Processor cores that this process may use, and how many processes are worth asking for; torch is not imported."""

from __future__ import annotations

import os
from pathlib import Path

from bpfree.errors import UsageError

__all__ = ["MOST_PER_CORE", "check_jobs", "container_s", "cores", "processors"]

MOST_PER_CORE = 4
"""More processes than this for each core only wait for each other."""

_QUOTA = Path("/sys/fs/cgroup/cpu.max")
"""Microseconds of processor time that a container may use, and the period in which it may use them."""


_USED = Path("/sys/fs/cgroup/cpu.stat")
"""What the processes of the container have used."""


def container_s() -> float | None:
    """Processor seconds of all processes of a container that has a quota; None where there is none."""
    if _quota() is None:
        return None
    try:
        lines = dict(line.split() for line in _USED.read_text().splitlines())
        return int(lines["usage_usec"]) / 1e6
    except (OSError, ValueError, KeyError):
        return None


def processors() -> list[int]:
    """Numbers of the hardware threads on which this process may run, by its affinity."""
    return sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else list(range(os.cpu_count() or 1))


def cores() -> int:
    """Hardware threads that this process may use: of its affinity, and no more than the quota of its container."""
    count, quota = len(processors()), _quota()
    return count if quota is None else max(1, min(count, quota))


def _quota() -> int | None:
    try:
        allowed, period = _QUOTA.read_text().split()
        return int(allowed) // int(period)
    except (OSError, ValueError):  # no such file, or no limit ("max")
        return None


def check_jobs(jobs: int | None, device: str) -> None:
    """Refuse a number of processes that is no use; None asks for the default.

    Args:
        device: such as ``cpu`` or ``cuda:0``.

    Raises:
        UsageError: less than 1, more than 4 for each core, or more than one on a GPU.
    """
    if jobs is None:
        return
    most = MOST_PER_CORE * cores()
    if not 1 <= jobs <= most:
        raise UsageError(f"--jobs must be from 1 to {most} ({MOST_PER_CORE} for each of {cores()} cores), got {jobs}")
    if jobs > 1 and not device.startswith("cpu"):
        raise UsageError(
            f"--jobs {jobs} was asked on {device}: processes take turns on a GPU, and each holds its own copy of the data; use "
            "--jobs 1, or --device cpu"
        )
