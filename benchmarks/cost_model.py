"""What layer-parallel training would take on many GPUs: bytes of an activation against seconds of a block.

    python benchmarks/cost_model.py              # times blocks on this machine (a minute), predicts, writes its JSON
    python benchmarks/cost_model.py --page       # the tables of docs/cost-model.md from it

Multiply-adds of every stage are counted on tensors without content, and shared among ranks as `bpfree train --parallel layers`
shares them. Seconds on a GPU are multiply-adds over a given speed: predictions, never measured here.
"""

from __future__ import annotations

import argparse
import functools
import json
import math
import os
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is imported: one thread a step

import torch
from parallel_kit.check import table

from bpfree.algorithms import stages_of
from bpfree.bench import Arm, environment
from bpfree.data import Batch
from bpfree.files import write_atomic
from bpfree.meter import IN_PLACE_FORMULAS, count_flops
from bpfree.nets import Chain, build
from bpfree.parallel.shares import shares_of
from bpfree.planning.fakes import fake_batch, fake_mode, fake_state, fake_twins
from bpfree.train import initialise
from bpfree.units import format_bytes, format_count, format_time

RESULTS = Path(__file__).parent / "results" / "cost-model.json"
PAGE = Path(__file__).parent.parent / "docs" / "cost-model.md"
CHECKS = Path(__file__).parent / "results" / "parallel.json"
CHECKED = """**Checked on this machine** (`python benchmarks/parallel.py --check`, Mono-Forward): the ranks
are processes that share two hardware threads of one core, so that the formula has one term more, Σ tᵣ over the *machine's limit*:
the throughput of so many trainings at once over that of one alone, measured in turns with the rest. Seconds of a step are those
of one process, shared as the multiply-adds are."""
BEGIN, END = "<!-- made by python benchmarks/cost_model.py --page -->", "<!-- end of cost model -->"
RULE = "mono-forward"
RANKS = (8, 64, 512)
MICRO_BATCHES = 4
"""Of pipelined backprop, for each rank."""


@dataclass(frozen=True)
class Case:
    """A net, the shape of an example, classes, examples in a batch, and steps in a pass."""

    net: str
    shape: tuple[int, ...]
    classes: int
    batch: int
    steps: int


@dataclass(frozen=True)
class Machine:
    """What is assumed of a device and of the wire between neighbours: FLOP/s that a step reaches, bytes/s, seconds."""

    flops_per_second: float
    bytes_per_second: float
    latency_s: float


BLOCKS = (
    Case("mlp:3x1000", (1000,), 10, 128, 1),
    Case("mlp:3x4096", (4096,), 10, 128, 1),
    Case("resnet8", (3, 64, 64), 1000, 8, 1),
    Case("vit:patch=8:depth=3:width=384:heads=6", (3, 64, 64), 1000, 32, 1),
)
"""The second block of each is timed here."""

CASES = (
    Case("mlp:512x512", (3, 32, 32), 10, 128, 390),
    Case("vit:patch=16:depth=64:width=384:heads=6", (3, 224, 224), 1000, 128, 9_618),
    Case("resnet8", (3, 224, 224), 1000, 128, 9_618),
)
"""What is predicted: the steps of a pass over CIFAR-10 and ImageNet."""


@functools.cache
def built(case: Case) -> Chain:
    """The net of a case."""
    return build(case.net, case.shape, case.classes)


