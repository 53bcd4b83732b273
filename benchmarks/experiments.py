"""The three experiments of docs/answers.md: run them, and make the page of the records that are there.

    python benchmarks/experiments.py 1 2 3 --data-dir DIR    # runs what is missing of each (hours on two cores), then the page
    python benchmarks/experiments.py --page                  # the page alone

An experiment is ``bpfree compare`` with a ruleset of ``benchmarks/rulesets``; it resumes. Records and reports go to
``benchmarks/results/NAME``, those of a processor to ``NAME-cpu``: each has a table. Of each experiment the page says, first, what
contradicts the paper or our hope.
"""

from __future__ import annotations

import argparse
import csv
import json
import subprocess
import sys
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bpfree import published, report, rulesets
from bpfree.files import write_atomic
from bpfree.published import Number
from bpfree.report.beside import Beside, SuiteFacts, SuiteRow, measured_beside, points
from bpfree.report.labels import arm_label
from bpfree.rulesets.schema import whole_name
from bpfree.units import MISSING, format_bytes, format_count, format_energy, format_percent, format_time

HERE = Path(__file__).parent
RESULTS = HERE / "results"
PAGE = HERE.parent / "docs" / "answers.md"
PAPER = "arXiv 2509.19063, revision of 2026"
Values = Mapping[str, Any]

WIDTH = 130
BOARD = RESULTS / "mnist-mlp-2x1000" / "report" / "summary.csv"
"""Of a GPU, under `claim`."""
KIT = RESULTS / "answer" / "answer.md"
"""What ``make answer`` wrote on a GPU; the page takes it in where it is committed."""


@dataclass(frozen=True)
class Experiment:
    """One table of the page.

    Attributes:
        name: of the ruleset, and of the directory of its results.
        target: validation accuracy (a fraction) up to which operations are counted.
        published: (table, algorithm, variant) of :mod:`bpfree.published` by arm.
        beside: what must be known before a published number is held against a measured one.
    """

    name: str
    title: str
    question: str
    target: float
    published: Mapping[str, tuple[str, str, str]]
    beside: str

    @property
    def rules(self) -> Path:
        """The ruleset's file."""
        return HERE / "rulesets" / f"{self.name}.yaml"

    def directory(self, device: str) -> Path:
        """Its records and report on a device: a run goes on on the device that it began on, and a pair is of one device."""
        return RESULTS / (self.name if device.startswith("cuda") else f"{self.name}-cpu")

    @property
    def directories(self) -> tuple[Path, ...]:
        """Where records have been written."""
        places = (self.directory("cuda"), self.directory("cpu"))
        return tuple(place for place in places if (place / "records.jsonl").exists())

    def command(self, options: str = "") -> str:
        """What runs it."""
        number = EXPERIMENTS.index(self) + 1
        return f"python benchmarks/experiments.py {number} {options}--data-dir DIR"


EXPERIMENTS = (
    Experiment(
        "cifar10-mlp-3x2000",
        "CIFAR-10, three blocks of 2000: does training block by block cost accuracy, and what does it save?",
        "Detached joint Mono-Forward at its own convergence has been published nowhere on this net: what the paper calls "
        '"MF-Joint" back-propagates through the whole net (here `deep-supervision`).',
        0.50,
        {
            "backprop": ("spyra2026-ladder", "backprop", ""),
            "mono-forward:schedule=staged": ("spyra2026-ladder", "mono-forward", "staged"),
            "deep-supervision:aux_weight=9.506": ("spyra2026-ladder", "deep-supervision", "mf-joint"),
            "deep-supervision:output=own:aux_weight=0.171": ("spyra2026-ladder", "deep-supervision", "bp-ds"),
        },
        "The paper's cap is 100 passes for a run of backprop and for *each stage* of Mono-Forward; here every arm has 50 in all.",
    ),
    Experiment(
        "mnist-mlp-4x2000",
        "MNIST, four blocks of 2000: Forward-Forward",
        "Forward-Forward against backprop and joint Mono-Forward on the same net, with at most 10 passes each.",
        0.97,
        {"forward-forward:weight_decay=3.1e-4": ("spyra2026-differences", "forward-forward", "adamw")},
        "The paper's runs had up to 100 passes; here every arm has 10. It publishes the difference to backprop.",
    ),
    Experiment(
        "cifar10-cnn3",
        "CIFAR-10, three convolution blocks: Cascaded-Forward",
        "Cascaded-Forward with random and with DFA-trained blocks against backprop and joint Mono-Forward on the same net, with "
        "at most 10 passes each.",
        0.60,
        {
            "backprop": ("spyra2026-uniform", "backprop", ""),
            "cascaded-forward": ("spyra2026-uniform", "cascaded-forward", "rand-ce"),
            "cascaded-forward:blocks=dfa": ("spyra2026-uniform", "cascaded-forward", "dfa-ce"),
        },
        "The paper's phases had a cap each, of up to 1271 passes; here all phases of an arm share 10.",
    ),
)

