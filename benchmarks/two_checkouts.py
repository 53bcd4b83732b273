"""Training steps of two checkouts, one step of each in turns, beside torch's own: what a change to the code did.

    python benchmarks/two_checkouts.py OTHER cnn3 --arms backprop,mono-forward       # OTHER: a checkout of the commit before

Each checkout is a process of its own with one thread, which waits while the other makes its step; synthetic images, 3 x 32 x 32.
Seconds are wall time: least and median of the windows, and the ratio of the least ones to torch's own step of the same checkout.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
from pathlib import Path

__all__ = ["main"]

HERE = Path(__file__).parents[1]
STEPS = """
import sys, time
from bench_kit.contenders import of_arm, of_torch
from bpfree import data
net, size = sys.argv[1], int(sys.argv[2])
loaded = data.load(f"synthetic:n={6 * size}:inputs=3x32x32").without_test()
steps = [of_torch(net, loaded, size), *(of_arm(arm, "eager", net, loaded, size) for arm in sys.argv[3:])]
batches = [[b for b in each.data.batches("train", size) if len(b.y) == size] for each in steps]
print("ready", flush=True)
for line in sys.stdin:
    k, turn = map(int, line.split())
    batch = batches[k][turn % len(batches[k])]
    begin_s = time.perf_counter()
    steps[k].step(batch)
    print(time.perf_counter() - begin_s, flush=True)
"""
"""What each process runs."""


class Checkout:
    """A process that makes steps when it is told to."""

    def __init__(self, place: Path, net: str, size: int, arms: list[str]) -> None:
        paths = os.pathsep.join(str(place / part) for part in ("src", "benchmarks"))
        self._process = subprocess.Popen(
            [sys.executable, "-c", STEPS, net, str(size), *arms],
            env={**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def answer(self) -> str:
        """The next line that it writes."""
        assert self._process.stdout is not None  # it is a pipe
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit("a checkout stopped; its error is above")
        return line

    def step(self, k: int, turn: int) -> float:
        """Seconds of a step of contender ``k``; 0 is torch's own."""
        assert self._process.stdin is not None  # it is a pipe
        self._process.stdin.write(f"{k} {turn}\n")
        self._process.stdin.flush()
        return float(self.answer())

    def close(self) -> None:
        """End it."""
        assert self._process.stdin is not None  # it is a pipe
        self._process.stdin.close()
        self._process.wait()


def main(arguments: list[str] | None = None) -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("other", type=Path, help="the checkout from before")
    parser.add_argument("net")
    parser.add_argument("--arms", default="backprop,mono-forward")
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--windows", type=int, default=7)
    options = parser.parse_args(arguments)
    if not (options.other / "src" / "bpfree").is_dir():
        parser.error(f"OTHER must be a checkout of bpfree, with src/bpfree in it, got {options.other}")
    arms = options.arms.split(",")
    places = {"before": options.other.resolve(), "after": HERE}
    checkouts = {name: Checkout(place, options.net, options.batch_size, arms) for name, place in places.items()}
    for each in checkouts.values():
        each.answer()
    seconds: dict[tuple[str, int], list[float]] = {}
    for turn in range(options.windows + 1):
        for k in range(len(arms) + 1):
            for name, each in checkouts.items():
                taken = each.step(k, turn)
                if turn:  # the first is a warm-up
                    seconds.setdefault((name, k), []).append(taken)
    for each in checkouts.values():
        each.close()
    print(f"{options.net}, batch {options.batch_size}, {options.windows} windows; load {os.getloadavg()[0]:.1f}")  # noqa: T201
    for (name, k), mine in seconds.items():
        ratio = min(mine) / min(seconds[name, 0])
        arm = ["torch", *arms][k]
        print(f"{arm:24} {name:7} {min(mine):.3f} s {statistics.median(mine):.3f} s {ratio:.2f} of torch's")  # noqa: T201
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
