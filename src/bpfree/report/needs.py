"""Operations and bytes that a training step of each arm needs, as counted on one step, as a table and as stacked bars."""

from __future__ import annotations

import altair as alt

from bpfree.records import Flops, Memory, Record
from bpfree.report.charts import Chart
from bpfree.report.cost_bars import COLOURS, PARTS, bar_parts
from bpfree.report.looks import draw, on
from bpfree.report.model import ArmRow, Table
from bpfree.units import MISSING, format_bytes, format_count

__all__ = ["NEEDS_CAPTION", "NEEDS_HEADINGS", "memory_chart", "needs_rows"]

NEEDS_HEADINGS = (
    "Arm", "FLOPs of a step", "× first arm", "of scoring a batch", "of an orthogonalisation",
    *(part.capitalize() for part in PARTS),
)  # fmt: skip
NEEDS_CAPTION = (
    "Counted on one training step, the same on every machine; a rule of several phases has the mean of its steps. Bytes are "
    "those at the highest moment of the step. No clock is read for this table."
)


def needs_rows(table: Table) -> list[tuple[str, ...]]:
    """Texts of that table, in the order of the arms; none where nothing was counted."""
    counted = [(row, *counts) for row in table.rows if (counts := _counted(row)) is not None]
    if not counted:
        return []
    first = counted[0][1].train_step
    return [(row.label, *_flops(flops, first), *_parts(memory)) for row, flops, memory in counted]


def _counted(row: ArmRow) -> tuple[Flops, Memory] | None:
    """Counts of the arm's first run that has both; they are the same in every seed."""
    runs: list[Record] = [run for run in row.runs if run.flops is not None and run.memory is not None]
    return None if not runs or runs[0].flops is None or runs[0].memory is None else (runs[0].flops, runs[0].memory)


def _flops(flops: Flops, first: int | None) -> tuple[str, ...]:
    ratio = MISSING if flops.train_step is None or not first else f"{flops.train_step / first:.2f}"
    return (format_count(flops.train_step), ratio, format_count(flops.evaluation), format_count(flops.orthogonalisation))


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
        draw(alt.layer(bars), {"data": bar_parts(rows)}, height=30 * len(rows)),
    )
