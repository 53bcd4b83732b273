"""Reference parts of the report: what was not measured and why, the machines, the tuned values."""

from __future__ import annotations

import math
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bpfree.records import Record
from bpfree.report.identity_flags import lacking
from bpfree.report.material import Material
from bpfree.report.model import ArmRow, Table
from bpfree.report.quantities import COMPILE_TIME, QUANTITIES
from bpfree.rulesets.schema import whole_name
from bpfree.units import MISSING, format_bytes, format_energy, format_percent, format_time

__all__ = [
    "Machine",
    "NotMeasured",
    "TunedArm",
    "TunedValue",
    "commands",
    "environments",
    "missing",
    "search_name",
    "tuned_values",
]

_NAMES = {
    each.path: each.name for each in QUANTITIES if each.statistic in ("mean", "largest") and not (each.less or each.over)
} | {
    "energy": "energy",
    "carbon": "carbon factor",
    "carbon.g_per_kwh": "carbon factor",
    "tuning_energy": "energy of the search",
    "tuning_energy.joules": "energy of the search",
    "inference": "cost of inference",
    "inference.joules_per_1000": "energy of inference",
    "inference.by_batch.1.joules_per_1000": "energy of inference",
    "time_to_target_s": "time to a target accuracy",
    "energy_to_target_j": "energy to a target accuracy",
    "status": "the run itself",
    "val_accuracy": "validation accuracy",
    "flops.orthogonalisation": "FLOPs of orthogonalisation",
    "data_digest": "digest of the data",
    "code_digest": "digest of the code",
    "n_test": "number of test examples",
    "correct": "which test examples were right",
    "memory.allocator_peak": "peak of the GPU's allocator",
    "study": "number of the study",
}
"""Fields of a record in words: the quantities of the report, and fields that it shows elsewhere or not at all."""

_TO_TARGET = ("time_to_target_s", "energy_to_target_j")

_ATTRIBUTES = frozenset({"method", "scope", "source", "year"})
"""Fields that say how a quantity was measured; where it was not, the reason of the quantity says enough."""


@dataclass(frozen=True)
class NotMeasured:
    """Quantities that were not measured for one reason; ``arms`` is empty where it holds for all."""

    quantities: str
    reason: str
    arms: str = ""


@dataclass(frozen=True)
class Machine:
    """One machine and its software, as names and values."""

    heading: str
    facts: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class TunedValue:
    """One tuned hyper-parameter."""

    name: str
    value: str
    space: str
    at_edge: bool


@dataclass(frozen=True)
class TunedArm:
    """Values that the search of one arm on one task chose, and what the search cost."""

    task: str
    label: str
    values: tuple[TunedValue, ...]
    fixed: str
    accuracy: str
    trials: str
    time: str
    energy: str


def missing(tables: Sequence[Table]) -> list[NotMeasured]:
    """Every reason in the records once, with the quantities and the arms it holds for."""
    by_reason: dict[tuple[str, frozenset[str]], list[str]] = {}
    arms: dict[tuple[str, str], set[str]] = {}
    for table in tables:
        for row in table.rows:
            for run in row.runs:
                for key, reason in (lacking(run) | run.reasons).items():
                    if key == COMPILE_TIME.path or (table.targets is not None and key in _TO_TARGET):
                        continue  # the tier says it; the report counts the others itself, from the history
                    arms.setdefault((reason, key), set()).add(row.label)
    for (reason, key), labels in arms.items():
        if key.rpartition(".")[2] not in _ATTRIBUTES:
            by_reason.setdefault((reason, frozenset(labels)), []).append(_quantity(key))
    every = {row.label for table in tables for row in table.rows}
    return [
        NotMeasured(", ".join(dict.fromkeys(names)), reason, "" if labels == every else ", ".join(sorted(labels)))
        for (reason, labels), names in by_reason.items()
    ]


def _quantity(key: str) -> str:
    return _NAMES.get(key, key.replace("_", " ").replace(".", ": "))


def environments(material: Material) -> list[Machine]:
    """The machines on which the records were measured, with the versions that the records themselves name."""
    digests = list(dict.fromkeys(record.environment_digest for record in material.records))
    made = []
    for number, digest in enumerate(digests, start=1):
        runs = [record for record in material.records if record.environment_digest == digest]
        described = {"environment": f"not described (digest {digest[:16]})", "versions": runs[0].versions}
        known = dict(material.environments.get(digest, described))
        heading = f"{'This machine' if len(digests) == 1 else f'Machine {number}'}: {len(runs)} runs"
        executed = "; ".join(dict.fromkeys(_executed(run, runs) for run in runs))
        made.append(Machine(heading, tuple(_flat(known | {"execution": executed}))))
    return made


