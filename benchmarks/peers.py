"""A training step beside public implementations: their own functions, from checkouts that you supply, in turns with ours.

    mkdir PEERS && cd PEERS
    git clone https://github.com/Przemyslaw11/BeyondBackpropagation      # code of arXiv 2509.19063
    git clone https://github.com/loeweX/Forward-Forward
    git clone https://github.com/Graph-ZKY/CaFo
    cd .. && python benchmarks/peers.py PEERS                            # some minutes
    python benchmarks/peers.py PEERS --peers CaFo --out peers.json

Same examples, net, batch and kind of optimiser, one thread. Which function of which commit is called stands at each adapter in
``benchmarks/peers_kit/adapters.py``; what the peers import must be installed. Both sides find their batches ready. None of the
peers' code is in this repository.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import statistics
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is imported: one thread a step

import torch
from peers_kit.adapters import PEERS, Peer
from peers_kit.jobs import Contender, Job, of_arm

from bpfree.bench import environment
from bpfree.errors import UsageError, unknown_name
from bpfree.files import write_atomic

NET, BATCH = "mlp:2x1000", 128


def milliseconds(contenders: Sequence[Contender], windows: int, steps: int) -> list[list[float]]:
    """Of a step, for each window of each contender; the windows take turns, and an untimed one of each comes first."""
    taken: list[list[float]] = [[] for _ in contenders]
    for turn in range(windows + 1):
        for contender, mine in zip(contenders, taken, strict=True):
            with _silence():  # their progress bars and prints
                begin_s = time.perf_counter()
                contender.run(steps)
                took_s = time.perf_counter() - begin_s
            if turn:
                mine.append(1e3 * took_s / (steps * contender.stages))
    return taken


@contextlib.contextmanager
def _silence() -> Any:
    with Path(os.devnull).open("w") as nowhere, contextlib.redirect_stdout(nowhere), contextlib.redirect_stderr(nowhere):
        yield


def beside(theirs_ms: Sequence[float], ours_ms: Sequence[float]) -> dict[str, float]:
    """Least and median of both, and the ratios theirs / ours: of the least, and the median of those of neighbouring windows."""
    ratios = [theirs / ours for theirs, ours in zip(theirs_ms, ours_ms, strict=True)]
    return {
        "theirs_least_ms": min(theirs_ms),
        "theirs_median_ms": statistics.median(theirs_ms),
        "ours_least_ms": min(ours_ms),
        "ours_median_ms": statistics.median(ours_ms),
        "ratio_of_least": min(theirs_ms) / min(ours_ms),
        "median_ratio": statistics.median(ratios),
    }


def measured(peers: Sequence[Peer], peer_dir: Path, net: str, n: int, windows: int, steps: int) -> dict[str, Any]:
    """Every peer beside the arm that does the same.

    Raises:
        UsageError: a checkout is missing, is another, or lacks a package; before anything is timed.
    """
    load_before = os.getloadavg()[0]
    pairs: list[Contender] = []
    jobs = [Job.of(peer.net or net, n) for peer in peers]
    for peer, job in zip(peers, jobs, strict=True):
        pairs += [peer.contender(peer.checkout(peer_dir), job), of_arm(peer.arm, job, last_phase=peer.last_phase)]
    times = milliseconds(pairs, windows, steps)
    rows = [
        {
            "peer": peer.folder,
            "commit": peer.checkout(peer_dir).commit,
            "what": peer.what,
            "function": theirs.label,
            "arm": ours.label,
            "net": job.net_name,
            "batch_size": n,
        }
        | beside(theirs_ms, ours_ms)
        for peer, job, theirs, ours, theirs_ms, ours_ms in zip(
            peers, jobs, pairs[::2], pairs[1::2], times[::2], times[1::2], strict=True
        )
    ]
    return {
        "command": "python benchmarks/peers.py PEER_DIR",
        "measured_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "environment": environment.facts(torch.device("cpu")).as_json(),
        "windows": windows,
        "steps_in_a_window": steps,
        "load": [load_before, os.getloadavg()[0]],
        "rows": rows,
    }


def table(rows: Sequence[dict[str, Any]]) -> str:
    """Markdown: milliseconds of a step, and how many times ours theirs takes."""
    lines = [
        "| peer, commit | rule | its function | net, batch | ms a step: least (median) | ours | ms a step: least (median) | "
        "theirs / ours: of the least (median) |",
        "|---|---|---|---|---:|---|---:|---:|",
    ]
    for row in rows:
        cells = [
            f"{row['peer']}, {(row['commit'] or 'unknown')[:7]}",
            row["what"],
            f"`{row['function']}`",
            f"{row['net']}, {row['batch_size']}",
            f"{row['theirs_least_ms']:.2f} ({row['theirs_median_ms']:.2f})",
            f"`{row['arm']}`",
            f"{row['ours_least_ms']:.2f} ({row['ours_median_ms']:.2f})",
            f"{row['ratio_of_least']:.2f} ({row['median_ratio']:.2f})",
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def chosen(text: str | None) -> list[Peer]:
    """The peers of these folders, separated by commas; all by default.

    Raises:
        UsageError: a name that is none.
    """
    names = list(dict.fromkeys(peer.folder for peer in PEERS))
    asked = names if text is None else text.split(",")
    for name in asked:
        if name not in names:
            raise unknown_name("peer", name, names)
    return [peer for peer in PEERS if peer.folder in asked]


def main(arguments: Sequence[str] | None = None) -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("peer_dir", type=Path, metavar="PEER_DIR", help="folder with a checkout of each peer, by its own name")
    parser.add_argument("--peers", help=f"of {', '.join(dict.fromkeys(peer.folder for peer in PEERS))}; all by default")
    parser.add_argument("--net", default=NET, help=f"{NET} by default; a peer that is made for convolutions has its own net")
    parser.add_argument("--batch-size", type=int, default=BATCH)
    parser.add_argument("--windows", type=int, default=9)
    parser.add_argument("--steps", type=int, default=10, help="in a window, of each stage")
    parser.add_argument("--out", type=Path, help="write the results as JSON")
    options = parser.parse_args(arguments)
    for name in ("batch_size", "windows", "steps"):
        if getattr(options, name) < 1:
            parser.error(f"--{name.replace('_', '-')} must be at least 1, got {getattr(options, name)}")
    try:
        results = measured(
            chosen(options.peers), options.peer_dir, options.net, options.batch_size, options.windows, options.steps
        )
    except UsageError as error:
        print(f"error: {error}", file=sys.stderr)  # noqa: T201
        return 2
    print(table(results["rows"]))  # noqa: T201
    if options.out is not None:
        write_atomic(options.out, json.dumps(results, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