HEADINGS = (
    *("arm", "runs", "test accuracy, %", "less backprop, points", "less frozen, points", "passes"),
    *("FLOPs to the target", "FLOPs of a run, × backprop", "memory of a step, × backprop", "published"),
    "measured less published",
)

METERED = (("time", "time_s", "time_ratio"), ("energy", "energy_j", "energy_ratio"))
SHARED = (("processor time", "cpu_s", "cpu_ratio"),)
"""What a run costs: in words, and the keys of its own value and of its ratio to backprop's."""


def costs(table: Values) -> tuple[tuple[str, str, str], ...]:
    """Wall time and joules where a counter measured; else processor time, which other work lengthens less."""
    return METERED if any(row["energy_j"] for row in table["rows"]) else SHARED


def run(experiment: Experiment, data_dir: Path | None, device: str = "cpu", tier: str = "eager") -> int:
    """What is missing of an experiment, by ``bpfree compare``; its exit status."""
    command = [sys.executable, "-m", "bpfree", "compare", "--ruleset", str(experiment.rules)]
    command += ["--out", str(experiment.directory(device)), "--device", device, "--tier", tier]
    return subprocess.run([*command, *(["--data-dir", str(data_dir)] if data_dir else [])], check=False).returncode


@dataclass(frozen=True)
class Measured:
    """What the records of one place say.

    Attributes:
        table: the only one.
        flags: what is to be read with it.
        beside: measured beside published, by arm, where something is published.
    """

    directory: Path
    table: Values
    flags: list[str]
    beside: Mapping[str, Beside]


def measured(experiment: Experiment, directory: Path) -> Measured | None:
    """What was measured in one place; None where no run has ended."""
    found = report.summarise([directory], experiment.target)
    if not found["tables"]:
        return None
    table = found["tables"][0]
    return Measured(directory, table, found["flags"], besides(experiment, table, directory))


def besides(experiment: Experiment, table: Values, directory: Path) -> dict[str, Beside]:
    """Measured beside published, by arm, where something is published."""
    rows = [
        SuiteRow(
            section=experiment.title, ruleset=experiment.name, dataset=table["dataset"], measured_dataset=table["dataset"],
            net=table["net"], arm=arm, number=_number(table, *where),
        )
        for arm, where in experiment.published.items()
    ]  # fmt: skip
    facts = SuiteFacts(name=experiment.name, title=experiment.title, paper=PAPER)
    return {each.row.arm: each for each in measured_beside(facts, rows, {experiment.name: directory})}


def _number(table: Values, source: str, algorithm: str, variant: str) -> Number:
    return published.find(source, whole_name(table["dataset"]), table["net"], algorithm, variant, "own-convergence")


def contradictions(table: Values, beside: Mapping[str, Beside]) -> Iterator[str]:
    """What goes against the paper, then against hope: arms that differ from what is published, or do not beat frozen blocks."""
    for arm, each in beside.items():
        if each.word.startswith("differs"):
            yield f"**{label(arm)} {each.word.replace('differs', 'differs from the paper')}**: {points(each.gap)} points."
    for above in table["above_controls"]:
        no_higher = above["mean"] is not None and above["mean"] <= 0
        if above["beats"] is False or no_higher:
            ended = "did not end above" if no_higher else "is not shown to end above"
            yield f"**In these runs {above['arm']} {ended} blocks that stay as they were drawn**: {above['sentence']}"


