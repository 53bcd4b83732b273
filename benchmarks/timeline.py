"""The clock timeline where there is no GPU: a trace is played back, drawn, and called what it is.

    python benchmarks/timeline.py --make     # writes the synthetic trace benchmarks/traces/synthetic-clocks.jsonl
    python benchmarks/timeline.py            # plays it back beside two short runs, draws docs/clock-timeline.svg

The trace is made up (a board whose clock falls for a moment every second), and the same for both arms: the figure shows what the
report draws, and says nothing about any rule. On a GPU the clocks are measured and the report has the figure anyway:

    bpfree compare --device cuda --dataset mnist --net mlp:4x2000 --arms backprop,forward-forward
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from pathlib import Path

import torch

from bpfree import data, report, rulesets
from bpfree.bench import ComparisonRun, RunDirectory, Setting, SilentObserver, environment, parse_arms
from bpfree.files import write_atomic
from bpfree.meter import Meter, ReplayProbe, Sample, Trace

HERE = Path(__file__).parent
TRACE = HERE / "traces" / "synthetic-clocks.jsonl"
FIGURE = HERE.parent / "docs" / "clock-timeline.svg"
SECONDS, PER_SECOND = 60, 10
HIGH_MHZ, LOW_MHZ, HIGH_W, LOW_W = 1410, 1095, 240.0, 150.0


def make() -> None:
    """Write the trace."""
    samples = []
    for k in range(SECONDS * PER_SECOND):
        dips = k % PER_SECOND in (7, 8)
        samples.append(Sample(k / PER_SECOND, LOW_W if dips else HIGH_W, LOW_MHZ if dips else HIGH_MHZ))
    write_atomic(TRACE, Trace(tuple(samples), "synthetic").lines({"about": "made up by benchmarks/timeline.py, not measured"}))


def draw() -> None:
    """Two short runs with the trace in the place of a board's, and the report's figure of it."""
    trace = Trace.read(TRACE.read_text(encoding="utf-8"))
    probe = ReplayProbe(trace.samples, name=f"the {trace.origin} trace {TRACE.name}")
    device = torch.device("cpu")
    rules = rulesets.load("quick").with_changes(trials=1, max_passes=40, patience=40, seeds=1)
    plan = {"command": "python benchmarks/timeline.py"}
    setting = Setting(rules, data.load("digits"), "mlp:2x256", device, Meter(device, probe=probe), None, plan,
                      environment.facts(device))  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        directory = RunDirectory(Path(folder) / "run")
        with directory.opened(rules, setting.facts):
            arms = parse_arms("backprop,forward-forward")
            ComparisonRun(setting, arms, (0,), directory, SilentObserver()).run()
        (figure,) = [path for path in report.build([directory.path]).figures if path.name == "timeline-clock.svg"]
        shutil.copyfile(figure, FIGURE)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--make", action="store_true", help="write the trace, draw nothing")
    make() if parser.parse_args().make else draw()
    return 0


if __name__ == "__main__":
    sys.exit(main())
