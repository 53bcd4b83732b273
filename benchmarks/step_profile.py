"""Where the milliseconds of a training step go, by kind of operation, beside torch's own step: a Markdown table.

    python benchmarks/step_profile.py mf-cnn4
    python benchmarks/step_profile.py mlp:2x1000 --inputs 784 --arms backprop,mono-forward,forward-forward

``torch.profiler`` says how long each operation took by itself, without those that it calls. Steps of all arms take turns; of each
arm, the step whose sum is least counts. The profiler lengthens operations, small ones most, so compare within one table only.
"""

from __future__ import annotations

import argparse
import os
from collections import Counter

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is imported: one thread a step

from bench_kit.contenders import Contender, of_arm, of_torch
from bench_kit.measuring import in_whole_batches
from torch.profiler import ProfilerActivity, profile

from bpfree.data import Batch
from bpfree.errors import UsageError

__all__ = ["KINDS", "kind_of", "main", "table"]

KINDS = {
    "convolutions backward": ("convolution_backward", "convolutionbackward", "conv2d_backward"),
    "convolutions forward": ("convolution", "conv2d"),
    "products": ("mm", "linear", "matmul", "einsum", "attention"),
    "normalisation": ("norm",),
    "activation and pooling": ("pool", "relu", "threshold", "clamp", "gelu", "softmax"),
    "optimiser": ("adam", "sgd", "optimizer", "foreach"),
    "copies, fills": ("copy", "fill", "zero", "clone", "contiguous", "aten::cat", "stack"),
}
"""Kinds of operations, and what their names have in them; the first kind that fits counts. Where the gradient of a convolution's
weights is a product with patches, it stands among the products."""

OTHERS = "all else"

WARM_UP = 3
"""Times that two steps are made before any is profiled: the first ones of a dense net are recorded and compared."""


def kind_of(operation: str) -> str:
    """Of an operation, by the name that the profiler gives it."""
    name = operation.lower()
    return next((kind for kind, parts in KINDS.items() if any(part in name for part in parts)), OTHERS)


def profiled(contender: Contender, batch: Batch) -> Counter[str]:
    """Milliseconds of one step, by kind."""
    with profile(activities=[ProfilerActivity.CPU]) as seen:
        contender.step(batch)
    taken: Counter[str] = Counter()
    for each in seen.key_averages():
        taken[kind_of(each.key)] += each.self_cpu_time_total / 1e3
    return taken


def table(found: dict[str, list[Counter[str]]]) -> list[str]:
    """A column for each arm, of its least step; a line for each kind that took a tenth of a millisecond anywhere."""
    least = {label: min(steps, key=Counter.total) for label, steps in found.items()}
    lines = ["| ms | " + " | ".join(least) + " |", "|---|" + "--:|" * len(least)]
    for kind in (*KINDS, OTHERS):
        if any(of_arm[kind] >= 0.1 for of_arm in least.values()):
            lines.append(f"| {kind} | " + " | ".join(f"{of_arm[kind]:.1f}" for of_arm in least.values()) + " |")
    lines.append("| **all** | " + " | ".join(f"**{of_arm.total():.1f}**" for of_arm in least.values()) + " |")
    return lines


def main(arguments: list[str] | None = None) -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("net")
    parser.add_argument("--arms", default="backprop,mono-forward")
    parser.add_argument("--inputs", default="3x32x32", help="shape of an example")
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--steps", type=int, default=5, help="of each arm, in turns")
    options = parser.parse_args(arguments)
    data = in_whole_batches(options.inputs, options.batch_size, 6 * options.batch_size)
    try:
        contenders = [of_torch(options.net, data, options.batch_size)]
        contenders += [of_arm(arm, "eager", options.net, data, options.batch_size) for arm in options.arms.split(",")]
    except UsageError as error:
        parser.error(str(error))
    batches = {each.label: list(each.data.batches("train", options.batch_size))[:2] for each in contenders}
    found: dict[str, list[Counter[str]]] = {each.label: [] for each in contenders}
    for each in contenders:
        for batch in WARM_UP * batches[each.label]:
            each.step(batch)
    for _ in range(options.steps):
        for each in contenders:
            first, second = batches[each.label]
            each.step(first)  # its weights are in the caches again
            found[each.label].append(profiled(each, second))
    print(f"{options.net}, batch {options.batch_size}, {options.steps} steps in turns; load {os.getloadavg()[0]:.1f}\n")  # noqa: T201
    print("\n".join(table(found)))  # noqa: T201
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
