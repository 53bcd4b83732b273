"""Operations and bytes that a training step of each arm needs, as counted on one step, as a table and as stacked bars."""

from __future__ import annotations

import re

import altair as alt

from bpfree.records import Flops, Memory, Record
from bpfree.report.charts import Chart
from bpfree.report.cost_bars import COLOURS, PARTS, bar_parts
from bpfree.report.looks import drawing, on
from bpfree.report.model import ArmRow, Table
from bpfree.report.quantities import EVALUATION_PEAK, FLOPS
from bpfree.units import MISSING, format_bytes, format_count

__all__ = ["NEEDS_CAPTION", "NEEDS_HEADINGS", "memory_chart", "needs_rows", "orthogonalisation_share", "step_flops"]

NEEDS_HEADINGS = (
    "Arm", "FLOPs of a step", "× first arm", "of which orthogonalisation", "of scoring a batch",
    *(part.capitalize() for part in PARTS), "Validation, peak",
)  # fmt: skip
NEEDS_CAPTION = (
    "Counted on one training step, the same on every machine. FLOPs are all of a run over its steps: phases by their passes, and "
    "what is not done in every step (orthogonalisation, the solution at the end of a pass) by its share; records of version 1 "
    "have the mean over phases, without the latter. Bytes are those at the highest moment of the step; the last column is the "
    "peak while a batch is scored for validation. No clock is read for this table."
)


def needs_rows(table: Table) -> list[tuple[str, ...]]:
    """Texts of that table, in the order of the arms; none where nothing was counted."""
    counted = [(row, *counts) for row in table.rows if (counts := _counted(row)) is not None]
    if not counted:
        return []
    first = step_flops(counted[0][0])
    return [
        (row.label, *_flops(row, flops, first), *_parts(memory), format_bytes(row.largest[EVALUATION_PEAK.key]))
        for row, flops, memory in counted
    ]


def step_flops(row: ArmRow) -> float | None:
    """FLOPs of a step of an arm: all of its runs over their steps; of records of version 1 those of the step that was counted."""
    mean, counted = row[FLOPS], _counted(row)
    if mean is not None:
        return mean.mean
    old = counted is not None and row.runs[0].schema_version < 2
    return counted[0].train_step if counted is not None and old else None


def orthogonalisation_share(row: ArmRow) -> float | None:
    """FLOPs of orthogonalisation in a step; None for a rule without. How often it is done is in the method of the count."""
    counted = _counted(row)
    every = re.search(r"done every (\d+) steps", (counted and counted[0].method) or "")
    if counted is None or counted[0].orthogonalisation is None or every is None:
        return None
    return counted[0].orthogonalisation / int(every[1])


def _counted(row: ArmRow) -> tuple[Flops, Memory] | None:
    """Counts of the arm's first run that has both; they are the same in every seed."""
    runs: list[Record] = [run for run in row.runs if run.flops is not None and run.memory is not None]
    return None if not runs or runs[0].flops is None or runs[0].memory is None else (runs[0].flops, runs[0].memory)


def _flops(row: ArmRow, flops: Flops, first: float | None) -> tuple[str, ...]:
    step = step_flops(row)
    ratio = MISSING if step is None or not first else f"{step / first:.2f}"
    return (format_count(step), ratio, format_count(orthogonalisation_share(row)), format_count(flops.evaluation))


def _parts(memory: Memory) -> list[str]:
    texts = {part: format_bytes(getattr(memory, part)) for part in PARTS}
    if memory.feature_cache:
        texts["auxiliary"] += f" and {format_bytes(memory.feature_cache)} of cached features"
    return list(texts.values())


def memory_chart(table: Table) -> Chart | None:
    """The bytes of :func:`needs_rows` as one stacked bar for each arm; None where a part was not counted."""
    memories = [(row, counts[1]) for row in table.rows if (counts := _counted(row)) is not None]
    rows = [
        {"arm": row.label, **{part: getattr(memory, part) for part in PARTS}}
        for row, memory in memories
        if all(getattr(memory, part) is not None for part in PARTS)
    ]
    if not rows:
        return None
    y = alt.Y("arm:N", title=None, sort=None, axis=alt.Axis(labelLimit=190, ticks=False, domain=False))
    legend = alt.Legend(orient="top", title=None, columns=3)
    bars = on("data").mark_bar(height=16).encode(
        y=y, x=alt.X("mib:Q", title="memory at the highest moment of a step (MiB)"),
        color=alt.Color("part:N", scale=COLOURS, legend=legend), order=alt.Order("order:Q"),
    )  # fmt: skip
    words = "; ".join(f"{row['arm']} {format_bytes(sum(int(row[part]) for part in PARTS))}" for row in rows)
    return Chart(
        "memory",
        "Memory of a training step, by use",
        f"Weights, auxiliary tensors and optimiser moments stay; gradients and activations live within it. Together: {words}.",
        drawing(alt.layer(bars), {"data": bar_parts(rows)}, height=30 * len(rows)),
        "Bar: one training step of an arm. Its parts: what the bytes are used for, from what stays for the whole run to what "
        "lives within a step.",
    )
