"""The steps of a landscape: what is computed of which models, and why something cannot be."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from bpfree.analysis.connectivity import line, plane
from bpfree.analysis.curvature import curvature
from bpfree.analysis.landscape_plan import LandscapePlan
from bpfree.analysis.minima import Minimum, line_pairs, redrawn, together
from bpfree.analysis.slices import RISE, random_slices, sharpness
from bpfree.analysis.surface import Material, Surface
from bpfree.errors import DataError, UsageError

__all__ = ["Unit", "units_of"]

_NO_SEED = "the file of {} does not say the seed of its training; give its start as --start MODEL"

Entry = dict[str, Any]


@dataclass(frozen=True)
class Unit:
    """One step: what it is of, and what computes it."""

    part: str
    names: tuple[str, ...]
    facts: Entry
    compute: Callable[[], Entry]


def units_of(
    minima: Sequence[Minimum],
    surfaces: dict[str, Surface],
    material: Material,
    plan: LandscapePlan,
    start: Minimum | None,
    reasons: dict[str, str],
) -> Iterator[Unit]:
    for minimum in minima:
        yield from _around(minimum, surfaces[minimum.name], plan, reasons)
    if plan.asks("line"):
        for kind, first, last in line_pairs(minima):
            if why := _apart(surfaces, first, last):
                reasons[f"line of {first.name} and {last.name}"] = why
            else:
                yield _line_unit(kind, first, last, surfaces, plan)
    if plan.asks("plane"):
        yield from _planes(minima, surfaces, material, plan, start, reasons)


def _around(minimum: Minimum, surface: Surface, plan: LandscapePlan, reasons: dict[str, str]) -> Iterator[Unit]:
    point, names = surface.origin, (minimum.name,)

    def slices() -> Entry:
        loss, accuracy = surface.loss_and_accuracy(point)
        if not math.isfinite(loss):
            raise DataError(f"the loss of {minimum.file} is not finite; train it again with a lower learning rate")
        cuts = random_slices(surface, point, directions=plan.directions, points=plan.points, radius=plan.radius, seed=plan.seed)
        about = {"loss": loss, "accuracy": accuracy, "rise": cuts.rise, "width": cuts.width(), "width_at": RISE}
        return {**about, "distances": cuts.distances, "mean": cuts.mean, "sd": cuts.sd, "losses": cuts.losses}

    if plan.asks("slices"):
        yield Unit("slices", names, {}, slices)
    for part, compute in (
        ("sharpness", lambda: dataclasses.asdict(sharpness(surface, point, plan.rho))),
        ("curvature", lambda: dataclasses.asdict(curvature(surface, point, probes=plan.probes, seed=plan.seed))),
    ):
        if plan.asks(part) and surface.no_gradient:
            reasons[f"{part} of {minimum.name}"] = surface.no_gradient
        elif plan.asks(part):
            yield Unit(part, names, {}, compute)


def _line_unit(kind: str, first: Minimum, last: Minimum, surfaces: dict[str, Surface], plan: LandscapePlan) -> Unit:
    def compute() -> Entry:
        one, other = surfaces[first.name], surfaces[last.name]
        path = line(one, one.origin, other.origin, plan.points)
        _check_end(path.loss[-1], other, last)
        return {**dataclasses.asdict(path), "barrier": path.barrier, "at": path.at}

    return Unit("line", (first.name, last.name), {"between": kind}, compute)


def _check_end(loss: float, other: Surface, minimum: Minimum) -> None:
    """The end of a line is the other model, unless its scores read something that is not moved (a chosen readout, say)."""
    expected = other.loss(other.origin)
    if abs(loss - expected) > 1e-4 * max(1.0, abs(expected)):
        raise UsageError(f"{minimum.file} reads its scores out in another way than the model at the other end; leave it out")


def _planes(
    minima: Sequence[Minimum],
    surfaces: dict[str, Surface],
    material: Material,
    plan: LandscapePlan,
    start: Minimum | None,
    reasons: dict[str, str],
) -> Iterator[Unit]:
    """The baseline, each rival and their start, at the lowest seed that both have."""
    table = together(minima)
    baseline = table.get(minima[0].label, {})
    rivals = [(label, of_label) for label, of_label in table.items() if label != minima[0].label]
    if start is not None and len(minima) == 2:
        chosen = [(minima[0], minima[1])]
    else:
        common = [(of_label, sorted(baseline.keys() & of_label.keys())) for _, of_label in rivals]
        chosen = [(baseline[seeds[0]], of_label[seeds[0]]) for of_label, seeds in common if seeds]
    if not chosen and len(minima) > 1:
        unnamed = next((minimum for minimum in minima if minimum.seed is None), None)
        reasons["plane"] = _NO_SEED.format(unnamed.file) if unnamed else "no two models of two rules have one seed in common"
    for first, last in chosen:
        third = _start(first, last, surfaces, material, start)
        if isinstance(third, str):
            reasons[f"plane of {first.name} and {last.name}"] = third
        else:
            yield _plane_unit(first, last, surfaces, third, plan)


def _plane_unit(first: Minimum, last: Minimum, surfaces: dict[str, Surface], third: torch.Tensor, plan: LandscapePlan) -> Unit:
    def compute() -> Entry:
        one, other = surfaces[first.name], surfaces[last.name]
        return dataclasses.asdict(plane(one, one.origin, other.origin, third, plan.plane_points))

    return Unit("plane", (first.name, last.name), {"third": "start"}, compute)


def _start(
    first: Minimum, last: Minimum, surfaces: dict[str, Surface], material: Material, start: Minimum | None
) -> torch.Tensor | str:
    """The third point of a plane, or why there is none."""
    if why := _apart(surfaces, first, last):
        return why
    models = [start.model] if start else [redrawn(first), redrawn(last)]
    points = []
    for model, minimum in zip(models, (start,) if start else (first, last), strict=True):
        if model is None:
            return _NO_SEED.format(minimum.file if minimum else "")
        surface = Surface(model, material)
        if surface.space != surfaces[first.name].space or len(surface.origin) != len(surfaces[first.name].origin):
            return f"the start of {first.name} reads out other parameters than the model"
        points.append(surface.origin)
    if not all(torch.equal(point, points[0]) for point in points):
        return f"{first.name} and {last.name} start from different weights"
    return points[0]


def _apart(surfaces: dict[str, Surface], first: Minimum, last: Minimum) -> str:
    """Why two models have no line; empty where they have one."""
    if surfaces[first.name].space == surfaces[last.name].space:
        return ""
    return f"the scores of {first.name} and {last.name} depend on different parameters, so no line leads from one to the other"
