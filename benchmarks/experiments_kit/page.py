"""docs/answers.md from the committed records: for each experiment first what contradicts the paper or our hope."""

from __future__ import annotations

import csv
import textwrap
from collections.abc import Iterator, Sequence

from bpfree import rulesets
from bpfree.published import Number
from bpfree.report.beside import Beside, points
from bpfree.units import MISSING, format_bytes, format_count, format_energy, format_percent, format_time
from experiments_kit.listed import RESULTS, Experiment, rules
from experiments_kit.measured import (
    PAPER,
    Measured,
    Values,
    contradictions,
    costs,
    label,
    made_on,
    measured,
    metered,
    plainly,
    tiers,
    times,
    two,
    with_interval,
)
from experiments_kit.paper import of_the_paper, other_way
from experiments_kit.short import in_short, lines_of

WIDTH = 130
BOARD = RESULTS / "mnist-mlp-2x1000" / "report" / "summary.csv"
"""Of a GPU, under `claim`."""
KIT = RESULTS / "answer" / "answer.md"
"""What ``make answer`` wrote on a GPU; the page takes it in where it is committed."""


HEADINGS = (
    *("arm", "runs", "test accuracy, %", "less backprop, points", "less frozen, points", "passes"),
    *("FLOPs to the target", "FLOPs of a run, × backprop", "memory of a step, × backprop", "published"),
    "measured less published",
)


def cells(row: Values, table: Values, beside: Beside | None) -> tuple[str, ...]:
    """One line of the table."""
    reached = next(each for each in table["target"]["arms"] if each["arm"] == row["arm"])
    above = next((each for each in table["above_controls"] if each["arm"] == row["label"]), None)
    base = next(each for each in table["rows"] if each["arm"] == table["baseline"])
    accuracy, total = row["test_accuracy_fraction"], row["run_flops"]
    number = None if beside is None else beside.row.number
    return (
        row["label"],
        str(row["statuses"].get("ok", 0)),
        MISSING if accuracy is None else _percent(accuracy),
        "baseline" if row is base else with_interval(row["difference_fraction"]),
        MISSING if above is None else with_interval(above),
        MISSING if row["passes_count"] is None else f"{row['passes_count']['mean']:g}",
        *(_cost(row, base, *keys) for _, *keys in costs(table)),
        "never" if reached["median_passes_count"] is None else format_count(reached["median_flops"]),
        MISSING if total is None or base["run_flops"] is None else two(total["mean"] / base["run_flops"]["mean"]),
        MISSING if not (row["peak_memory_bytes"] and base["peak_memory_bytes"]) else _memory(row, base),
        MISSING if number is None else _published(number),
        MISSING if beside is None else f"{points(beside.gap)} ({beside.verdict})",
    )


def _cost(row: Values, base: Values, own: str, ratio: str) -> str:
    if row is base and row[own]:
        value = row[own]["mean"]
        return format_time(value) if own.endswith("_s") else format_energy(value)
    return times(row, ratio)


def _percent(mean: Values) -> str:
    half = "" if mean["low"] is None else f" ± {100 * (mean['high'] - mean['mean']):.2f}"
    return f"{100 * mean['mean']:.2f}{half}"


def _memory(row: Values, base: Values) -> str:
    if row is base:
        return format_bytes(base["peak_memory_bytes"])
    return two(row["peak_memory_bytes"] / base["peak_memory_bytes"])


def _published(number: Number) -> str:
    if number.accuracy is not None:
        return f"{100 * number.accuracy:.2f}"
    return MISSING if number.difference is None else f"{100 * number.difference:+.2f} points to backprop"


def section(experiment: Experiment) -> Iterator[str]:
    """The part of the page about one experiment: a table for each place."""
    yield from (f"## {experiment.number}. {experiment.title}", "", experiment.question, "")
    found = places(experiment, experiment.name)
    if not found:
        yield from (f"**Not measured yet.** `{experiment.command()}`", "")
        return
    for each in found:
        where = f" ({made_on(each.directory)})" if len(found) > 1 else ""
        led = (*contradictions(each.table, each.beside), *other_way(experiment, each))
        yield from (f"- {text}{where}" for text in led)
    if experiment.also is not None:
        yield from (f"- {text}" for text in also(experiment, experiment.also))
    for each in found:
        if len(found) > 1:
            yield from ("", f"### {made_on(each.directory)}", "")
        yield from of_place(each)
        yield from of_the_paper(experiment, each)
    planned = rulesets.load(str(rules(experiment.name))).plan
    missing = [label(arm) for arm in planned.arms if arm not in {row["arm"] for each in found for row in each.table["rows"]}]
    if missing:
        yield from (f"Not measured yet: {', '.join(missing)}. `{experiment.command()}` goes on.", "")
    yield from (f"Target: {format_percent(experiment.target)} % on validation. {experiment.beside}", "")
    for each in found:
        yield from (f"Made on {made_on(each.directory)}; {_source(experiment, each)}.", "")


def places(experiment: Experiment, name: str) -> list[Measured]:
    """What has been measured under a ruleset, by place."""
    return [each for place in experiment.directories(name) if (each := measured(experiment, place))]


