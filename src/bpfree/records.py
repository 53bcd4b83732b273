"""One measured run is one line of ``records.jsonl``, and stands alone.

The schema is versioned and published as JSON Schema beside this file (``records.schema.json``).
A quantity that was not measured is ``null`` with its entry in ``reasons``, never 0: the model refuses anything else.
Units are in the names (``_s``, ``_bytes``, ``_g``); ``joules`` are joules; accuracies are fractions from 0 to 1.
A target that was never reached is ``"Infinity"`` (a string, since JSON has no infinite number).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, WithJsonSchema, model_validator

from bpfree.errors import RunDirectoryError
from bpfree.files import append_line, reading

__all__ = [
    "SCHEMA_VERSION",
    "ByClass",
    "Carbon",
    "Energy",
    "Flops",
    "HistoryEntry",
    "Inference",
    "InferenceAt",
    "Memory",
    "PhaseEnd",
    "Record",
    "TuningCost",
    "append_record",
    "finished",
    "json_schema",
    "read_records",
]

SCHEMA_VERSION = 2
"""2 adds the three identities (rules, data, code), studies, why phases ended, what the loop counted, load, and correctness per
example. Lines of version 1 are read; what they do not have is null."""

SINCE_2 = frozenset({
    "study", "data_digest", "code_digest", "steps", "examples_seen", "cpu_s", "other_load", "n_test", "correct",
    "evaluation_peak_bytes", "flops.run_total", "flops.mean_step", "memory.allocator_peak",
})  # fmt: skip
"""Paths that a record of version 1 need not give a reason for."""

ADDED = frozenset({"by_class"})
"""Fields that were added within version 2: a line without them need not say why."""

CONTROL_SEEDS = 500_000_000
"""Added to the seeds of the control arm, so that it shares no draw with the arm that it repeats."""


Status = Literal["ok", "diverged", "failed", "interrupted"]

Reached = Annotated[
    float,
    Field(ge=0, allow_inf_nan=True),
    WithJsonSchema({"anyOf": [{"type": "number", "minimum": 0}, {"const": "Infinity"}]}),
]
"""What it took to reach a target; infinite where it was never reached (the one quantity that may be)."""


class _RecordPart(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=True, ser_json_inf_nan="strings")


class Energy(_RecordPart):
    """Energy of one window.

    ``joules`` is gross, ``net_joules`` gross minus idle power x time. ``resolved`` is false when the window is
    shorter than 20 periods of the counter. ``sources`` holds the joules of each source by name.
    """

    joules: float | None
    net_joules: float | None
    method: str | None
    scope: str | None
    measured: bool
    resolved: bool
    sources: dict[str, float | None] = Field(default_factory=dict)


class Carbon(_RecordPart):
    """The factor by which joules became grams of CO2 equivalent."""

    g_per_kwh: float | None
    pue: float
    source: str | None
    year: int | None


class TuningCost(_RecordPart):
    """What the search for this arm's hyper-parameters cost, shared by all seeds of the arm."""

    joules: float | None
    time_s: float | None
    trials: int
    passes: int
    method: str | None


class InferenceAt(_RecordPart):
    """Cost of using the trained model at one batch size: seconds of ``n_calls`` single calls, and examples a second."""

    latency_p50_s: float
    latency_p95_s: float | None
    images_per_s: float
    joules_per_1000: float | None
    n_calls: int


class Inference(_RecordPart):
    """Cost of using the trained model, at ``batch_size`` examples a call; ``latency_s`` is the median.

    ``by_batch`` has the same at several sizes, by size; records of earlier versions have none.
    """

    batch_size: int | None
    latency_s: float | None
    joules_per_1000: float | None
    by_batch: dict[str, InferenceAt] = Field(default_factory=dict)


class Flops(_RecordPart):
    """Floating-point operations (2 per multiply-add) of a whole training step, and of scoring one batch.

    ``train_step`` is the mean over phases, less orthogonalisation and what closes a pass. ``run_total`` is all of a run: phases
    by their passes, orthogonalisation by its share of steps, the solves at the ends of passes, features of the training split
    that are computed once for a phase; validation is not in it.
    ``mean_step`` is that over the steps of the run.
    """

    train_step: int | None
    evaluation: int | None
    orthogonalisation: int | None
    batch_size: int
    method: str | None
    run_total: int | None = None
    mean_step: int | None = None