def _executed(run: Record, runs: Sequence[Record]) -> str:
    together = "" if run.parallel is None else f" ({run.parallel})"
    return f"{run.tier}{_compiling(runs, run.tier)}{together}, {run.maths} gradients"


def _compiling(runs: Sequence[Record], tier: str) -> str:
    """How long the steps of a tier took to compile, where they were compiled."""
    times_s = [run.compile_time_s for run in runs if run.tier == tier and run.compile_time_s is not None]
    return f" (compiled before the window, in up to {format_time(max(times_s))} for a run)" if times_s else ""


def _flat(facts: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for key, value in facts.items():
        name = f"{prefix}{str(key).replace('_', ' ')}"
        if isinstance(value, Mapping) and all(isinstance(entry, str) for entry in value.values()):
            yield name, ", ".join(f"{part} {entry}" for part, entry in value.items())
        elif isinstance(value, Mapping):
            yield from _flat(value, f"{name}: ")
        else:
            yield ((name.removesuffix(" bytes"), format_bytes(value)) if str(key).endswith("_bytes") else (name, _fact(value)))


def _fact(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if value is None or value == []:
        return "none"
    return ", ".join(map(_fact, value)) if isinstance(value, list) else str(value)


def tuned_values(tables: Sequence[Table], material: Material) -> list[TunedArm]:
    """One entry for each search of each arm of each table: the values it chose if they are known, else those its runs used."""
    return [
        _tuned(table, row.label + search_name(row, search), runs[0], material)
        for table in tables
        for row in table.rows
        for search, runs in row.searches.items()
    ]


def search_name(row: ArmRow, search: tuple[int | None, int]) -> str:
    """``", study 2, split 1"``; only what distinguishes the searches of the arm."""
    names = ("study", "split")
    return "".join(
        f", {name} {value}"
        for k, (name, value) in enumerate(zip(names, search, strict=True))
        if len({s[k] for s in row.searches}) > 1
    )


def _tuned(table: Table, label: str, run: Record, material: Material) -> TunedArm:
    entry, cost = material.tuned_entry(run), run.tuning_energy
    if entry is None:
        values = tuple(TunedValue(name, _number(value), "", False) for name, value in run.params.items())
        trials = MISSING if cost is None else f"{cost.trials} trials, {cost.passes} passes"
        time_s, joules = (cost.time_s, cost.joules) if cost else (None, None)
        return TunedArm(table.task_text, label, values, "", MISSING, trials, format_time(time_s), format_energy(joules))
    best, space, edges = entry.get("best") or {}, entry.get("space") or {}, entry.get("at_edge") or []
    fixed = [f"{name} = {_number(value)}" for name, value in run.params.items() if name not in best]
    lost, at_once, compile_s = entry.get("diverged_trials"), entry.get("trials_at_once"), entry.get("compile_time_s")
    return TunedArm(
        table.task_text,
        label,
        tuple(TunedValue(str(name), _number(value), str(space.get(name, "")), name in edges) for name, value in best.items()),
        ", ".join(fixed),
        format_percent(entry.get("best_val_accuracy")),
        f"{entry.get('trials', MISSING)} × {entry.get('passes_per_trial') or MISSING}" + (f", {lost} diverged" if lost else ""),
        format_time(entry.get("time_s"))
        + (f" in all, {at_once} trials at once" if at_once and at_once > 1 else "")
        + (f", and {format_time(compile_s)} to compile" if compile_s else ""),
        # The record knows whether they are to be left out, as estimates are; tuned.json does not say how they were measured.
        MISSING if cost is not None and cost.joules is None else format_energy(entry.get("joules")),
    )


def _number(value: Any) -> str:
    if isinstance(value, float) and math.isfinite(value):
        return f"{value:.3g}"
    return str(value)


def commands(material: Material, tables: Sequence[Table]) -> list[str]:
    """The commands that made the runs, and the one that makes this report again, with the targets that were asked for."""
    given = [str(record.plan["command"]) for record in material.records if record.plan.get("command")]
    # A full path would carry the name of its user into a page that is passed on.
    paths = [path.name if path.is_absolute() else str(path) for path in material.directories]
    again = "bpfree report " + " ".join(map(shlex.quote, paths))
    asked = {whole_name(table.dataset): table.targets.accuracy for table in tables if table.targets and table.targets.asked}
    if len(asked) == 1 and len({table.dataset for table in tables}) == 1:
        again += f" --target {next(iter(asked.values()))}"
    elif asked:
        again += f" --target {','.join(f'{dataset}={accuracy}' for dataset, accuracy in asked.items())}"
    return [*dict.fromkeys(given), again]