def plainly(table: Values) -> Iterator[str]:
    """For each arm but the baseline and the control: what it costs, and what it reaches."""
    reached = {each["arm"]: each for each in table["target"]["arms"]}
    at = format_percent(table["target"]["val_accuracy_fraction"])
    base = reached[table["baseline"]]["median_flops"]
    for row in table["rows"]:
        if row["arm"] == table["baseline"] or row["algorithm"] == "frozen" or not row["test_accuracy_fraction"]:
            continue
        passes, flops = (reached[row["arm"]][key] for key in ("median_passes_count", "median_flops"))
        if passes is None:
            to_target = f"did not reach {at} % on validation"
        elif flops is None:  # in records of earlier versions
            to_target = f"reached {at} %, after FLOPs that were not counted"
        else:
            to_target = f"needs {_ratio(flops, base)} of its FLOPs to reach {at} %"
        yield (
            f"{row['label']}: {_points(row['difference_fraction'])} points to backprop ({row['verdict']}), at "
            f"{_times(row, 'step_flops_ratio')} of its FLOPs a step"
            f"{''.join(f' and {_times(row, key)} of its {word}' for word, _, key in costs(table))}; {to_target}."
        )


def _two(value: float) -> str:
    return f"{value:.2f}"


def _ratio(value: float | None, base: float | None) -> str:
    return MISSING if value is None or not base else _two(value / base)


def _times(row: Values, key: str) -> str:
    return MISSING if row[key] is None else _two(row[key]["mean"])


def _points(mean: Values | None) -> str:
    if mean is None:
        return MISSING
    text = f"{100 * mean['mean']:+.2f}"
    return text if mean["low"] is None else f"{text} [{100 * mean['low']:+.2f}, {100 * mean['high']:+.2f}]"


def label(arm: str) -> str:
    """``cascaded-forward (dfa)`` of ``cascaded-forward:blocks=dfa``."""
    name, _, variant = arm.partition(":")
    return arm_label(name, variant)


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
        "baseline" if row is base else _points(row["difference_fraction"]),
        MISSING if above is None else _points(above),
        MISSING if row["passes_count"] is None else f"{row['passes_count']['mean']:g}",
        *(_cost(row, base, *keys) for _, *keys in costs(table)),
        "never" if reached["median_passes_count"] is None else format_count(reached["median_flops"]),
        MISSING if total is None or base["run_flops"] is None else _two(total["mean"] / base["run_flops"]["mean"]),
        MISSING if not (row["peak_memory_bytes"] and base["peak_memory_bytes"]) else _memory(row, base),
        MISSING if number is None else _published(number),
        MISSING if beside is None else f"{points(beside.gap)} ({beside.verdict})",
    )


def _cost(row: Values, base: Values, own: str, ratio: str) -> str:
    if row is base and row[own]:
        value = row[own]["mean"]
        return format_time(value) if own.endswith("_s") else format_energy(value)
    return _times(row, ratio)


def _percent(mean: Values) -> str:
    half = "" if mean["low"] is None else f" ± {100 * (mean['high'] - mean['mean']):.2f}"
    return f"{100 * mean['mean']:.2f}{half}"


def _memory(row: Values, base: Values) -> str:
    if row is base:
        return format_bytes(base["peak_memory_bytes"])
    return _two(row["peak_memory_bytes"] / base["peak_memory_bytes"])


def _published(number: Number) -> str:
    if number.accuracy is not None:
        return f"{100 * number.accuracy:.2f}"
    return MISSING if number.difference is None else f"{100 * number.difference:+.2f} points to backprop"


def section(number: int, experiment: Experiment) -> Iterator[str]:
    """The part of the page about one experiment: a table for each place."""
    yield from (f"## {number}. {experiment.title}", "", experiment.question, "")
    found = [each for place in experiment.directories if (each := measured(experiment, place))]
    if not found:
        yield from (f"**Not measured yet.** `{experiment.command()}`", "")
        return
    for each in found:
        if len(found) > 1:
            yield from (f"### {made_on(each.directory)}", "")
        yield from of_place(each)
    planned = rulesets.load(str(experiment.rules)).plan
    missing = [label(arm) for arm in planned.arms if arm not in {row["arm"] for each in found for row in each.table["rows"]}]
    if missing:
        yield from (f"Not measured yet: {', '.join(missing)}. `{experiment.command()}` goes on.", "")
    yield from (f"Target: {format_percent(experiment.target)} % on validation. {experiment.beside}", "")
    for each in found:
        tier = tiers(each.directory)[0]
        on_gpu = each.directory == experiment.directory("cuda")
        command = experiment.command(f"--device cuda --tier {tier} " if on_gpu else "")
        yield from (f"Made on {made_on(each.directory)}; `benchmarks/results/{each.directory.name}`, `{command}`.", "")


