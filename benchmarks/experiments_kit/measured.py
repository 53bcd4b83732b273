"""What the records of an experiment say, beside what is published."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bpfree import published, report
from bpfree.published import Number
from bpfree.report.beside import Beside, SuiteFacts, SuiteRow, measured_beside, points
from bpfree.report.labels import arm_label
from bpfree.rulesets.schema import whole_name
from bpfree.units import MISSING, format_percent
from experiments_kit.listed import Experiment, Place

PAPER = "arXiv 2509.19063, revision of 2026"
Values = Mapping[str, Any]

METERED = (("time", "time_s", "time_ratio"), ("energy", "energy_j", "energy_ratio"))
SHARED = (("processor time", "cpu_s", "cpu_ratio"),)
"""What a run costs: in words, and the keys of its own value and of its ratio to backprop's."""


def metered(table: Values) -> bool:
    """Whether a counter measured joules."""
    return any(row["energy_j"] for row in table["rows"])


def costs(table: Values) -> tuple[tuple[str, str, str], ...]:
    """Wall time and joules where a counter measured; else processor time, which other work lengthens less."""
    return METERED if metered(table) else SHARED


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
    """Measured beside published, by arm, where something is published for the directory's ruleset."""
    own = directory.name.removesuffix("-cpu") != experiment.also
    rows = [
        SuiteRow(
            section=experiment.title, ruleset=experiment.name, dataset=table["dataset"], measured_dataset=table["dataset"],
            net=table["net"], arm=arm, number=number_at(table, where),
        )
        for arm, where in (experiment.published if own else experiment.also_published).items()
    ]  # fmt: skip
    facts = SuiteFacts(name=experiment.name, title=experiment.title, paper=PAPER)
    return {each.row.arm: each for each in measured_beside(facts, rows, {experiment.name: directory})}


def number_at(table: Values, where: Place) -> Number:
    """What the paper says there of the table's data and net."""
    return published.find(where.table, whole_name(table["dataset"]), table["net"], where.algorithm, where.variant, where.protocol)


def contradictions(table: Values, beside: Mapping[str, Beside]) -> Iterator[str]:
    """What goes against the paper, then against hope: arms that differ from what is published, or do not beat frozen blocks.

    The baseline's distance to what is published of it comes first, whatever it is: every difference to it hangs on it.
    """
    for arm, each in beside.items():
        if each.word.startswith("differs"):
            yield f"**{label(arm)} {each.word.replace('differs', 'differs from the paper')}**: {points(each.gap)} points."
        elif arm == table["baseline"] and each.gap is not None:
            yield f"{label(arm)} itself, less what is published of it: {points(each.gap)} points ({each.verdict})."
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
            f"{row['label']}: {with_interval(row['difference_fraction'])} points to backprop ({row['verdict']}), at "
            f"{times(row, 'step_flops_ratio')} of its FLOPs a step"
            f"{''.join(f' and {times(row, key)} of its {word}' for word, _, key in costs(table))}; {to_target}."
        )


def two(value: float) -> str:
    """With two digits behind the point."""
    return f"{value:.2f}"


def _ratio(value: float | None, base: float | None) -> str:
    return MISSING if value is None or not base else two(value / base)


def times(row: Values, key: str) -> str:
    """The mean of a ratio."""
    return MISSING if row[key] is None else two(row[key]["mean"])


def mean_of(mean: Values | None) -> float | None:
    """The number alone; None where there is none."""
    return None if mean is None else mean["mean"]


def pairs_in_words(count: int) -> str:
    """``1 pair``, ``2 pairs``."""
    return f"{count} pair{'' if count == 1 else 's'}"


def with_interval(mean: Values | None) -> str:
    """A difference in points, and its interval where there is one."""
    if mean is None or mean["mean"] is None:  # no pair has ended
        return MISSING
    text = f"{100 * mean['mean']:+.2f}"
    return text if mean["low"] is None else f"{text} [{100 * mean['low']:+.2f}, {100 * mean['high']:+.2f}]"


def label(arm: str) -> str:
    """``cascaded-forward (dfa)`` of ``cascaded-forward:blocks=dfa``."""
    name, _, variant = arm.partition(":")
    return arm_label(name, variant)


def made_on(directory: Path) -> str:
    """Device, torch and tier of the records of a place."""
    devices = [
        f"{_device(each)} (torch {each['versions']['torch']}{', CUDA ' + each['cuda'] if each.get('cuda') else ''})"
        for each in _environments(directory)
    ]
    return f"{' and '.join(devices)}, tier {' and '.join(tiers(directory))}"


def device_of(directory: Path) -> str:
    """The device alone."""
    return " and ".join(dict.fromkeys(_device(each) for each in _environments(directory)))


def _environments(directory: Path) -> list[Values]:
    return list(json.loads((directory / "environment.json").read_text(encoding="utf-8")).values())


def _device(environment: Values) -> str:
    return environment.get("gpu") or environment["processor"]


def tiers(directory: Path) -> list[str]:
    """In which the records of a place were made."""
    records = (directory / "records.jsonl").read_text(encoding="utf-8").splitlines()
    return list(dict.fromkeys(json.loads(line)["tier"] for line in records))
