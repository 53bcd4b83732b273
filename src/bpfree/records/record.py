"""The record of one run: its fields, and the rule that no null goes without a reason."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, model_validator

from bpfree.records.parts import (
    ByClass,
    Carbon,
    Energy,
    Flops,
    Health,
    HistoryEntry,
    Inference,
    Memory,
    PhaseEnd,
    Reached,
    RecordPart,
    Status,
    TuningCost,
)

__all__ = ["ADDED", "CONTROL_SEEDS", "SCHEMA_VERSION", "SINCE_2", "Record", "json_schema"]

SCHEMA_VERSION = 2
"""2 adds the three identities (rules, data, code), studies, why phases ended, what the loop counted, load, and correctness per
example. Lines of version 1 are read; what they do not have is null."""

SINCE_2 = frozenset({
    "study", "data_digest", "code_digest", "steps", "examples_seen", "cpu_s", "other_load", "n_test", "correct",
    "evaluation_peak_bytes", "flops.run_total", "flops.mean_step", "memory.allocator_peak",
})  # fmt: skip
"""Paths that a record of version 1 need not give a reason for."""

ADDED = frozenset({"by_class", "by_class.labels", "compile_time_s"})
"""Fields that were added within version 2: a line without them need not say why."""

CONTROL_SEEDS = 500_000_000
"""Added to the seeds of the control arm, so that it shares no draw with the arm that it repeats."""


class Record(RecordPart):
    """One measured run. Keys are fixed by the schema version; host and user names never enter.

    Identity: ``ruleset_digest`` (from schema 2 on with search spaces and splits), ``data_digest`` (stored values, indices,
    normalisation) and ``code_digest`` (bpfree's code, torch, optuna). ``split`` is the part of ``data_digest`` without the
    normalisation.

    ``study``: number of the study whose best trial this run is; null where one search served all seeds. ``seed``: with which it
    was trained. ``control``: a repetition of the baseline with other draws. ``untrained_control``: the rule is the control whose
    hidden blocks stay as they were drawn. ``unequal_search``: hyper-parameters that the arm fixes although the ruleset searches
    them. ``compile_time_s``: that compiling the steps took before the window opened, once in the process for all runs that share
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
    compile_time_s: float | None = None
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
