"""The headline table as text, for the page, Markdown and the terminal, and as numbers, for CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import get_args

from bpfree.records import Status
from bpfree.report import quantities as q
from bpfree.report.above_control import control_notes
from bpfree.report.classes import class_fields, class_words, majority_words
from bpfree.report.model import ArmRow, SeedMean, Table
from bpfree.report.passes import PASSES_HEADINGS, passes_rows
from bpfree.report.phase_ends import END_WORDS, ends_in_words, run_ends
from bpfree.report.quantities import QUANTITIES, Quantity
from bpfree.report.targets import COSTS_TO_TARGET
from bpfree.units import MISSING

__all__ = [
    "COLUMNS",
    "TARGET_HEADINGS",
    "Column",
    "Display",
    "TextTable",
    "arm_displays",
    "columns_of",
    "csv_text",
    "headings",
    "left_out",
    "markdown_headline",
    "markdown_table",
    "markdown_targets",
    "sort_values",
    "target_rows",
    "text_table",
]


@dataclass(frozen=True)
class Display:
    """What a table shows in one place: the main text, a second line, and how that is set (a class of the page)."""

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
    display: Callable[[ArmRow], Display]
    number: bool = True


@dataclass(frozen=True)
class TextTable:
    """A headline table ready for a terminal, and sentences that go below it."""

    title: str
    headings: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...] = ()


def _arm(row: ArmRow) -> Display:
    return Display(row.label, "" if row.label.startswith(row.arm) else row.arm)


def _accuracy(row: ArmRow) -> Display:
    shown, classes = _accuracy_alone(row), class_words(row)
    return Display(shown.text, "; ".join(filter(None, (shown.sub, classes))), shown.tone)


def _accuracy_alone(row: ArmRow) -> Display:
    n_ok, accuracy = row.statuses.get("ok", 0), row[q.ACCURACY]
    if accuracy is None:
        return Display(MISSING, "no run finished" if n_ok == 0 else "")
    if n_ok < len(row.runs):
        return Display(row.accuracy_text, f"the {n_ok} of {len(row.runs)} runs that finished")
    if accuracy.n == 1:
        return Display(row.accuracy_text, "one seed, no interval")
    return Display(row.accuracy_text, "the same for all seeds" if accuracy.low == accuracy.high else "")


def _difference(row: ArmRow) -> Display:
    if row.index == 0:
        return Display("baseline")
    return Display(row.difference_text(), row.verdict.text, row.verdict.tone)


def _value(row: ArmRow, quantity: Quantity) -> str:
    """The mean or the largest value of a quantity, a dash where it was not measured."""
    if quantity.statistic == "largest":
        largest = row.largest[quantity.key]
        return MISSING if largest is None else quantity.show(largest)
    mean = row[quantity]
    return MISSING if mean is None else quantity.show(mean.mean)


def _column(key: str, *shown: Quantity, ratio: Quantity | None = None) -> Column:
    """Values side by side under the heading of the first, with its ratio to the baseline below; one dash without a value."""

    def display(row: ArmRow) -> Display:
        if _value(row, shown[0]) == MISSING:
            return Display(MISSING)
        text = " / ".join(_value(row, quantity) for quantity in shown)
        return Display(text, _times(row[ratio], ratio), "ratio") if ratio else Display(text)

    return Column(key, shown[0].heading, display)


def _times(mean: SeedMean | None, ratio: Quantity) -> str:
    """``"×1.08 [0.95, 1.23]"``; without the interval where that is a point."""
    if mean is None:
        return ""
    return f"×{ratio.show(mean.mean) if mean.low == mean.high else mean.text(ratio.show)}"


def _passes(row: ArmRow) -> Display:
    """Passes, and how the runs ended where they can say it."""
    return Display(_value(row, q.PASSES), ends_in_words(row.runs), "ends")


def _validation(row: ArmRow) -> Display:
    """Seconds of validation; below, the ratio of what is left of the time without them."""
    text, training = _value(row, q.VALIDATION_TIME), _times(row[q.TRAINING_RATIO], q.TRAINING_RATIO)
    return Display(text, f"training {training}" if training else "", "ratio")


def _inference(row: ArmRow) -> Display:
    """Median seconds of a call with one example and with a batch of 128; 95th percentiles below."""
    p50, p95 = (" / ".join(_value(row, quantity) for quantity in pair) for pair in (q.LATENCIES_P50, q.LATENCIES_P95))
    return Display(p50, f"p95 {p95}") if p50.strip(f"{MISSING} /") else Display(MISSING)


def _seeds(row: ArmRow) -> Display:
    counts = ", ".join(f"{count} {status}" for status, count in sorted(row.statuses.items(), key=_ok_first))
    return Display(str(len(row.runs)), counts, "worse" if row.n_bad else "")


def _ok_first(item: tuple[str, int]) -> tuple[bool, str]:
    return (item[0] != "ok", item[0])


_TIME = _column("time", q.TIME, ratio=q.TIME_RATIO)
_ENERGY = _column("energy", q.ENERGY, q.NET_ENERGY, ratio=q.ENERGY_RATIO)

COLUMNS = (
    Column("arm", "Arm", _arm, number=False),
    Column("accuracy", q.ACCURACY.heading, _accuracy),
    Column("difference", q.DIFFERENCE.heading, _difference),
    Column("passes", q.PASSES.heading, _passes),
    _TIME,
    Column("validation", q.VALIDATION_TIME.heading, _validation),
    _ENERGY,
    _column("co2e", q.CO2E),
    _column("flops", q.FLOPS, ratio=q.FLOPS_RATIO),
    _column("memory", q.PEAK_MEMORY, q.EVALUATION_PEAK),
    Column("inference", q.LATENCIES_P50[0].heading, _inference),
    Column("seeds", "Seeds", _seeds),
)


_ALWAYS = frozenset({"arm", "accuracy", "difference", "seeds"})
"""Columns that are shown even if they are empty: the answer, or why there is none."""


def columns_of(table: Table) -> tuple[Column, ...]:
    """The columns that hold a value for one arm at least."""
    return tuple(
        column for column in COLUMNS if column.key in _ALWAYS or any(column.display(row).text != MISSING for row in table.rows)
    )


def left_out(table: Table) -> str:
    """A sentence that names the columns without any value; empty where there are none."""
    shown, named = {column.key for column in columns_of(table)}, headings(table)
    absent = [named[column.key] for column in COLUMNS if column.key not in shown]
    return f"Not measured for any arm, with the reasons below: {'; '.join(absent)}." if absent else ""


def headings(table: Table) -> dict[str, str]:
    """Column headings by key."""
    return {column.key: column.heading.format(baseline=table.baseline_label) for column in COLUMNS}


def arm_displays(row: ArmRow) -> dict[str, Display]:
    """One row as text by column key."""
    return {column.key: column.display(row) for column in COLUMNS}


_SORTED_BY = {
    "accuracy": q.ACCURACY, "difference": q.DIFFERENCE, "passes": q.PASSES, "time": q.TIME, "validation": q.VALIDATION_TIME,
    "energy": q.ENERGY, "co2e": q.CO2E, "flops": q.FLOPS, "memory": q.PEAK_MEMORY, "inference": q.LATENCIES_P50[0],
}  # fmt: skip


def sort_values(row: ArmRow) -> dict[str, float | None]:
    """By column key the number that a column is sorted by; None where it was not measured."""
    values: dict[str, float | None] = {"arm": row.index, "seeds": row.statuses.get("ok", 0)}
    for key, quantity in _SORTED_BY.items():
        mean = None if quantity.statistic == "largest" else row[quantity]
        values[key] = row.largest[quantity.key] if quantity.statistic == "largest" else mean and mean.mean
    return values


def text_table(table: Table, stamps: Sequence[str] = ()) -> TextTable:
    """For a terminal of 80 columns: the columns that answer the question, less those not measured; texts of two lines.

    Args:
        table: the numbers.
        stamps: of the ruleset, which every output must carry; they come first in the title.
    """
    columns = {
        "Arm": [row.label.replace(" (", "\n(") for row in table.rows],
        "Accuracy, %": ["\n".join(filter(None, (row.accuracy_text, majority_words(row)))) for row in table.rows],
        f"Difference to\n{table.baseline_label}, points": [_two_lines(_difference(row)) for row in table.rows],
        "Time": [_two_lines(_TIME.display(row)) for row in table.rows],
        headings(table)["energy"].replace(", ", ",\n"): [_two_lines(_ENERGY.display(row)) for row in table.rows],
        "Runs": [_seeds(row).sub.replace(", ", "\n") for row in table.rows],
    }
    shown = {name: texts for name, texts in columns.items() if any(text != MISSING for text in texts)}
    return TextTable(
        ". ".join((*stamps, table.task_text)),
        tuple(shown),
        tuple(zip(*shown.values(), strict=True)),
        tuple(control_notes(table.above_controls)),
    )


def _two_lines(display: Display) -> str:
    """The second line below the first; a ratio without its interval, which the page has."""
    sub = display.sub.partition(" [")[0] if display.tone == "ratio" else display.sub.replace(": ", ":\n")
    text = display.text.replace(" / ", " /\n")
    return f"{text}\n{sub}" if sub else text


def markdown_headline(table: Table) -> list[str]:
    """Lines of the headline table in Markdown; names that users gave are escaped."""
    named, columns = headings(table), columns_of(table)
    lines = [
        _markdown_row(named[column.key] for column in columns),
        _markdown_row("---:" if column.number else "---" for column in columns),
    ]
    for row in table.rows:
        displays = arm_displays(row)
        lines.append(_markdown_row(str(displays[column.key]) for column in columns))
    return lines


def markdown_table(table: Table) -> list[str]:
    """The same, what was not measured, and the table of passes."""
    lines, absent = markdown_headline(table), left_out(table)
    lines += ["", escape_markdown(absent)] if absent else []
    rule = f"| --- |{' ---: |' * (len(PASSES_HEADINGS) - 1)}"
    return [*lines, "", _markdown_row(PASSES_HEADINGS), rule, *(_markdown_row(texts) for texts in passes_rows(table))]


TARGET_HEADINGS = ("Arm", "Reached by", *(cost.heading for cost in COSTS_TO_TARGET))
"""Headings of the table of costs to a target."""


def target_rows(table: Table) -> list[tuple[str, ...]]:
    """The texts of that table, in the order of the arms; none without a target."""
    labels = {row.arm: row.label for row in table.rows}
    return [] if table.targets is None else [(labels[each.arm], *each.texts) for each in table.targets.arms]


def markdown_targets(table: Table) -> list[str]:
    """The same as lines of Markdown."""
    if table.targets is None:
        return []
    head = [escape_markdown(table.targets.caption), "", _markdown_row(TARGET_HEADINGS)]
    rule = f"| --- |{' ---: |' * (len(TARGET_HEADINGS) - 1)}"
    return [*head, rule, *(_markdown_row(texts) for texts in target_rows(table)), ""]


def _markdown_row(texts: Iterator[str] | Sequence[str]) -> str:
    return "| " + " | ".join(escape_markdown(text) for text in texts) + " |"


def escape_markdown(text: str) -> str:
    """Text that can break neither a Markdown table nor a line, and holds no HTML."""
    flat = " ".join(text.split())
    return flat.replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;").replace("`", "\\`")


STATUSES: tuple[Status, ...] = get_args(Status)


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


def _csv_fields(table: Table, row: ArmRow) -> dict[str, str | int | float | None]:
    fields: dict[str, str | int | float | None] = {
        "dataset": table.dataset,
        "net": table.net,
        "arm": row.arm,
        "baseline": table.baseline,
        "verdict": row.verdict.text,
    }
    for quantity in (each for each in QUANTITIES if each.statistic != "largest"):
        mean = row[quantity]
        fields |= {
            f"mean_{quantity.key}": mean and mean.mean,
            f"low95_{quantity.key}": mean and mean.low,
            f"high95_{quantity.key}": mean and mean.high,
        }
    reached = next((each for each in table.targets.arms if each.arm == row.arm), None) if table.targets else None
    fields |= {
        "target_val_accuracy_fraction": table.targets and table.targets.accuracy,
        "n_reached_target": reached and reached.n_reached,
    }
    fields |= {cost.csv_key: reached and cost.pick(reached) for cost in COSTS_TO_TARGET if cost.csv_key}
    fields |= row.largest
    fields |= class_fields(row)
    ends = run_ends(row.runs)
    fields |= {f"n_ended_by_{end}": ends[end] for end in END_WORDS if end != "diverged"}
    fields |= {"n_seeds": len(row.runs)} | {f"n_{status}": row.statuses.get(status, 0) for status in STATUSES}
    return fields
