"""The headline table as text cells, for the page, Markdown and the terminal, and as numbers, for CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from bpfree.report.model import Estimate, Row, Table
from bpfree.units import MISSING, format_bytes, format_co2, format_count, format_energy, format_time

__all__ = [
    "COLUMNS",
    "TARGET_HEADINGS",
    "CellText",
    "Column",
    "TextTable",
    "csv_text",
    "headings",
    "markdown_table",
    "markdown_targets",
    "row_cells",
    "target_rows",
    "text_table",
]


@dataclass(frozen=True)
class CellText:
    """What stands in one cell: the main text, a second line, and how that is set (a class of the page)."""

    text: str
    sub: str = ""
    tone: str = ""

    def __str__(self) -> str:
        return f"{self.text} ({self.sub})" if self.sub else self.text


@dataclass(frozen=True)
class Column:
    """One column of the headline table; ``{baseline}`` in the heading is filled in."""

    key: str
    heading: str
    cell: Callable[[Row], CellText]
    number: bool = True


@dataclass(frozen=True)
class TextTable:
    """A headline table ready for a terminal."""

    title: str
    headings: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def _arm(row: Row) -> CellText:
    return CellText(row.label, "" if row.label.startswith(row.arm) else row.arm)


def _accuracy(row: Row) -> CellText:
    n_ok = row.statuses.get("ok", 0)
    if row.accuracy is None:
        return CellText(MISSING, "no run finished" if n_ok == 0 else "")
    if n_ok < len(row.runs):
        return CellText(row.accuracy_text, f"the {n_ok} of {len(row.runs)} runs that finished")
    if row.accuracy.n == 1:
        return CellText(row.accuracy_text, "one seed, no interval")
    return CellText(row.accuracy_text, "the same for all seeds" if row.accuracy.low == row.accuracy.high else "")


def _difference(row: Row) -> CellText:
    if row.index == 0:
        return CellText("baseline")
    return CellText(row.difference_text(), row.verdict, row.tone)


def _passes(row: Row) -> CellText:
    return CellText(MISSING if row.passes is None else f"{row.passes.mean:.1f}".removesuffix(".0"))


def _time(row: Row) -> CellText:
    return CellText(MISSING if row.time_s is None else format_time(row.time_s.mean), _times(row.time_ratio), "ratio")


def _energy(row: Row) -> CellText:
    if row.energy_j is None:
        return CellText(MISSING)
    net = MISSING if row.net_energy_j is None else format_energy(row.net_energy_j.mean)
    return CellText(f"{format_energy(row.energy_j.mean)} / {net}", _times(row.energy_ratio), "ratio")


def _times(ratio: Estimate | None) -> str:
    return "" if ratio is None else "×" + ratio.text(lambda value: f"{value:.2f}")


def _inference(row: Row) -> CellText:
    """Median seconds of a call with one example and with a batch of 128; 95th percentiles below."""
    p50, p95 = (" / ".join(_latency(row, f"{quantity}:{size}") for size in (1, 128)) for quantity in _LATENCIES)
    return CellText(p50, f"p95 {p95}") if p50.strip(f"{MISSING} /") else CellText(MISSING)


_LATENCIES = ("latency_p50_s", "latency_p95_s")


def _latency(row: Row, name: str) -> str:
    return format_time(row.inference[name].mean if name in row.inference else None)


def _seeds(row: Row) -> CellText:
    said = ", ".join(f"{count} {status}" for status, count in sorted(row.statuses.items(), key=_ok_first))
    return CellText(str(len(row.runs)), said, "worse" if row.n_bad else "")


def _ok_first(item: tuple[str, int]) -> tuple[bool, str]:
    return (item[0] != "ok", item[0])


COLUMNS = (
    Column("arm", "Arm", _arm, number=False),
    Column("accuracy", "Test accuracy, %", _accuracy),
    Column("difference", "Difference to {baseline}, points", _difference),
    Column("passes", "Passes", _passes),
    Column("time", "Time", _time),
    Column("energy", "{Energy}, gross / net", _energy),
    Column("co2e", "CO₂e", lambda row: CellText(format_co2(row.co2e_g.mean if row.co2e_g else None))),
    Column("flops", "FLOPs per step", lambda row: CellText(format_count(row.train_step_flops))),
    Column("memory", "Peak memory", lambda row: CellText(format_bytes(row.peak_memory_bytes))),
    Column("inference", "Inference, 1 / 128 examples", _inference),
    Column("seeds", "Seeds", _seeds),
)


def headings(table: Table) -> dict[str, str]:
    """Column headings by key."""
    words = {"baseline": table.baseline_label, "Energy": table.energy_word.capitalize()}
    return {column.key: column.heading.format(**words) for column in COLUMNS}


def row_cells(row: Row) -> dict[str, CellText]:
    """One row as text by column key."""
    return {column.key: column.cell(row) for column in COLUMNS}


def text_table(table: Table, stamps: Sequence[str] = ()) -> TextTable:
    """For a terminal of 80 columns: what answers the question, without what nobody measured; cells have two lines.

    Args:
        table: the numbers.
        stamps: what every output of the ruleset must carry; it leads the title.
    """
    columns = {
        "Arm": [row.label.replace(" (", "\n(") for row in table.rows],
        "Accuracy, %": [row.accuracy_text for row in table.rows],
        f"Difference to\n{table.baseline_label}, points": [_two_lines(_difference(row)) for row in table.rows],
        "Time": [_two_lines(_time(row)) for row in table.rows],
        headings(table)["energy"].replace(", ", ",\n"): [_two_lines(_energy(row)) for row in table.rows],
        "Runs": [_seeds(row).sub.replace(", ", "\n") for row in table.rows],
    }
    shown = {name: cells for name, cells in columns.items() if any(cell != MISSING for cell in cells)}
    return TextTable(
        ". ".join((*stamps, f"{table.dataset}, {table.net}")),
        tuple(shown),
        tuple(zip(*shown.values(), strict=True)),
    )


def _two_lines(cell: CellText) -> str:
    """The second line below the first; a ratio without its interval, which the page has."""
    sub = cell.sub.partition(" [")[0] if cell.tone == "ratio" else cell.sub.replace(": ", ":\n")
    text = cell.text.replace(" / ", " /\n")
    return f"{text}\n{sub}" if sub else text


def markdown_table(table: Table) -> list[str]:
    """Lines of a Markdown table; what users named cannot break it."""
    named = headings(table)
    lines = [
        _markdown_row(named[column.key] for column in COLUMNS),
        _markdown_row("---:" if column.number else "---" for column in COLUMNS),
    ]
    for row in table.rows:
        cells = row_cells(row)
        lines.append(_markdown_row(str(cells[column.key]) for column in COLUMNS))
    return lines


TARGET_HEADINGS = ("Arm", "Reached by", "Passes", "Time", "Energy")
"""Of the table of costs to a target."""


def target_rows(table: Table) -> list[tuple[str, ...]]:
    """The cells of that table, in the order of the arms; none without a target."""
    labels = {row.arm: row.label for row in table.rows}
    return [] if table.targets is None else [(labels[each.arm], *each.cells) for each in table.targets.arms]


def markdown_targets(table: Table) -> list[str]:
    """The same as lines of Markdown."""
    if table.targets is None:
        return []
    head = [escape_markdown(table.targets.caption), "", _markdown_row(TARGET_HEADINGS), "| --- | ---: | ---: | ---: | ---: |"]
    return [*head, *(_markdown_row(cells) for cells in target_rows(table)), ""]


def _markdown_row(cells: Iterator[str] | Sequence[str]) -> str:
    return "| " + " | ".join(escape_markdown(cell) for cell in cells) + " |"


def escape_markdown(text: str) -> str:
    """Keep text in its cell and in its line, and out of HTML."""
    flat = " ".join(text.split())
    return flat.replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;").replace("`", "\\`")


_ESTIMATES: tuple[tuple[str, Callable[[Row], Estimate | None]], ...] = (
    ("test_accuracy_fraction", lambda row: row.accuracy),
    ("difference_fraction", lambda row: row.difference),
    ("passes_count", lambda row: row.passes),
    ("time_s", lambda row: row.time_s),
    ("time_ratio", lambda row: row.time_ratio),
    ("energy_j", lambda row: row.energy_j),
    ("net_energy_j", lambda row: row.net_energy_j),
    ("energy_ratio", lambda row: row.energy_ratio),
    ("co2e_g", lambda row: row.co2e_g),
    ("inference_p50_one_example_s", lambda row: row.inference.get("latency_p50_s:1")),
    ("inference_p95_one_example_s", lambda row: row.inference.get("latency_p95_s:1")),
    ("inference_p50_batch_of_128_s", lambda row: row.inference.get("latency_p50_s:128")),
    ("inference_p95_batch_of_128_s", lambda row: row.inference.get("latency_p95_s:128")),
    ("inference_images_per_s", lambda row: row.inference.get("images_per_s:128")),
    ("inference_of_1000_j", lambda row: row.inference.get("joules_per_1000:128")),
)
STATUSES = ("ok", "diverged", "failed", "interrupted")


def csv_text(tables: Sequence[Table], stamps: Sequence[str] = ()) -> str:
    """One line an arm, SI units in the names; an empty field was not measured, ``inf`` is a target that was never reached."""
    stream = io.StringIO()
    writer: csv.DictWriter[str] | None = None
    for table in tables:
        for row in table.rows:
            fields = _csv_fields(table, row) | {"stamps": " ".join(stamps)}
            if writer is None:
                writer = csv.DictWriter(stream, list(fields), lineterminator="\n")
                writer.writeheader()
            writer.writerow(fields)
    return stream.getvalue()


def _csv_fields(table: Table, row: Row) -> dict[str, str | int | float | None]:
    fields: dict[str, str | int | float | None] = {
        "dataset": table.dataset,
        "net": table.net,
        "arm": row.arm,
        "baseline": table.baseline,
        "verdict": row.verdict,
    }
    for name, pick in _ESTIMATES:
        estimate = pick(row)
        fields |= {
            f"mean_{name}": estimate and estimate.mean,
            f"low95_{name}": estimate and estimate.low,
            f"high95_{name}": estimate and estimate.high,
        }
    reached = next((each for each in table.targets.arms if each.arm == row.arm), None) if table.targets else None
    fields |= {
        "target_val_accuracy_fraction": table.targets and table.targets.accuracy,
        "n_reached_target": reached and reached.n_reached,
        "median_time_to_target_s": reached and reached.time_s,
        "median_energy_to_target_j": reached and reached.joules,
    }
    fields |= {"train_step_flops": row.train_step_flops, "peak_memory_bytes": row.peak_memory_bytes}
    fields |= {"n_seeds": len(row.runs)} | {f"n_{status}": row.statuses.get(status, 0) for status in STATUSES}
    return fields
