"""Two ranks, one thread each: layer-parallel local rules beside pipelined backprop on the same net, and what the machine allows.

    python benchmarks/parallel.py                       # all nets; those that are measured already are left out
    python benchmarks/parallel.py --again --nets mlp:8x1000 --windows 9
    python benchmarks/parallel.py --check               # Mono-Forward in 1, 2 and 4 ranks, for docs/cost-model.md
    python benchmarks/parallel.py --page                # docs/parallel.md from the results

Windows of all contenders alternate in the same two processes. Results go to ``benchmarks/results/parallel.json`` after each net.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from socket import socket
from typing import Any

import torch
from parallel_kit.page import page, rows

from bpfree.bench import environment
from bpfree.files import write_atomic

HERE = Path(__file__).parent
RESULTS = HERE / "results" / "parallel.json"
PAGE = HERE.parent / "docs" / "parallel.md"
STEPS = {"mlp:4x2000": 16, "mlp:8x1000": 20, "mf-cnn4": 10}
"""In a window of layers; all nets take some five minutes on two quiet hardware threads."""

RANKS = 2

CHECK_RANKS = (1, 2, 4)
CHECK_STEPS = {"mlp:8x1000": 32, "mf-cnn4": 12}
CHECKED_RULE = "mono-forward"


def measure(net: str, steps: int, options: argparse.Namespace, n_ranks: int = RANKS, only: str | None = None) -> dict[str, Any]:
    """One net, in so many processes; all contenders, or the layers of one rule."""
    with socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    with tempfile.TemporaryDirectory() as place:
        out = Path(place) / "result.json"
        words = [net, str(steps), str(options.windows), str(options.batch_size), str(out), *filter(None, [only])]
        here = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "WORLD_SIZE": str(n_ranks), "OMP_NUM_THREADS": "1"}
        paths = os.pathsep.join([str(HERE), *filter(None, [os.environ.get("PYTHONPATH")])])
        ranks = [
            subprocess.Popen(
                [sys.executable, "-m", "parallel_kit.ranks", *words],
                env={**os.environ, **here, "PYTHONPATH": paths, "RANK": str(rank)},
            )
            for rank in range(n_ranks)
        ]
        codes = [each.wait() for each in ranks]
        if any(codes):
            raise SystemExit(f"a rank of {net} ended with {codes}; its error is above")
        return json.loads(out.read_text())


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nets", default=",".join(STEPS))
    parser.add_argument("--steps", type=int, default=None, help="in a window of layers; by default 10 to 20, by the net")
    parser.add_argument("--windows", type=int, default=7)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--again", action="store_true", help="measure nets that are in the results, too")
    parser.add_argument(
        "--check", action="store_true", help="measure one rule in 1, 2 and 4 ranks, as the cost model predicts it"
    )
    parser.add_argument("--page", action="store_true", help="write docs/parallel.md and measure nothing")
    options = parser.parse_args()
    results: dict[str, Any] = json.loads(RESULTS.read_text()) if RESULTS.exists() else {"nets": {}}
    if options.page:
        write_atomic(PAGE, page(results))
        return 0
    if options.check:
        for net, steps in CHECK_STEPS.items():
            for n_ranks in CHECK_RANKS:
                _write(results, "checks", f"{net} {n_ranks}", partial(measure, net, steps, options, n_ranks, CHECKED_RULE))
        return 0
    for net in options.nets.split(","):
        asked = {"steps": options.steps or STEPS.get(net, 10), "batch_size": options.batch_size}
        there = results["nets"].get(net)
        enough = there is not None and len(there["step_s"]["mono-forward"]) >= options.windows
        if there is not None and enough and all(there[key] == value for key, value in asked.items()) and not options.again:
            continue
        _write(results, "nets", net, partial(measure, net, asked["steps"], options))
    for row in rows(results):
        print("  ".join(row))  # noqa: T201
    return 0


def _write(results: dict[str, Any], kind: str, name: str, measured: Callable[[], dict[str, Any]]) -> None:
    load = os.getloadavg()[0]
    result = measured() | {"load": load, "measured_at": datetime.now(UTC).isoformat(timespec="seconds")}
    results.setdefault(kind, {})[name] = result
    results["environment"] = environment.facts(torch.device("cpu")).as_json()
    write_atomic(RESULTS, json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    sys.exit(main())
