"""The landscape of one loss around and between trained models, as a file: written after every step, and resumed."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from bpfree.analysis._document import document_of
from bpfree.analysis.landscape_plan import PARTS, LandscapePlan
from bpfree.analysis.landscape_stats import compared, unknown
from bpfree.analysis.landscape_units import Unit, units_of
from bpfree.analysis.minima import Minimum, check_together
from bpfree.analysis.surface import Material, Surface
from bpfree.data import Dataset
from bpfree.errors import UsageError
from bpfree.files import locked, remove_parts, write_atomic, writing

__all__ = ["record_landscape"]

_ENDED = "never follows this loss's gradient through the whole net: the picture shows where it ended, not how it got there"
Entry = dict[str, Any]


def record_landscape(
    minima: Sequence[Minimum],
    data: Dataset,
    plan: LandscapePlan,
    directory: Path,
    *,
    start: Minimum | None = None,
    facts: Entry | None = None,
    on_unit: Callable[[str, Entry], None] = lambda _name, _result: None,
) -> Entry:
    """Compute the landscape of ``minima``; everything lies in ``directory/landscape.json``, rewritten after each step.

    A second call with the same arguments resumes where the first was stopped, or reads the finished file.

    Args:
        minima: the first one's label is the baseline of pairs and comparisons.
        data: what all of them were trained on; the test split is not read.
        start: the third point of planes; by default the models as they were drawn, where they record their seed.
        facts: JSON values that are written down and not compared (command, versions).
        on_unit: called with the name and the result of each step.

    Returns:
        The document: plan, ``models``, a list of entries for every part, ``comparison``, ``notes``, ``reasons`` for what is
        missing, ``complete``.

    Raises:
        DataError: models of different nets, data or splits, or of another split than ``data``, or with a loss that is not finite.
        UsageError: a part that these models cannot have, such as the line of one model.
        RunDirectoryError: the directory holds another analysis, or is in use.
        StorageError: it cannot be written.
    """
    check_together([*minima, *([start] if start else [])], data)
    _check_parts(minima, plan)
    material = Material.of(data, plan.examples, plan.norm_examples, torch.float64 if plan.double else minima[0].model.net.dtype)
    plan = dataclasses.replace(plan, examples=len(material.y), norm_examples=len(material.train_x))
    surfaces = {minimum.name: Surface(minimum.model, material) for minimum in minima}
    head = {
        "kind": "landscape",
        "dataset": data.name,
        "split": data.split_digest,
        "net": minima[0].model.header and minima[0].model.header.net,
        **{key: value for key, value in dataclasses.asdict(plan).items() if key != "parts"},
        "asked": list(plan.parts or PARTS),
        "models": [minimum.facts() for minimum in minima],
        "start": start and start.digest,
    }
    reasons: dict[str, str] = {}
    units = list(units_of(minima, surfaces, material, plan, start, reasons))
    _check_possible(plan, units, reasons)
    with writing(directory):
        directory.mkdir(parents=True, exist_ok=True)
    path = directory / "landscape.json"
    with locked(directory / ".lock"):
        remove_parts(directory)
        rest = {**(facts or {}), **{part: [] for part in PARTS}, "comparison": {}, "notes": [], "reasons": {}, "complete": False}
        document = document_of(path, head, rest)
        if document["complete"]:
            return document
        for unit in units:
            if any(entry["of"] == list(unit.names) and _agrees(entry, unit.facts) for entry in document[unit.part]):
                continue
            entry = {"of": list(unit.names), **unit.facts, **_rounded(unit.compute())}
            document[unit.part].append(entry)
            write_atomic(path, _text(document))
            on_unit(f"{unit.part} of {' and '.join(unit.names)}", entry)
        document["reasons"] = reasons | unknown(document)
        document["notes"] = _notes(minima, surfaces)
        document["comparison"] = compared(document)
        document["complete"] = True
        write_atomic(path, _text(document))
    return document


def _check_parts(minima: Sequence[Minimum], plan: LandscapePlan) -> None:
    for part in ("line", "plane"):
        if part in plan.parts and len(minima) < 2:
            raise UsageError(f"a {part} needs two models, got {len(minima)}; give another model, or --part slices")


def _check_possible(plan: LandscapePlan, units: Sequence[Unit], reasons: dict[str, str]) -> None:
    """A part that was asked for by name is computed or refused."""
    for part in plan.parts:
        if not any(unit.part == part for unit in units):
            raise UsageError(f"no {part} can be computed: {next(iter(reasons.values()), 'the models have none in common')}")


def _notes(minima: Sequence[Minimum], surfaces: dict[str, Surface]) -> list[str]:
    """What a reader must know of the rules."""
    lines = [f"{label} {_ENDED}" for label in dict.fromkeys(m.label for m in minima if not m.descends)]
    other = dict.fromkeys(m.label for m in minima if surfaces[m.name].space != "net")
    lines += [f"{label} is not read out by the net's output: its scores are taken as logits as they are" for label in other]
    return lines


def _agrees(entry: Entry, facts: Entry) -> bool:
    return all(entry.get(key) == value for key, value in facts.items())


def _rounded(value: Any) -> Any:
    """JSON values with seven digits; what is not finite is null."""
    if isinstance(value, float):
        return float(f"{value:.7g}") if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _rounded(each) for key, each in value.items()}
    return [_rounded(each) for each in value] if isinstance(value, list | tuple) else value


def _text(document: Entry) -> str:
    return json.dumps(document, indent=None) + "\n"
