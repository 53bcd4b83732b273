"""How many processes a search has where no number was asked for.

Only trials of a search run at once; measured runs stay alone on their device. Where the ruleset is made of studies, every trial
is a measured run, so that nothing is shared.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import psutil
import torch

from bpfree import early_processes
from bpfree.bench.setting import Setting
from bpfree.cores import container_s, cores, processors
from bpfree.meter.timeline import busy_and_total_s

__all__ = ["default_jobs", "idle_cores", "may_default"]

WORTH_S = 6.0
"""Expected seconds of a search below which further processes are not worth their start: each imports torch, 2 to 4 s, unless it
was started while this one did so, and saves a third to a half."""

PROCESS_BYTES = 2**30
"""Free memory that each further process must find by default; one that imports torch holds about a third of it."""

SAMPLE_S = 0.2
"""For how long the processors are watched; the kernel accounts in ticks of 10 ms."""

_ALMOST = 0.25
"""Share of a core that others may use of one that counts as idle."""


def idle_cores(sleep: Callable[[float], None] = time.sleep) -> int:
    """How many of :func:`cores` are idle at the moment; looks for :data:`SAMPLE_S`, in which this process waits.

    Others count where they run on hardware threads that this process may use, and where they use up the quota of its container;
    processes of ours that were started early do not.
    """
    mine = processors()
    ours_s, (busy_s, total_s), used_s = early_processes.busy_s(), busy_and_total_s(mine), container_s()
    sleep(SAMPLE_S)
    later_ours_s, (later_busy_s, later_total_s), later_used_s = early_processes.busy_s(), busy_and_total_s(mine), container_s()
    passed_s = (later_total_s - total_s) / len(mine)
    if passed_s <= 0:
        return cores()
    ours = (later_ours_s - ours_s) / passed_s
    idle = len(mine) - (later_busy_s - busy_s) / passed_s + ours
    if used_s is not None and later_used_s is not None:
        idle = min(idle, cores() - (later_used_s - used_s) / passed_s + ours)
    return max(0, min(cores(), int(idle + _ALMOST)))


def may_default(setting: Setting) -> bool:
    """Whether a search may have several processes although none were asked for.

    Only where nothing is lost: on the processor, for a step that uses one thread and is not compiled (each process would compile
    it), and where no energy source would have metered the trials one after another.
    """
    one_thread = setting.device.type == "cpu" and torch.get_num_threads() == 1
    return one_thread and setting.ruleset.plan.tier == "eager" and not setting.meter.sources and cores() > 1


def default_jobs(expected_s: float, n_at_once: int, idle: Callable[[], int] = idle_cores) -> int:
    """How many processes, this one included.

    Args:
        expected_s: seconds that the rest of the search takes one after another.
        n_at_once: trials that can run at the same time.
        idle: counts the idle cores.
    """
    if expected_s < WORTH_S or n_at_once < 2:
        return 1
    fits = 1 + psutil.virtual_memory().available // PROCESS_BYTES
    return max(1, min(idle(), n_at_once, fits))