def of_place(found: Measured) -> Iterator[str]:
    """What the runs of one place say, and their table."""
    table = found.table
    yield from (f"- {text}" for text in plainly(table))
    by_the_clock = "" if metered(table) else " Its times are by the clock."
    yield from ("", f"{table['answer']}{by_the_clock}", "", "Read this with it:", "", *(f"- {flag}" for flag in found.flags), "")
    headings = (*HEADINGS[:6], *(f"{word}, × backprop" for word, *_ in costs(table)), *HEADINGS[6:])
    yield from ("| " + " | ".join(headings) + " |", "|---" + "|---:" * (len(headings) - 1) + "|")
    for row in table["rows"]:
        yield "| " + " | ".join(cells(row, table, found.beside.get(row["arm"]))) + " |"
    yield ""


def also(experiment: Experiment, name: str) -> Iterator[str]:
    """What was measured under the other ruleset, beside what is published."""
    found = places(experiment, name)
    if not found:
        yield f"{experiment.also_words}: not measured yet."
    for each in found:
        for row in each.table["rows"]:
            accuracy, passes, runs = row["test_accuracy_fraction"], row["passes_count"], row["statuses"].get("ok", 0)
            if accuracy is None:
                continue
            beside = each.beside.get(row["arm"])
            published = "" if beside is None else (
                f"; published is {_published(beside.row.number)}, so {points(beside.gap)} points ({beside.verdict})"
            )  # fmt: skip
            yield (
                f"{experiment.also_words}, {row['label']} reached {_percent(accuracy)} % after {passes['mean']:g} passes "
                f"({runs} run{'' if runs == 1 else 's'}){published}. "
                f"Made on {made_on(each.directory)}; {_source(experiment, each)}."
            )


def _source(experiment: Experiment, found: Measured) -> str:
    options = "" if found.directory.name.endswith("-cpu") else f"--device cuda --tier {tiers(found.directory)[0]} "
    name = found.directory.name
    return f"[`benchmarks/results/{name}`](../benchmarks/results/{name}/report/summary.md), `{experiment.command(options)}`"


def only_a_gpu() -> str:
    """What a processor without a counter cannot say, with what a board has said elsewhere."""
    with BOARD.open() as lines:
        (row,) = (row for row in csv.DictReader(lines) if row["arm"] == "mono-forward")
    time, energy, flops = (two(float(row[f"mean_{name}_ratio"])) for name in ("time", "energy", "step_flops"))
    return (
        "Joules, and seconds of a board. They do not follow the multiply-adds: on MNIST `mlp:2x1000` joint Mono-Forward took "
        f"{time} times backprop's time and {energy} times its energy with {flops} of its multiply-adds "
        "([records](../benchmarks/results/mnist-mlp-2x1000/report/summary.md), tier eager, where much of a step of a small net "
        "is launches). The rows of GPUs above are of the tier `graph`, where the host launches a step by one call. `make answer` "
        "([the GPU kit](gpu-kit.md)) measures joules, seconds, clocks and power of a step and a pass on an NVIDIA GPU, on "
        "the net of experiment 1, in the tier eager; its joules are not to be compared with those above."
    )


def of_the_kit() -> Iterator[str]:
    """The page of the GPU kit, one level deeper, its figures where they lie."""
    if not KIT.exists():
        yield "`make answer` has not been run on a GPU yet; the rows of GPUs above were made by `experiments.py`."
        return
    for line in KIT.read_text(encoding="utf-8").splitlines():
        yield f"#{line}" if line.startswith("#") else line.replace("](", "](../benchmarks/results/answer/")


def page(experiments: Sequence[Experiment]) -> str:
    """The whole page."""
    lines = [
        "# Answers",
        "",
        "Does training without backpropagation save anything, what, under which rules, and how sure is that? Three experiments "
        f"of {PAPER}, each under one ruleset for all arms: the published learning rate times 1/2, 1 and 2 (bpfree's default "
        "where none is published), three trials of 10 passes on 10,000 examples. One search serves all seeds, so that no table "
        "says better or worse: that takes the ruleset `claim` ([why](why-one-ruleset.md)).",
        "",
        "    python benchmarks/experiments.py --page    # makes this page of the records that are committed",
        "",
    ]
    all_found = [(each, found) for each in experiments for found in places(each, each.name)]
    compared, controls = (
        [line for each, found in all_found for line in lines_of(each, found, control=control)] for control in (False, True)
    )
    lines += ["## In short", "", *in_short(compared, controls), ""]
    for experiment in experiments:
        lines += section(experiment)
    lines += ["## What only a GPU can add", "", only_a_gpu(), "", *of_the_kit()]
    return "\n".join(wrapped for line in lines for wrapped in _wrapped(line)).rstrip() + "\n"


def _wrapped(line: str) -> list[str]:
    """Prose in the width of the other documents; tables, code and headings as they are."""
    if line.startswith(("|", "#", "    ")):
        return [line]
    indent = "  " if line.startswith("- ") else ""
    wrapped = textwrap.wrap(line, WIDTH, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)
    return wrapped or [""]
