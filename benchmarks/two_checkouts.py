"""Training steps of two checkouts in turns, beside torch's own: what a change to the code did.

    python benchmarks/two_checkouts.py OTHER cnn3 --arms backprop,mono-forward       # OTHER: a checkout of the commit before
    python benchmarks/two_checkouts.py OTHER mlp:2x1000 --inputs 784 --steps 20      # twenty steps in each window

Each checkout is a process of its own with one thread, which waits while the other makes its steps; synthetic examples, by default
images of 3 x 32 x 32. Seconds of a step are wall time: least and median of the windows, the ratio of the least ones to torch's
own step of the same checkout, and to the same step of the checkout before. A checkout from before ``benchmarks/bench_kit`` makes
the steps of its rules alone.
"""

from __future__ import annotations

import argparse
import itertools
import math
import os
import statistics
import subprocess
import sys
from pathlib import Path

__all__ = ["main"]

HERE = Path(__file__).parents[1]
STEPS = """
import sys, time
from bpfree import data
net, size, inputs, n_steps = sys.argv[1], int(sys.argv[2]), sys.argv[3], int(sys.argv[4])
loaded = data.load(f"synthetic:n={12 * size}:inputs={inputs}").without_test()
try:
    from bench_kit.contenders import of_arm, of_torch
except ModuleNotFoundError:  # a checkout from before there was one
    from bpfree.bench.arm import Arm
    from bpfree.nets import build
    from bpfree.train import initialise
    class Older:
        def __init__(self, arm):
            self.data, self.rule, self.net = loaded, Arm.parse(arm).build({}), build(net, loaded.in_shape, loaded.n_classes)
            self.state = initialise(self.rule, self.net, 0, loaded.device)
            self.net.train()
            self.phase = self.rule.phases(self.net)[0]
        def step(self, batch):
            self.rule.step(self.net, self.state, batch, self.phase)
    steps = [None, *map(Older, sys.argv[5:])]
else:
    steps = [of_torch(net, loaded, size), *(of_arm(arm, "eager", net, loaded, size) for arm in sys.argv[5:])]
batches = [each and [b for b in each.data.batches("train", size) if len(b.y) == size] for each in steps]
for each, ready in zip(steps, batches):
    for k in range(6 if each else 0):  # the first steps of a dense net are recorded and compared
        each.step(ready[k % len(ready)])
print("ready", flush=True)
for line in sys.stdin:
    k, turn = map(int, line.split())
    if steps[k] is None:
        print("nan", flush=True)
        continue
    ready = [batches[k][(turn * n_steps + i) % len(batches[k])] for i in range(n_steps)]
    begin_s = time.perf_counter()
    for batch in ready:
        steps[k].step(batch)
    print((time.perf_counter() - begin_s) / n_steps, flush=True)
"""
"""What each process runs."""


class Checkout:
    """A process that makes steps when it is told to."""

    def __init__(self, place: Path, settings: list[str]) -> None:
        paths = os.pathsep.join(str(place / part) for part in ("src", "benchmarks"))
        self._process = subprocess.Popen(
            [sys.executable, "-c", STEPS, *settings],
            cwd=place,  # Python looks there first: not into the folder of this script, which has a bench_kit
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
        """Seconds of each step of a window of contender ``k``; 0 is torch's own."""
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
    parser.add_argument("--inputs", default="3x32x32", help="shape of an example")
    parser.add_argument("--steps", type=int, default=1, help="in each window")
    parser.add_argument("--windows", type=int, default=7)
    options = parser.parse_args(arguments)
    if not (options.other / "src" / "bpfree").is_dir():
        parser.error(f"OTHER must be a checkout of bpfree, with src/bpfree in it, got {options.other}")
    arms = options.arms.split(",")
    places = {"before": options.other.resolve(), "after": HERE}
    settings = [options.net, str(options.batch_size), options.inputs, str(options.steps), *arms]
    checkouts = {name: Checkout(place, settings) for name, place in places.items()}
    for each in checkouts.values():
        each.answer()
    seconds: dict[tuple[str, int], list[float]] = {}
    for turn in range(options.windows + 1):
        for k in range(len(arms) + 1):
            for name in list(places)[:: -1 if turn % 2 else 1]:  # neither always follows the other
                taken = checkouts[name].step(k, turn)
                if turn:  # the first is a warm-up
                    seconds.setdefault((name, k), []).append(taken)
    for each in checkouts.values():
        each.close()
    print(f"{options.net}, batch {options.batch_size}, {options.windows} windows; load {os.getloadavg()[0]:.1f}")  # noqa: T201
    for k, name in itertools.product(range(len(arms) + 1), places):
        mine = seconds[name, k]
        arm = ["torch", *arms][k]
        least_ms, median_ms, to_torch = 1e3 * min(mine), 1e3 * statistics.median(mine), min(mine) / min(seconds[name, 0])
        words = [f"{arm:30} {name:7} least {least_ms:.3f} ms, median {median_ms:.3f} ms", f"{to_torch:.2f} of torch's"]
        if name == "after":
            before = seconds["before", k]
            words.append(f"{min(mine) / min(before):.2f} ({statistics.median(mine) / statistics.median(before):.2f}) of before")
        if not math.isnan(min(mine)):
            print(", ".join(word for word in words if "nan" not in word))  # noqa: T201
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