def stage_macs(case: Case) -> list[int]:
    """Multiply-adds of a step of each stage, in order; nothing is computed."""
    mode, rule, net = fake_mode(), Arm.parse(RULE).build({}), built(case)
    twin, state = fake_twins(mode, net, fake_state(mode, rule, net))
    (phase,) = rule.phases(net)
    stages, batch = stages_of(rule, twin, phase), fake_batch(mode, case.batch, case.shape, torch.float32)
    box: list[Any] = [None]

    def one(index: int) -> tuple[None, torch.Tensor]:
        if index == 0:
            box[0] = stages.enter(twin, state, batch)
        box[0], _ = stages.run(index, twin, state, batch, box[0])
        return None, torch.empty(0)  # a count that saw no operation at all is refused

    with mode, torch.no_grad():
        flops = [count_flops(lambda k=k: one(k), formulas=IN_PLACE_FORMULAS) for k in range(len(stages.blocks))]
    return [each // 2 for each in flops]


def activation_bytes(case: Case) -> list[int]:
    """Bytes of what each block hands on, float32."""
    return [4 * case.batch * math.prod(block.out_shape) for block in built(case)]


def predict(macs: Sequence[int], sent: Sequence[int], ranks: int, steps: int, machine: Machine) -> dict[str, float]:
    """The step of the most loaded rank or the slowest hand-over, and the speed-up over one device.

    Args:
        macs: of a step of each stage.
        sent: bytes that each stage hands on.
        steps: of a pass, between which the pipeline stays full.
    """
    shares = shares_of(list(macs), ranks)
    compute_s = [2 * sum(macs[k] for k in share) / machine.flops_per_second for share in shares]
    wire_s = [sent[share[-1]] / machine.bytes_per_second + machine.latency_s for share in shares[:-1]]
    step_s = max([*compute_s, *wire_s])
    full = steps / (steps + ranks - 1)
    micro = MICRO_BATCHES * ranks
    return {
        "step_s": step_s,
        "compute_s": max(compute_s),
        "wire_s": max(wire_s, default=0.0),
        "balance": sum(compute_s) / ranks / max(compute_s),
        "speed_up": full * sum(compute_s) / step_s,
        "backprop_speed_up": micro / (micro + ranks - 1) * sum(compute_s) / max([*compute_s, *(2 * each for each in wire_s)]),
    }


def timed_block(case: Case, repeats: int = 5) -> dict[str, Any]:
    """Seconds of the second stage's step on this machine (the least), beside its multiply-adds and the bytes that it hands on."""
    rule, net = Arm.parse(RULE).build({}), built(case)
    state = initialise(rule, net, 0)
    (phase,) = rule.phases(net)
    stages = stages_of(rule, net, phase)
    batch = Batch(torch.rand(case.batch, *case.shape), torch.zeros(case.batch, dtype=torch.int64), torch.tensor(0))
    seconds = []
    with torch.no_grad():
        for _ in range(1 + repeats):
            handed, _ = stages.run(0, net, state, batch, stages.enter(net, state, batch))
            begin = time.perf_counter()
            stages.run(1, net, state, batch, handed)
            seconds.append(time.perf_counter() - begin)
    return {"case": asdict(case), "seconds": min(seconds[1:]), "macs": stage_macs(case)[1], "bytes": activation_bytes(case)[1]}


def predicted(case: Case, machine: Machine) -> dict[str, Any]:
    """Every number of ranks; those beyond the number of blocks are None."""
    macs, sent = stage_macs(case), activation_bytes(case)
    ranks = {str(n): predict(macs, sent, n, case.steps, machine) if n <= len(macs) else None for n in RANKS}
    return {"case": asdict(case), "blocks": len(macs), "macs": sum(macs), "most_macs": max(macs), "ranks": ranks}


def part(found: dict[str, Any]) -> str:
    """The tables of the page."""
    machine = Machine(**found["machine"])
    at = f"{format_count(machine.flops_per_second)}FLOP/s"
    lines = [
        "",
        f"Measured {found['measured_at'][:10]} on {found['environment']['processor']}, one thread, torch "
        f"{found['environment']['versions']['torch']}, load {found['load']:.1f}; the columns of {at} are predictions.",
        "",
        "| second block of | batch | hands on | multiply-adds | seconds here | FLOP/s here | to hide it here "
        f"| at {at} | to hide it |",
        "|---|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for row in found["blocks"]:
        case, there_s = row["case"], 2 * row["macs"] / machine.flops_per_second
        lines.append(
            f"| `{case['net']}` | {case['batch']} | {format_bytes(row['bytes'])} | {format_count(row['macs'])} | "
            f"{format_time(row['seconds'])} | {format_count(2 * row['macs'] / row['seconds'])} | "
            f"{format_bytes(round(row['bytes'] / row['seconds']))}/s | {format_time(there_s)} | "
            f"{format_bytes(round(row['bytes'] / there_s))}/s |"
        )
    lines += [
        "",
        f"Predicted for devices of {at} joined by {format_bytes(round(machine.bytes_per_second))}/s and "
        f"{format_time(machine.latency_s)}; nothing of this table was measured.",
        "",
        "| net | batch | GPUs | a block's step | a hand-over | balance | speed-up | pipelined backprop |",
        "|---|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for row in found["predictions"]:
        for ranks, values in row["ranks"].items():
            first = f"| `{row['case']['net']}` | {row['case']['batch']} | {ranks} |"
            if values is None:
                lines.append(f"{first} refused: {row['blocks']} blocks | | | | |")
                continue
            lines.append(
                f"{first} {format_time(values['compute_s'])} | {format_time(values['wire_s'])} | {values['balance']:.2f} | "
                f"{values['speed_up']:.1f} | {values['backprop_speed_up']:.1f} |"
            )
    checked = json.loads(CHECKS.read_text(encoding="utf-8")) if CHECKS.exists() else {}
    if rows := table(checked):
        lines += ["", CHECKED, "", *rows]
    return "\n".join([*lines, ""])


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and predict, or write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--flops-per-second", type=float, default=6e13, help="that a step reaches on a device (6e13)")
    parser.add_argument("--bytes-per-second", type=float, default=2.5e10, help="between neighbours (2.5e10: 200 Gbit/s)")
    parser.add_argument("--latency-s", type=float, default=2e-5, help="of a hand-over (2e-5)")
    parser.add_argument("--page", action="store_true", help="measure nothing: write the tables of docs/cost-model.md from --out")
    options = parser.parse_args(arguments)
    if options.page:
        before, after = PAGE.read_text(encoding="utf-8").split(BEGIN)[0], PAGE.read_text(encoding="utf-8").split(END)[1]
        write_atomic(PAGE, f"{before}{BEGIN}\n{part(json.loads(options.out.read_text(encoding='utf-8')))}{END}{after}")
        return 0
    machine = Machine(options.flops_per_second, options.bytes_per_second, options.latency_s)
    if machine.flops_per_second <= 0 or machine.bytes_per_second <= 0 or machine.latency_s < 0:
        parser.error("--flops-per-second and --bytes-per-second must be above 0, and --latency-s at least 0")
    torch.set_num_threads(1)
    found = {
        "measured_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "environment": environment.facts(torch.device("cpu")).as_json(),
        "load": os.getloadavg()[0],
        "machine": asdict(machine),
        "blocks": [timed_block(case) for case in BLOCKS],
        "predictions": [predicted(case, machine) for case in CASES],
    }
    write_atomic(options.out, json.dumps(found, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