def of_place(found: Measured) -> Iterator[str]:
    """What the runs of one place say, and their table."""
    table, beside = found.table, found.beside
    yield from (f"- {text}" for text in (*contradictions(table, beside), *plainly(table)))
    yield from ("", f"{table['answer']}", "", "Read this with it:", "", *(f"- {flag}" for flag in found.flags), "")
    headings = (*HEADINGS[:6], *(f"{word}, × backprop" for word, *_ in costs(table)), *HEADINGS[6:])
    yield from ("| " + " | ".join(headings) + " |", "|---" + "|---:" * (len(headings) - 1) + "|")
    for row in table["rows"]:
        yield "| " + " | ".join(cells(row, table, beside.get(row["arm"]))) + " |"
    yield ""


def made_on(directory: Path) -> str:
    """Device, torch and tier of the records of a place."""
    facts = json.loads((directory / "environment.json").read_text(encoding="utf-8"))
    devices = [
        f"{each.get('gpu') or each['processor']} (torch {each['versions']['torch']}"
        f"{', CUDA ' + each['cuda'] if each.get('cuda') else ''})"
        for each in facts.values()
    ]
    return f"{' and '.join(devices)}, tier {' and '.join(tiers(directory))}"


def tiers(directory: Path) -> list[str]:
    """In which the records of a place were made."""
    records = (directory / "records.jsonl").read_text(encoding="utf-8").splitlines()
    return list(dict.fromkeys(json.loads(line)["tier"] for line in records))


def only_a_gpu() -> str:
    """What a processor without a counter cannot say, with what a board has said elsewhere."""
    with BOARD.open() as lines:
        (row,) = (row for row in csv.DictReader(lines) if row["arm"] == "mono-forward")
    time, energy, flops = (_two(float(row[f"mean_{name}_ratio"])) for name in ("time", "energy", "step_flops"))
    return (
        "Joules, and seconds of a board. On a processor a step costs what its multiply-adds cost. On a GPU an eager step of a "
        "small net is mostly launches: on MNIST `mlp:2x1000` joint Mono-Forward took "
        f"{time} times backprop's time and {energy} times its energy with {flops} of its multiply-adds "
        "(`benchmarks/results/mnist-mlp-2x1000`, an H100, tier eager). In the tier `graph` the host launches a step by one call, "
        "and what is left is the arithmetic. `make answer` ([the GPU kit](gpu-kit.md)) measures joules, seconds, clocks and "
        "power on an NVIDIA GPU, on the net of experiment 1."
    )


def of_the_kit() -> Iterator[str]:
    """The page of the GPU kit, one level deeper, its figures where they lie."""
    if not KIT.exists():
        yield "It has not been run on a GPU yet."
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
    for number, experiment in enumerate(experiments, start=1):
        lines += section(number, experiment)
    lines += ["## What only a GPU can add", "", only_a_gpu(), "", *of_the_kit()]
    return "\n".join(wrapped for line in lines for wrapped in _wrapped(line)).rstrip() + "\n"


def _wrapped(line: str) -> list[str]:
    """Prose in the width of the other documents; tables, code and headings as they are."""
    if line.startswith(("|", "#", "    ")):
        return [line]
    indent = "  " if line.startswith("- ") else ""
    wrapped = textwrap.wrap(line, WIDTH, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)
    return wrapped or [""]


def main(arguments: Sequence[str] | None = None) -> int:
    """The command."""
    numbered = "\n".join(f"  {number}  {experiment.name}" for number, experiment in enumerate(EXPERIMENTS, 1))
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=f"experiments:\n{numbered}", formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("numbers", nargs="*", type=int, help="experiments to run, by their numbers below")
    parser.add_argument("--data-dir", type=Path, default=None, help="holds mnist/ and cifar-10-batches-py/ (or BPFREE_DATA)")
    parser.add_argument("--device", default="cpu", help="cpu or cuda; a run goes on on the device that it began on")
    parser.add_argument("--tier", default="eager", help="eager, compiled or graph; the same for all runs of an experiment")
    parser.add_argument("--page", action="store_true", help="only the page")
    asked = parser.parse_args(arguments)
    known = range(1, len(EXPERIMENTS) + 1)
    if not (asked.numbers or asked.page) or not all(number in known for number in asked.numbers):
        parser.error(f"name experiments ({', '.join(map(str, known))}), or give --page")
    for number in asked.numbers:
        status = run(EXPERIMENTS[number - 1], asked.data_dir, asked.device, asked.tier)
        if status:
            return status
    write_atomic(PAGE, page(EXPERIMENTS))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
