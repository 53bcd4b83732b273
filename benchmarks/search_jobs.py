"""How much faster a search is in several processes: wall time of the search of ``bpfree compare``'s arms, as a Markdown table.

    python benchmarks/search_jobs.py                    # --jobs 1 and 2 in turns, three times
    python benchmarks/search_jobs.py --jobs 4 --times 5
    python benchmarks/search_jobs.py --sampler random   # in place of the quasi-random points
    python benchmarks/search_jobs.py --late             # processes that the search itself starts

The search is that of ruleset ``quick`` on the digits (``mlp:2x256``, eight trials for each arm). The further processes are there
when it begins, since the command starts them while it imports torch itself; with ``--late`` their start is in the time, as on a
machine that meters energy. All must find the same. Other programs decide the wall time: look at the load. The processor time of
the process that starts the others is less disturbed; where each process has a core for itself, the ratio of these times is that
of the wall times.

What the machine itself allows stands beside it: as many commands as ``--jobs``, each with a whole search of its own at the same
time, do so many times the work of one. Two threads of one core share its arithmetic.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from bpfree import rulesets
from bpfree.bench import ComparisonRun, RunDirectory, SilentObserver, parse_arms
from bpfree.bench.preparation import prepare
from bpfree.cli.setting import torch_device
from bpfree.cores import cores
from bpfree.early_processes import SEARCH, start_early

IMPORT_S = 4.0
"""What a process takes to be ready."""


def searched(jobs: int, *, late: bool, sampler: str = "qmc") -> tuple[float, float, list[object]]:
    """Wall and processor seconds of the search of all arms, and what it found."""
    rules = rulesets.load("quick")
    if sampler != rules.search.sampler.name:
        rules = rules.with_changes({"search.sampler": {"name": sampler}})
    if jobs > 1 and not late:
        start_early(SEARCH, jobs - 1)
        time.sleep(IMPORT_S)
    setting = prepare(rules, "digits", "mlp:2x256", torch_device("cpu"))
    with tempfile.TemporaryDirectory() as folder:
        directory = RunDirectory(Path(folder) / "R")
        with directory.opened(rules, setting.facts):
            run = ComparisonRun(setting, parse_arms(",".join(rules.plan.arms)), (), directory, SilentObserver(), jobs=jobs)
            begin_s, begin_cpu_s = time.monotonic(), time.process_time()
            tuned = run.tune()
            took_s, cpu_s = time.monotonic() - begin_s, time.process_time() - begin_cpu_s
    return took_s, cpu_s, [(one.best, one.row["tried"]) for one in tuned.values()]


def searched_beside(others: int, sampler: str = "qmc") -> float:
    """Wall seconds until as many commands, each with a search of its own, have ended together; their start is left out."""
    program = f"import sys, search_jobs; sys.stdin.readline(); search_jobs.searched(1, late=False, sampler={sampler!r})"
    pipes = {"stdin": subprocess.PIPE, "text": True, "cwd": Path(__file__).parent}
    commands = [subprocess.Popen([sys.executable, "-c", program], **pipes) for _ in range(others)]
    time.sleep(IMPORT_S * others)
    begin_s = time.monotonic()
    for command in commands:
        assert command.stdin is not None
        command.stdin.write("go\n")
        command.stdin.flush()
    for command in commands:
        command.wait()
    return time.monotonic() - begin_s


def main(arguments: list[str] | None = None) -> None:
    """Search in turns, and print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--jobs", type=int, default=2, help="processes beside which one is held")
    parser.add_argument("--times", type=int, default=3, help="searches of each")
    parser.add_argument("--late", action="store_true", help="the search starts the processes")
    parser.add_argument("--sampler", choices=("qmc", "random"), default="qmc")
    asked = parser.parse_args(arguments)
    took: dict[int, list[tuple[float, float]]] = {1: [], asked.jobs: []}
    same, beside = None, list[float]()
    for _ in range(asked.times):
        for jobs, seconds in took.items():
            *both_s, found = searched(jobs, late=asked.late, sampler=asked.sampler)
            if same is not None and found != same:
                raise SystemExit("other trials or values were found than by the first search")
            same = found
            seconds.append((both_s[0], both_s[1]))
            say(f"--jobs {jobs}: {both_s[0]:.1f} s, load {os.getloadavg()[0]:.1f} on {cores()} cores")
        beside.append(searched_beside(asked.jobs, asked.sampler))
    say("\n| processes | wall, least (s) | wall, all (s) | processor time of the first process, least (s) |\n|--:|--:|---|--:|")
    least = {jobs: [min(kind) for kind in zip(*seconds, strict=True)] for jobs, seconds in took.items()}
    for jobs, seconds in took.items():
        walls = ", ".join(f"{wall_s:.1f}" for wall_s, _ in seconds)
        say(f"| {jobs} | {least[jobs][0]:.1f} | {walls} | {least[jobs][1]:.1f} |")
    wall, cpu = (one / many for one, many in zip(least[1], least[asked.jobs], strict=True))
    say(f"\nratio: wall {wall:.2f}, processor time of the first process {cpu:.2f}")
    limit = asked.jobs * least[1][0] / min(beside)
    say(f"{asked.jobs} commands at once, each with its own search: {min(beside):.1f} s, {limit:.2f} times the work of one")


def say(line: str) -> None:
    """Print a line at once."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
