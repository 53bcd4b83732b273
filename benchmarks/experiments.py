"""The three experiments of docs/answers.md: run them, and make the page of the records that are there.

    python benchmarks/experiments.py 1 2 3 --data-dir DIR    # runs what is missing of each (hours on two cores), then the page
    python benchmarks/experiments.py --page                  # the page alone

An experiment is ``bpfree compare`` with a ruleset of ``benchmarks/rulesets``; it resumes. Records and reports go to
``benchmarks/results/NAME``, those of a processor to ``NAME-cpu``: each has a table. Of each experiment the page says, first, what
contradicts the paper or our hope.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from experiments_kit.listed import EXPERIMENTS, RESULTS, directory, rules
from experiments_kit.page import page

from bpfree.files import write_atomic

PAGE = Path(__file__).parents[1] / "docs" / "answers.md"


def run(name: str, data_dir: Path | None, device: str = "cpu", tier: str = "eager") -> int:
    """What is missing under a ruleset, by ``bpfree compare``; its exit status."""
    command = [sys.executable, "-m", "bpfree", "compare", "--ruleset", str(rules(name))]
    command += ["--out", str(directory(RESULTS, name, device)), "--device", device, "--tier", tier]
    return subprocess.run([*command, *(["--data-dir", str(data_dir)] if data_dir else [])], check=False).returncode


def main(arguments: Sequence[str] | None = None) -> int:
    """The command."""
    numbered = "\n".join(f"  {experiment.number}  {experiment.name}" for experiment in EXPERIMENTS)
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=f"experiments:\n{numbered}", formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("numbers", nargs="*", type=int, help="experiments to run, by their numbers below")
    parser.add_argument("--data-dir", type=Path, default=None, help="holds mnist/ and cifar-10-batches-py/ (or BPFREE_DATA)")
    parser.add_argument("--device", default="cpu", help="cpu or cuda; a run goes on on the device that it began on")
    parser.add_argument("--tier", default="eager", help="eager, compiled or graph; the same for all runs of an experiment")
    parser.add_argument("--page", action="store_true", help="only the page")
    asked = parser.parse_args(arguments)
    known = [experiment.number for experiment in EXPERIMENTS]
    if not (asked.numbers or asked.page) or not all(number in known for number in asked.numbers):
        parser.error(f"name experiments ({', '.join(map(str, known))}), or give --page")
    for name in (name for number in asked.numbers for name in EXPERIMENTS[number - 1].rulesets):
        status = run(name, asked.data_dir, asked.device, asked.tier)
        if status:
            return status
    write_atomic(PAGE, page(EXPERIMENTS))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
