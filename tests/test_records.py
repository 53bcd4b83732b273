"""One run, one line: what a record refuses, and what a reader survives."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any, get_args, get_origin

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError

import bpfree
from bpfree.errors import RunDirectoryError
from bpfree.records import (
    ADDED,
    CONTROL_SEEDS,
    SCHEMA_VERSION,
    SINCE_2,
    Record,
    append_record,
    finished,
    json_schema,
    read_records,
)

PUBLISHED = Path(bpfree.__file__).with_name("records.schema.json")
REGENERATE = (
    "python -c \"import json, pathlib, bpfree.records as r; pathlib.Path('src/bpfree/records.schema.json')"
    '.write_text(json.dumps(r.json_schema(), indent=2) + chr(10))"'
)


def values(**changes: Any) -> dict[str, Any]:
    """A record in which everything was measured."""
    complete: dict[str, Any] = {
        "arm": "mono-forward",
        "algorithm": "mono-forward",
        "variant": "",
        "params": {"lr": 1e-3, "schedule": "joint", "flag": True, "count": 3, "none": None},
        "dataset": "digits",
        "split": "0" * 64,
        "data_digest": "3" * 64,
        "split_seed": 0,
        "net": "mlp:2x8",
        "n_params": 100,
        "n_aux_params": 20,
        "seed": 0,
        "study": 0,
        "control": False,
        "unequal_search": [],
        "ruleset_digest": "1" * 64,
        "code_digest": "4" * 16,
        "status": "ok",
        "val_accuracy": 0.96,
        "test_accuracy": 0.95,
        "n_test": 8,
        "correct": "/g==",
        "passes": 7,
        "steps": 14,
        "examples_seen": 700,
        "stops": [{"phase": 0, "reason": "patience", "passes": 7}],
        "forward_passes": 7.0,
        "time_s": 1.5,
        "eval_time_s": 0.5,
        "cpu_s": 1.4,
        "other_load": 0.02,
        "energy": {
            "joules": 30.0,
            "net_joules": 20.0,
            "method": "rapl",
            "scope": "cpu-package",
            "measured": True,
            "resolved": True,
            "sources": {"rapl:package-0": 30.0},
        },
        "co2e_g": 0.003,
        "carbon": {"g_per_kwh": 350.0, "pue": 1.0, "source": "codecarbon", "year": 2024},
        "tuning_energy": {"joules": 300.0, "time_s": 15.0, "trials": 8, "passes": 120, "method": "rapl"},
        "inference": {
            "batch_size": 128,
            "latency_s": 0.01,
            "joules_per_1000": 0.2,
            "by_batch": {
                "128": {
                    "latency_p50_s": 0.01,
                    "latency_p95_s": 0.02,
                    "images_per_s": 9e3,
                    "joules_per_1000": 0.2,
                    "n_calls": 40,
                },
            },
        },
        "time_to_target_s": 1.0,
        "energy_to_target_j": 20.0,
        "flops": {
            "train_step": 1000,
            "evaluation": 500,
            "orthogonalisation": 0,
            "batch_size": 64,
            "method": "counter",
            "run_total": 14000,
            "mean_step": 1000,
        },
        "peak_memory_bytes": 4096,
        "evaluation_peak_bytes": 4000,
        "memory": {
            "weights": 1,
            "auxiliary": 1,
            "gradients": 1,
            "optimiser": 1,
            "activations": 1,
            "method": "live",
            "allocator_peak": 8192,
        },
        "tier": "eager",
        "maths": "closed",
        "history": [{"passes": 1, "phase": 0, "train_loss": 1.0, "val_accuracy": 0.9, "time_s": 0.2, "joules": None}],
        "environment_digest": "2" * 64,
        "started_at": "2026-01-01T00:00:00Z",
        "versions": {"torch": "2.13"},
    }
    return {**complete, **changes}


def _nullable(model: type[BaseModel], prefix: str = "") -> list[str]:
    """Every path of the model that may be null, parts included."""
    found = []
    for name, field in model.model_fields.items():
        if name in ("history", "plan", "params", "reasons"):
            continue
        kinds = [field.annotation, *get_args(field.annotation)]
        if type(None) in kinds:
            found.append(prefix + name)
        for kind in kinds:
            if isinstance(kind, type) and issubclass(kind, BaseModel):
                entry = "128." if get_origin(field.annotation) is dict else ""
                found += _nullable(kind, f"{prefix}{name}.{entry}")
    return found


NULLABLE = [path for path in _nullable(Record) if path not in ADDED]


def with_nulls(paths: list[str], reasons: dict[str, str]) -> dict[str, Any]:
    record = json.loads(json.dumps(values(reasons=reasons)))
    for path in sorted(paths):  # a part before what is in it
        *parents, last = path.split(".")
        target = record
        for parent in parents:
            target = target[parent] if target is not None else None
        if target is not None:
            target[last] = None
    return record


def test_the_paths_are_the_ones_meant() -> None:
    assert {"test_accuracy", "energy.joules", "memory", "memory.activations", "carbon.year", "tuning_energy"} <= set(NULLABLE)


def test_a_complete_record_needs_no_reasons() -> None:
    assert Record.model_validate(values()).reasons == {}


@pytest.mark.parametrize("path", NULLABLE)
def test_null_needs_a_reason(path: str) -> None:
    with pytest.raises(ValidationError, match=f"{path} is null without an entry in reasons"):
        Record.model_validate(with_nulls([path], {}))
    Record.model_validate(with_nulls([path], {path: "there is no counter"}))


@given(st.lists(st.sampled_from(NULLABLE), unique=True, max_size=8), st.data())
def test_any_nulls_need_all_their_reasons(paths: list[str], choose: st.DataObject) -> None:
    """Reasons for the nulls or for the parts that hold them; one missing reason refuses the record."""
    reasons = dict.fromkeys(paths, "why")
    Record.model_validate(with_nulls(paths, reasons))
    Record.model_validate(with_nulls(paths, {path.partition(".")[0]: "why" for path in paths}))
    if paths:
        unsaid = choose.draw(st.sampled_from(paths))
        left = {path: why for path, why in reasons.items() if not (unsaid == path or unsaid.startswith(f"{path}."))}
        is_null = with_nulls(paths, {})
        swallowed = any(unsaid.startswith(f"{path}.") and path in left for path in paths) or _gone(is_null, unsaid)
        if not swallowed:
            with pytest.raises(ValidationError):
                Record.model_validate({**is_null, "reasons": left})


def _gone(record: dict[str, Any], path: str) -> bool:
    """Whether a part above the path is null itself."""
    target: Any = record
    for part in path.split(".")[:-1]:
        target = target[part]
        if target is None:
            return True
    return False


def test_a_source_that_gave_nothing_needs_a_reason() -> None:
    energy = {**values()["energy"], "sources": {"rapl:package-0": 30.0, "nvml:0": None}}
    with pytest.raises(ValidationError, match=r"energy\.sources\.nvml:0 is null"):
        Record.model_validate(values(energy=energy))
    Record.model_validate(values(energy=energy, reasons={"energy.sources.nvml:0": "the driver went away"}))


def test_nulls_of_history_and_params_speak_for_themselves() -> None:
    entry = {"passes": 1, "phase": 0, "train_loss": None, "val_accuracy": None, "time_s": 0.2, "joules": None}
    Record.model_validate(values(history=[entry], params={"a": None}, plan={"b": None}))


def test_zero_is_not_null() -> None:
    Record.model_validate(values(energy={**values()["energy"], "joules": 0.0}))


@pytest.mark.parametrize(
    "changes",
    [{"unheard_of": 1}, {"energy": {**values()["energy"], "watts": 1.0}}, {"status": "fine"}, {"seed": "one"}],
)
def test_unknown_keys_and_wrong_types_are_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Record.model_validate(values(**changes))


def test_a_record_is_one_line_and_comes_back_equal() -> None:
    record = Record.model_validate(values(plan={"seeds": [0, 1], "words": "two\nlines"}))
    assert "\n" not in record.to_json()
    raw = json.loads(record.to_json())
    assert raw["schema"] == SCHEMA_VERSION
    assert Record.model_validate(raw) == record


def test_a_target_never_reached_is_infinite_and_comes_back_so(tmp_path: Path) -> None:
    path = tmp_path / "records.jsonl"
    append_record(path, Record.model_validate(values(time_to_target_s=math.inf, energy_to_target_j=math.inf)))
    raw = json.loads(path.read_text())
    assert raw["time_to_target_s"] == raw["energy_to_target_j"] == "Infinity"
    (record,) = read_records(path)
    assert record.time_to_target_s == record.energy_to_target_j == math.inf
    jsonschema.validate(raw, json_schema())


@pytest.mark.parametrize("value", [math.nan, -math.inf, -1.0])
def test_a_target_is_reached_after_some_time_or_never(value: float) -> None:
    with pytest.raises(ValidationError):
        Record.model_validate(values(time_to_target_s=value))


def test_the_published_schema_is_current() -> None:
    assert json.loads(PUBLISHED.read_text()) == json_schema(), f"records.schema.json is stale; write it again: {REGENERATE}"


def test_the_published_schema_takes_our_records_and_refuses_others() -> None:
    schema = json.loads(PUBLISHED.read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    raw = json.loads(Record.model_validate(values()).to_json())
    jsonschema.validate(raw, schema)
    for wrong in ({**raw, "extra": 1}, {**raw, "seed": "one"}, {k: v for k, v in raw.items() if k != "energy"}):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(wrong, schema)


def _lines(path: Path, n: int) -> None:
    for seed in range(n):
        append_record(path, Record.model_validate(values(seed=seed)))


def test_reading_gives_what_was_appended(tmp_path: Path) -> None:
    path = tmp_path / "records.jsonl"
    assert read_records(path) == []
    _lines(path, 3)
    assert [record.seed for record in read_records(path)] == [0, 1, 2]


def test_a_half_line_is_left_out_wherever_it_was_cut(tmp_path: Path) -> None:
    path = tmp_path / "records.jsonl"
    _lines(path, 2)
    whole = path.read_bytes()
    first = whole.index(b"\n") + 1
    for cut in range(first, len(whole), 37):
        path.write_bytes(whole[:cut])
        assert [record.seed for record in read_records(path)] == [0]
        append_record(path, Record.model_validate(values(seed=9)))
        assert [record.seed for record in read_records(path)] == [0, 9]


def test_a_damaged_line_in_the_middle_is_named(tmp_path: Path) -> None:
    path = tmp_path / "records.jsonl"
    _lines(path, 3)
    lines = path.read_bytes().split(b"\n")
    path.write_bytes(b"\n".join([lines[0], lines[1][:50], *lines[2:]]))
    with pytest.raises(RunDirectoryError, match=r"line 2 is not JSON .*remove that line"):
        read_records(path)


@pytest.mark.parametrize("line", ["[]", "7", "{}", '"text"', "null"])
def test_json_that_is_no_record_is_refused(tmp_path: Path, line: str) -> None:
    path = tmp_path / "records.jsonl"
    path.write_text(line + "\n")
    with pytest.raises(RunDirectoryError, match="line 1"):
        read_records(path)


def test_a_newer_schema_says_how_to_update(tmp_path: Path) -> None:
    path = tmp_path / "records.jsonl"
    raw = json.loads(Record.model_validate(values()).to_json())
    path.write_text(json.dumps({**raw, "schema": SCHEMA_VERSION + 1, "new_key": 1}) + "\n")
    with pytest.raises(RunDirectoryError, match=f"schema {SCHEMA_VERSION + 1}, this bpfree reads up to {SCHEMA_VERSION}; update"):
        read_records(path)


def test_a_wrong_key_is_named_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "records.jsonl"
    _lines(path, 1)
    raw = json.loads(path.read_text())
    path.write_text(json.dumps({**raw, "energy": {**raw["energy"], "joules": "many"}}) + "\n")
    with pytest.raises(RunDirectoryError, match=r"line 1: energy\.joules: "):
        read_records(path)


def test_the_last_record_of_a_cell_counts_unless_it_was_interrupted() -> None:
    def record(seed: int, status: str, accuracy: float) -> Record:
        one_search = {"study": None, "reasons": {"study": "one search served all seeds"}}
        return Record.model_validate(values(seed=seed, status=status, test_accuracy=accuracy, **one_search))

    records = [
        record(0, "interrupted", 0.1),
        record(0, "ok", 0.2),
        record(0, "interrupted", 0.3),
        record(1, "interrupted", 0.4),
        record(2, "diverged", 0.5),
        record(2, "ok", 0.6),
    ]
    assert [(r.seed, r.test_accuracy) for r in finished(records)] == [(0, 0.2), (1, 0.4), (2, 0.6)]
    assert finished([]) == []


def test_a_record_cannot_be_changed() -> None:
    with pytest.raises(ValidationError):
        Record.model_validate(values()).seed = 3  # type: ignore[misc]


def test_a_record_from_before_inference_had_batch_sizes_still_reads(tmp_path: Path) -> None:
    old = values()
    del old["inference"]["by_batch"]
    path = tmp_path / "records.jsonl"
    path.write_text(json.dumps(old) + "\n")
    (record,) = read_records(path)
    assert record.inference is not None
    assert record.inference.by_batch == {}
    assert record.inference.latency_s == 0.01


V1 = Path(__file__).parents[1] / "benchmarks" / "results" / "cifar10-patches" / "records.jsonl"


def test_records_of_version_1_still_read_and_their_new_fields_are_null() -> None:
    records = read_records(V1)
    assert records
    for record in records:
        assert record.schema_version == 1
        assert (record.data_digest, record.study, record.correct, record.steps) == (None, None, None, None)
        assert record.cell == (record.arm, record.dataset, record.split, record.net, record.seed)


@pytest.mark.parametrize("path", sorted(SINCE_2))
def test_what_version_2_added_needs_no_reason_in_version_1(path: str) -> None:
    assert path in NULLABLE
    Record.model_validate({**with_nulls([path], {}), "schema": 1})


def test_a_cell_is_known_by_its_data_and_by_its_study_or_else_its_seed() -> None:
    seeds = {"study": None, "reasons": {"study": "one search served all seeds"}}
    cells = {
        Record.model_validate(values(**changes)).cell
        for changes in ({}, {"study": 1}, {"data_digest": "5" * 64}, {**seeds, "seed": 7}, {**seeds, "seed": 8})
    }
    assert len(cells) == 5
    assert Record.model_validate(values(seed=4)).cell == Record.model_validate(values(seed=9)).cell


def test_runs_pair_by_split_and_by_study_or_seed_a_control_with_what_it_repeats() -> None:
    seeds = {"study": None, "reasons": {"study": "one search served all seeds"}}
    assert Record.model_validate(values(study=3, seed=30002, split_seed=1)).replicate == (1, 3)
    assert Record.model_validate(values(seed=2, **seeds)).replicate == (0, 2)
    assert Record.model_validate(values(seed=CONTROL_SEEDS + 2, control=True, **seeds)).replicate == (0, 2)
