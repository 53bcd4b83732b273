"""One measured run is one line of ``records.jsonl``, and stands alone.

The schema is versioned and published as JSON Schema beside this package (``records.schema.json``).
A quantity that was not measured is ``null`` with its entry in ``reasons``, never 0: the model refuses anything else.
Units are in the names (``_s``, ``_bytes``, ``_g``); ``joules`` are joules; accuracies are fractions from 0 to 1.
A target that was never reached is ``"Infinity"`` (a string, since JSON has no infinite number).
"""

from bpfree.records.lines import append_record, finished, read_records
from bpfree.records.parts import (
    ByClass,
    Carbon,
    Energy,
    Flops,
    Health,
    HistoryEntry,
    Inference,
    InferenceAt,
    Memory,
    PhaseEnd,
    Reached,
    Status,
    TuningCost,
)
from bpfree.records.record import ADDED, CONTROL_SEEDS, SCHEMA_VERSION, SINCE_2, Record, json_schema

__all__ = [
    "ADDED",
    "CONTROL_SEEDS",
    "SCHEMA_VERSION",
    "SINCE_2",
    "ByClass",
    "Carbon",
    "Energy",
    "Flops",
    "Health",
    "HistoryEntry",
    "Inference",
    "InferenceAt",
    "Memory",
    "PhaseEnd",
    "Reached",
    "Record",
    "Status",
    "TuningCost",
    "append_record",
    "finished",
    "json_schema",
    "read_records",
]