class Memory(_RecordPart):
    """Bytes by use; ``activations`` is the live peak of a step beyond everything that persists.

    ``feature_cache``: what a rule computes once for all examples and keeps (Cascaded-Forward, on request).
    ``allocator_peak``: the most that torch's allocator of a GPU had handed out over the whole run, validation included.
    """

    weights: int | None
    auxiliary: int | None
    gradients: int | None
    optimiser: int | None
    activations: int | None
    feature_cache: int = 0
    method: str | None
    allocator_peak: int | None = None


class Health(_RecordPart):
    """Signs of a net that has stopped to learn, of the final state (``bpfree.train.health``): shares and accuracies by block.

    ``tied_scores`` is one share. All are empty where the run did not end well, and in records of earlier versions.
    """

    dead_units: list[float] = Field(default_factory=list)
    tied_scores: list[float] = Field(default_factory=list)
    block_accuracy: list[float] = Field(default_factory=list)


class HistoryEntry(_RecordPart):
    """One pass: clock and joules run from the start of the window, validation included (``eval_time_s`` of it).

    ``train_loss`` and ``val_accuracy`` are null where the loss was not finite; ``improved``: the best pass of its phase so far.
    ``flops``: of training from the start to the end of this pass, as ``flops.run_total`` counts them.
    """

    passes: int
    phase: int
    train_loss: float | None
    val_accuracy: float | None
    val_balanced_accuracy: float | None = None
    val_loss: float | None = None
    improved: bool = False
    time_s: float
    eval_time_s: float | None = None
    joules: float | None
    flops: int | None = None

    def watched(self, metric: str) -> float | None:
        """What a stop rule of this metric has watched (``"validation-loss"``)."""
        by_metric = {"validation-loss": self.val_loss, "balanced-accuracy": self.val_balanced_accuracy}
        return by_metric.get(metric, self.val_accuracy)


class PhaseEnd(_RecordPart):
    """Why a phase ended after how many passes of its own: ``itself`` where the rule had no more to do, ``hours`` by the clock."""

    phase: int
    reason: Literal["patience", "cap", "hours", "itself", "diverged"]
    passes: int


class ByClass(_RecordPart):
    """The test split by class: ``n`` examples and ``recall`` (null where there are none) of each, in the order of the labels.

    ``balanced_accuracy`` is the mean of the recalls, ``majority_share`` what always naming the most frequent class would score.
    """

    n: list[int]
    recall: list[float | None]
    balanced_accuracy: float
    majority_share: float


class Record(_RecordPart):
    """One measured run. Keys are fixed by the schema version; host and user names never enter.

    Identity: ``ruleset_digest`` (from schema 2 on with search spaces and splits), ``data_digest`` (stored values, indices,
    normalisation) and ``code_digest`` (bpfree's code, torch, optuna). ``split`` is the part of ``data_digest`` without the
    normalisation.

    ``study``: number of the study whose best trial this run is; null where one search served all seeds. ``seed``: with which it
    was trained. ``control``: a repetition of the baseline with other draws. ``untrained_control``: the rule is the control whose
    hidden blocks stay as they were drawn. ``unequal_search``: hyper-parameters that the arm fixes although the ruleset searches
    them. ``cpu_s``: processor seconds of this process within ``time_s``. ``other_load``: share of other processes in the busy
    processor time. ``correct``: base64 of the bits (``numpy.packbits``) that say which of
    the ``n_test`` test examples were classified rightly. ``peak_memory_bytes``: of a training step, on every device;
    ``evaluation_peak_bytes``: of scoring.
    """

    model_config = ConfigDict(
        extra="forbid", frozen=True, populate_by_name=True, serialize_by_alias=True, ser_json_inf_nan="strings"
    )

    schema_version: int = Field(default=SCHEMA_VERSION, alias="schema")
    arm: str
    algorithm: str
    variant: str
    params: dict[str, bool | int | float | str | None]
    dataset: str
    split: str
    data_digest: str | None = None
    split_seed: int = 0
    net: str
    n_params: int
    n_aux_params: int
    seed: int
    study: int | None = None
    control: bool = False
    untrained_control: bool = False
    unequal_search: list[str] = Field(default_factory=list)
    ruleset_digest: str
    code_digest: str | None = None
    plan: dict[str, Any] = Field(default_factory=dict)
    status: Status
    reasons: dict[str, str] = Field(default_factory=dict)
    val_accuracy: float | None
    test_accuracy: float | None
    n_test: int | None = None
    correct: str | None = None
    by_class: ByClass | None = None
    passes: int
    steps: int | None = None
    examples_seen: int | None = None
    stops: list[PhaseEnd] = Field(default_factory=list)
    forward_passes: float | None
    time_s: float | None
    eval_time_s: float | None
    cpu_s: float | None = None
    other_load: float | None = None
    energy: Energy
    co2e_g: float | None
    carbon: Carbon
    tuning_energy: TuningCost | None
    inference: Inference | None
    time_to_target_s: Reached | None
    energy_to_target_j: Reached | None
    flops: Flops | None
    peak_memory_bytes: int | None
    evaluation_peak_bytes: int | None = None
    memory: Memory | None
    health: Health = Field(default_factory=Health)
    tier: str
    maths: str
    history: list[HistoryEntry]
    environment_digest: str
    started_at: str
    versions: dict[str, str]

    @model_validator(mode="after")
    def _null_has_a_reason(self) -> Record:
        for path in _null_paths(self):
            if path in ADDED or (self.schema_version < 2 and path in SINCE_2):
                continue
            parts = path.split(".")
            if not any(".".join(parts[: k + 1]) in self.reasons for k in range(len(parts))):
                raise ValueError(f"{path} is null without an entry in reasons (what was not measured says why)")
        return self

    @property
    def cell(self) -> tuple[str, str, str, str, int]:
        """What identifies the run within a ruleset: arm, data set, digest of its data, net, and study or else seed."""
        return (self.arm, self.dataset, self.data_digest or self.split, self.net, self.seed if self.study is None else self.study)

    @property
    def replicate(self) -> tuple[int, int]:
        """Split seed, and study or else seed: runs of two arms with the same one are a pair."""
        seed = self.seed - (CONTROL_SEEDS if self.control else 0)
        return (self.split_seed, seed if self.study is None else self.study)

    def to_json(self) -> str:
        """The record as one line, without its newline."""
        return self.model_dump_json(by_alias=True)


