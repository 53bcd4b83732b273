"""Records and directories with a machine, a code and a step by hand, so that a report of them is the same everywhere."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bpfree import rulesets
from bpfree.records import Record, read_records
from tests.report.conftest import tuned_params, write_run

__all__ = ["FASTER", "MACHINE", "MIB", "REASONS", "VERSIONS", "pinned", "repinned", "written"]

MIB = 2**20
MEMORY = {
    "backprop": (3, 1, 6, 2, 5), "mono-forward": (3, 2, 7, 1, 4), "pepita": (3, 4, 5, 2, 6), "forward-forward": (3, 1, 8, 3, 2),
}  # fmt: skip
"""MiB of weights, auxiliary tensors, moments, gradients and activations of a step."""

SCORING = {"backprop": 151_552, "mono-forward": 262_144, "pepita": 393_216, "forward-forward": 1_515_520}
"""FLOPs of scoring a batch."""

MACHINE: dict[str, Any] = {
    "device": "cpu", "processor": "One Processor", "cores": 4, "memory_bytes": 8 * 2**30, "torch_threads": 2,
    "system": "One System",
    "float32_matmul_precision": "highest", "deterministic_algorithms": False,
    "versions": {"bpfree": "9.9", "bpfree code": "c0de", "torch": "2.0", "numpy": "1.5"},
}  # fmt: skip
FASTER = MACHINE | {
    "processor": "Another Processor", "cores": None, "deterministic_algorithms": True, "gpu": "One GPU",
    "gpu_memory_bytes": 3 * 2**29,
    "versions": {"bpfree": "9.8", "bpfree code": "d1ce", "torch": "2.1", "numpy": "1.6"},
}  # fmt: skip
VERSIONS = {"bpfree": "9.9", "bpfree code": "c0de", "python": "3.0", "torch": "2.0", "optuna": "1.0"}

REASONS = {
    "flops.orthogonalisation": "the rule has none",
    "memory.allocator_peak": "no GPU",
    "timeline.power_w": "nothing was sampled",
    "tuning_energy.joules": "no meter in the search",
    "tuning_energy.method": "no meter in the search",
    "tuning_energy": "nothing was tuned",
    "study": "one search",
    "time_to_target_s": "no target",
    "energy_to_target_j": "no target",
    "inference": "not measured",
}
"""What a record without a value says; the reasons of energy are added where there is none."""

NO_ENERGY = dict.fromkeys(("energy", "co2e_g", "carbon"), "no meter")


def pinned(run: Record, minute: int, **changes: Any) -> Record:
    """The record as it would be of the machine :data:`MACHINE`, begun so many minutes after noon."""
    sizes = dict(zip(("weights", "auxiliary", "optimiser", "gradients", "activations"), MEMORY[run.algorithm], strict=True))
    flops, memory = run.flops, run.memory
    assert flops is not None
    assert memory is not None
    values = {
        "environment_digest": "morning",
        "versions": VERSIONS,
        "started_at": f"2026-01-02T{12 + minute // 60:02}:{minute % 60:02}:00+00:00",
        "tier": "eager",
        "maths": "closed",
        "params": tuned_params(run.arm, run.dataset, run.net) | {"momentum": 0.9, "optimiser": "adam"},
        "flops": flops.model_copy(update={"evaluation": SCORING[run.algorithm]}),
        "memory": memory.model_copy(update={part: size * MIB for part, size in sizes.items()}),
        "reasons": REASONS
        | ({} if run.energy.joules is not None else NO_ENERGY)
        | {key: f"as {run.status}" for key in ("test_accuracy", "val_accuracy", "status") if run.status != "ok"},
        "plan": run.plan | {"command": "bpfree compare --out runs/golden"},
    }
    return Record.model_validate(run.model_dump(by_alias=True) | values | changes)


def written(path: Path, records: Sequence[Record], rules: rulesets.Ruleset, tuned: Any = None, **machines: Any) -> Path:
    """A run directory with the machines by hand."""
    write_run(path, records, rules, tuned)
    (path / "environment.json").write_text(json.dumps(machines or {"morning": MACHINE}))
    return path


def repinned(path: Path, rules: rulesets.Ruleset, start: int = 0) -> Path:
    """The records of a directory, begun every three minutes; its searches stay."""
    runs = [pinned(run, start + 3 * k) for k, run in enumerate(read_records(path / "records.jsonl"))]
    (path / "records.jsonl").unlink()
    written(path, runs, rules)
    return path
