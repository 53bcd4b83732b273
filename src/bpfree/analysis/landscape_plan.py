"""What is computed of a landscape, and how finely."""

from __future__ import annotations

import math
from dataclasses import dataclass

from bpfree.errors import UsageError, unknown_name

__all__ = ["PARTS", "LandscapePlan"]

PARTS = ("slices", "sharpness", "curvature", "line", "plane")
"""What can be computed: around each model, between two, through three."""


@dataclass(frozen=True, kw_only=True)
class LandscapePlan:
    """What is computed, and how finely.

    Attributes:
        parts: of :data:`PARTS`; empty for all that the models allow.
        examples: of the validation split, the first in stored order, on which the loss is taken.
        norm_examples: of the training split, on which BatchNorm's statistics are taken again at every point.
        points: on a line or a slice. plane_points: on a side of a plane.
        directions: random slices around each model.
        radius: of a slice, in units of the norm of each filter.
        rho: radius of the sharpness.
        probes: random vectors of the Hessian's trace.
        double: compute in float64.

    Raises:
        UsageError: a number out of range, or an unknown part.
    """

    parts: tuple[str, ...] = ()
    examples: int = 2000
    norm_examples: int = 1000
    points: int = 21
    plane_points: int = 15
    directions: int = 10
    radius: float = 1.0
    rho: float = 0.05
    probes: int = 20
    seed: int = 0
    double: bool = False

    def __post_init__(self) -> None:
        least = {"examples": 1, "norm_examples": 2, "points": 2, "plane_points": 2, "directions": 1, "probes": 2, "seed": 0}
        for name, value in least.items():
            if getattr(self, name) < value:
                raise UsageError(f"{name} must be at least {value}, got {getattr(self, name)}")
        for name in ("radius", "rho"):
            if not (getattr(self, name) > 0 and math.isfinite(getattr(self, name))):
                raise UsageError(f"{name} must be a finite number above 0, got {getattr(self, name):g}")
        for part in self.parts:
            if part not in PARTS:
                raise unknown_name("part", part, PARTS)

    def asks(self, part: str) -> bool:
        """Whether a part is wanted."""
        return not self.parts or part in self.parts