def _null_paths(model: BaseModel, prefix: str = "") -> Iterator[str]:
    for name, value in model:
        if name in ("history", "plan", "params", "reasons"):
            continue
        path = f"{prefix}{name}"
        if value is None:
            yield path
        elif isinstance(value, BaseModel):
            yield from _null_paths(value, f"{path}.")
        elif isinstance(value, Mapping):
            yield from (f"{path}.{key}" for key, entry in value.items() if entry is None)
            for key, entry in value.items():
                if isinstance(entry, BaseModel):
                    yield from _null_paths(entry, f"{path}.{key}.")


def json_schema() -> dict[str, Any]:
    """The JSON Schema of a record, as published in ``records.schema.json``."""
    schema = Record.model_json_schema(by_alias=True)
    schema["$id"] = f"https://bpfree.org/schema/record-{SCHEMA_VERSION}.json"
    return schema


def append_record(path: Path, record: Record) -> None:
    """Append one record as one line; a crash leaves the whole line or none (:func:`bpfree.files.append_line`).

    Raises:
        StorageError: the disk is full, read-only or not permitted. The records written before stay whole.
    """
    append_line(path, record.to_json())


_CURE = "remove that line, and the same command makes that run again"


def read_records(path: Path) -> list[Record]:
    """Read all whole records; a half-written last line (after a crash) is left out.

    Raises:
        RunDirectoryError: a line in the middle is damaged, or was written by a newer version of bpfree.
    """
    if not path.exists():
        return []
    with reading(path):
        *lines, _half = path.read_bytes().split(b"\n")
    records = []
    for number, line in enumerate(lines, start=1):
        try:
            raw = json.loads(line)
        except ValueError as error:
            raise RunDirectoryError(
                f"{path}, line {number} is not JSON ({error}); remove that line, and the same command makes that run again"
            ) from error
        version = raw.get("schema") if isinstance(raw, dict) else None
        if isinstance(version, int) and version > SCHEMA_VERSION:
            raise RunDirectoryError(
                f"{path}, line {number} has schema {version}, this bpfree reads up to {SCHEMA_VERSION}; "
                "update it with: pip install --upgrade bpfree"
            )
        try:
            records.append(Record.model_validate(raw))
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"]) or "record"
            raise RunDirectoryError(f"{path}, line {number}: {where}: {first['msg']}; {_CURE}") from error
    return records


def finished(records: list[Record]) -> list[Record]:
    """One record per cell: the last that was not interrupted, or the interrupted one where the cell was never finished."""
    last: dict[tuple[str, str, str, str, int], Record] = {}
    for record in records:
        if record.cell not in last or record.status != "interrupted":
            last[record.cell] = record
    return list(last.values())
