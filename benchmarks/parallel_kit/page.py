"""docs/parallel.md: how to train in several processes, and what the benchmark found."""

from __future__ import annotations

import statistics
import textwrap
from collections.abc import Iterator
from typing import Any

from bpfree.algorithms import check_shares_rows, make, names, rule_class, stages_of
from bpfree.errors import UsageError
from bpfree.nets import build
from bpfree.units import format_time

from . import AT_ONCE

__all__ = ["limit_of", "page", "rows"]

HEADER = (
    "net", "contender", "least a step", "median a step", "speed-up", "of medians", "ideal", "of ideal", "machine's limit",
    "speed-up / limit",
)  # fmt: skip

SETTINGS = {"forward-forward": {"negatives": "hybrid", "inference": "head"}, "foton": {"optimiser": "rms"}}
"""Of rules that share rows by default, those with which they do not."""


def rows(results: dict[str, Any]) -> Iterator[tuple[str, ...]]:
    """One a contender: cells of :data:`HEADER`."""
    for net, found in results["nets"].items():
        seconds = found["step_s"]
        for name, windows in seconds.items():
            if name.endswith(AT_ONCE):
                continue
            serial = next(each for each in seconds if name == each or name.startswith(f"{each} "))
            least, median = min(windows), statistics.median(windows)
            cells = (net, name, format_time(least), format_time(median))
            if name == serial:
                yield (*cells, "1", "1", *["–"] * 4)
                continue
            by_least = min(seconds[serial]) / min(windows)
            by_median = statistics.median(seconds[serial]) / statistics.median(windows)
            loads, limit = found["loads"][serial], limit_of(found, serial)
            ideal = float(len(loads)) if name.endswith(" data") else sum(loads) / max(loads)
            numbers = (by_least, by_median, ideal, by_least / ideal, limit, by_least / limit)
            yield (*cells, *(f"{number:.2f}" for number in numbers))


def limit_of(found: dict[str, Any], serial: str) -> float:
    """Throughput of a serial training in each rank at once, over that of one alone."""
    seconds = found["step_s"]
    return len(found["loads"][serial]) * min(seconds[serial]) / min(seconds[serial + AT_ONCE])


def table(results: dict[str, Any]) -> str:
    """Markdown."""
    lines = [HEADER, tuple("---" if k < 2 else "---:" for k in range(len(HEADER))), *rows(results)]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def admitted() -> tuple[str, str, str]:
    """Rules that are cut into layers; rules that share rows; and why others do not, by the rules' own words."""
    net = build("mlp:3x16", (1, 8, 8), 10)
    layers, data, refused = [], [], []
    own = [name for name in names() if rule_class(name).__module__.startswith("bpfree.")]
    for name in own:
        rule = make(name)
        try:
            stages_of(rule, net, rule.phases(net)[0])
            layers.append(f"`{name}`")
        except UsageError:
            pass
        try:
            check_shares_rows(rule, net)
            data.append(f"`{name}`")
        except UsageError as error:
            refused.append(f"- {error}")
    for name, settings in SETTINGS.items():
        try:
            check_shares_rows(make(name, settings), net)
        except UsageError as error:
            refused.append(f"- {error}")
    return ", ".join(layers), ", ".join(data), "\n".join(map(_wrapped, refused))


def _wrapped(line: str) -> str:
    return textwrap.fill(line, 128, subsequent_indent="  " if line.startswith("- ") else "", break_on_hyphens=False)


def page(results: dict[str, Any]) -> str:
    """The whole page."""
    layers, data, refused = admitted()
    facts = results.get("environment", {})
    versions = facts.get("versions", {})
    software = ", ".join(f"{name} {versions[name]}" for name in ("bpfree", "torch", "python") if name in versions)
    machine = _wrapped(
        f"{facts.get('processor')}, {facts.get('cores')} hardware threads; {software}. Made by `python benchmarks/parallel.py`, "
        "this page by `--page`. Where the load before a run is not near 0, others used the machine, and the figures say little."
    )
    runs = "\n".join(
        f"- `{net}`: {found['steps']} steps of {found['batch_size']} examples in a window of layers, "
        f"{len(next(iter(found['step_s'].values())))} windows, load {found['load']:.1f} before, {found['measured_at'][:10]}"
        for net, found in results["nets"].items()
    )
    return PAGE.format(layers=layers, data=data, refused=refused, table=table(results), machine=machine, runs=runs)


PAGE = """# Training in several processes

    torchrun --nproc-per-node 2 -m bpfree train mono-forward --net mlp:4x2000 --parallel layers
    torchrun --nproc-per-node 2 -m bpfree train backprop --net mlp:4x2000 --parallel data

The first process (rank 0) is the command: it decides, validates together with the others, and writes. The others follow it in
silence. On GPUs each rank takes one board. A record says `parallel: layers, 2 ranks`.

| | `--parallel layers` | `--parallel data` |
|---|---|---|
| a rank has | some blocks, on every batch | some rows of every batch, all blocks |
| is sent in a step | the activity at each border, forward only: 4 n d bytes (Forward-Forward: twice that) | all gradients, \
to be added up: 4 bytes a parameter, in buckets of 1 MiB, while the next block is computed |
| is sent after a pass | what each rank has learned | a check that all ranks are still equal |
| the result is that of one process | bit for bit | but for the rounding of sums (1e-6 in float64) |
| what is random in a step | comes with the batch | is drawn for the whole batch and cut |
| rules | {layers} | {data} |

With `layers` every rule that says it is local is admitted, and `blockwise` by its groups; others are refused with the reason.
With `data` every rule is admitted whose step is a sum over examples. Refused by their own word:

{refused}
- any rule on a net with BatchNorm, whose statistics are those of the whole batch

A rule of another package is admitted to `data` unless its `_needs_whole_batch` says why not; what it draws for each example it
draws with `by_row=True`. If it changes its state from its own rows alone, the check after the pass says which tensor differs.

**Both at once**, `--parallel layers,data`: pipelines of equal length, each on its rows of every batch; gradients are added up
between the ranks of one place. Four ranks are two pipelines of two. In general a pipeline is as long as the largest divisor of
the number of ranks up to its root, and no longer than the net has blocks. A rule must be admitted to both.

**Validation** is shared by all ranks: batches of 500 in turns. A batch is scored as one process scores it, so the accuracy is the
same, bit for bit.

**Energy** is that of the machine's processor, once, and of the boards of all ranks together. Ranks on several machines are not
metered, and the record says so.

**Checkpoints** hold the whole net and state. A run of any number of ranks, one included, is resumed by any other number.

**A rank that dies** is noticed by the others at once, since its connections close: they end with one line and exit code 1
(torchrun then ends what is left). The same command resumes after the last pass.

**Mistakes** are one line of one rank, exit code 2: more ranks than blocks, a batch smaller than the ranks, ranks of different
versions, rulesets or data.

## Measured

{table}

*Speed-up*: least seconds a step of the serial training over those together. The filling and the draining of the pipeline are in
the windows of layers, once for so many steps. *Ideal*: all multiply-adds over those of the most loaded rank. *Machine's
limit*: throughput of two serial trainings at once over that of one alone; two hardware threads of one core have less than 2.
Backprop is torch's autograd with fused Adam; GPipe and 1F1B are those of `torch.distributed.pipelining`, 4 microbatches, its
blocks balanced likewise.

{runs}

{machine}
"""
