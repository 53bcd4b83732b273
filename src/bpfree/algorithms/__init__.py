"""Learning rules: one file each, its mathematics in the docstring. Third parties add theirs by the entry point below."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib.metadata import entry_points

from bpfree.algorithms._base import Algorithm, Carry, LocalAlgorithm, Phase, Traits
from bpfree.algorithms._fields import Value, choice, flag, natural, number, parse
from bpfree.algorithms._state import Hyper, Optimiser, Slot, State, model_tensors, named_tensors
from bpfree.algorithms.backprop import Backprop
from bpfree.algorithms.cascaded_forward import CascadedForward
from bpfree.algorithms.deep_supervision import DeepSupervision
from bpfree.algorithms.direct_feedback_alignment import DirectFeedbackAlignment
from bpfree.algorithms.feedback_alignment import FeedbackAlignment
from bpfree.algorithms.forward_forward import ForwardForward
from bpfree.algorithms.foton import Foton
from bpfree.algorithms.local_similarity import LocalSimilarity
from bpfree.algorithms.mono_forward import MonoForward
from bpfree.algorithms.pepita import Pepita
from bpfree.algorithms.sign_symmetry import SignSymmetry
from bpfree.algorithms.spatial_goodness import SpatialGoodness
from bpfree.errors import unknown_name
from bpfree.nets.orthogonal import NotOrthogonalWarning

__all__ = [
    "ENTRY_POINT_GROUP",
    "Algorithm",
    "Backprop",
    "Carry",
    "CascadedForward",
    "DeepSupervision",
    "DirectFeedbackAlignment",
    "FeedbackAlignment",
    "ForwardForward",
    "Foton",
    "Hyper",
    "LocalAlgorithm",
    "LocalSimilarity",
    "MonoForward",
    "NotOrthogonalWarning",
    "Optimiser",
    "Pepita",
    "Phase",
    "SignSymmetry",
    "Slot",
    "SpatialGoodness",
    "State",
    "Traits",
    "Value",
    "choice",
    "flag",
    "make",
    "model_tensors",
    "named_tensors",
    "names",
    "natural",
    "number",
    "registry",
]

ENTRY_POINT_GROUP = "bpfree.algorithms"
"""Packages that declare an entry point of this group (name = "package.module:Class") add a rule."""

_OWN: tuple[type[Algorithm], ...] = (
    Backprop,
    CascadedForward,
    DeepSupervision,
    DirectFeedbackAlignment,
    FeedbackAlignment,
    ForwardForward,
    Foton,
    LocalSimilarity,
    MonoForward,
    Pepita,
    SignSymmetry,
    SpatialGoodness,
)


@cache
def registry() -> dict[str, type[Algorithm]]:
    """Name to class of every rule that is installed: ours, then those of third parties."""
    rules = {rule.name: rule for rule in _OWN}
    for point in entry_points(group=ENTRY_POINT_GROUP):
        rules.setdefault(point.name, point.load())
    return rules


def names() -> tuple[str, ...]:
    """Registered names, sorted."""
    return tuple(sorted(registry()))


def make(name: str, params: Mapping[str, str | Value] | None = None) -> Algorithm:
    """Build a rule by name; values may be text, as on the command line.

    Raises:
        UsageError: an unknown rule or hyper-parameter (with the nearest names), or a value out of range.
    """
    rules = registry()
    if name not in rules:
        raise unknown_name("algorithm", name, rules)
    return rules[name](**parse(name, rules[name], params or {}))
