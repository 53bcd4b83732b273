"""Learning rules: a file or a package each, its mathematics in the docstring. Third parties add theirs by the entry point below.

A rule is an :class:`Algorithm`; ``step``, ``check_net``, ``reset`` and the like are functions that take one.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib.metadata import entry_points
from typing import Any

from bpfree.algorithms._base import Algorithm, BlockGradients, ChoosesReadout, KnownWeaknessWarning, LocalAlgorithm
from bpfree.algorithms._closed_form import block_activity, block_forward, block_gradients, frozen_features, has_closed_form
from bpfree.algorithms._cost import BlockShape, Cost, Shape, shape_of
from bpfree.algorithms._declared import Phase, Traits, Upkeep
from bpfree.algorithms._fields import Value, choice, flag, natural, number, numeric, params, parse, readout_field
from bpfree.algorithms._heads import block_scores, has_block_heads
from bpfree.algorithms._running import (
    check_net,
    check_precision,
    check_weights,
    cost_of,
    features_of,
    maths_used,
    on_net,
    reset,
    step,
)
from bpfree.algorithms._state import (
    HeadSlot,
    Hyper,
    LearningSlot,
    NetState,
    Optimiser,
    ProjectionSlot,
    Slot,
    State,
    model_tensors,
    named_tensors,
)
from bpfree.algorithms._weak import warn_of_weaknesses, weaknesses_of
from bpfree.algorithms.backprop import Backprop
from bpfree.algorithms.blockwise import Blockwise
from bpfree.algorithms.cascaded_forward import CascadedForward
from bpfree.algorithms.deep_supervision import DeepSupervision
from bpfree.algorithms.direct_feedback_alignment import DirectFeedbackAlignment
from bpfree.algorithms.feedback_alignment import FeedbackAlignment
from bpfree.algorithms.forward_forward import ForwardForward
from bpfree.algorithms.foton import Foton
from bpfree.algorithms.frozen import Frozen
from bpfree.algorithms.local_similarity import LocalSimilarity
from bpfree.algorithms.mono_forward import BEST_PREFIX, MonoForward
from bpfree.algorithms.pepita import Pepita
from bpfree.algorithms.sign_symmetry import SignSymmetry
from bpfree.algorithms.spatial_goodness import SpatialGoodness
from bpfree.catalogue import ENTRY_POINT_GROUP
from bpfree.errors import unknown_name
from bpfree.nets.orthogonal import NotOrthogonalWarning

__all__ = [
    "BEST_PREFIX",
    "ENTRY_POINT_GROUP",
    "Algorithm",
    "Backprop",
    "BlockGradients",
    "BlockShape",
    "Blockwise",
    "CascadedForward",
    "ChoosesReadout",
    "Cost",
    "DeepSupervision",
    "DirectFeedbackAlignment",
    "FeedbackAlignment",
    "ForwardForward",
    "Foton",
    "Frozen",
    "HeadSlot",
    "Hyper",
    "KnownWeaknessWarning",
    "LearningSlot",
    "LocalAlgorithm",
    "LocalSimilarity",
    "MonoForward",
    "NetState",
    "NotOrthogonalWarning",
    "Optimiser",
    "Pepita",
    "Phase",
    "ProjectionSlot",
    "Shape",
    "SignSymmetry",
    "Slot",
    "SpatialGoodness",
    "State",
    "Traits",
    "Upkeep",
    "Value",
    "block_activity",
    "block_forward",
    "block_gradients",
    "block_scores",
    "check_net",
    "check_precision",
    "check_weights",
    "choice",
    "cost_of",
    "features_of",
    "flag",
    "frozen_features",
    "has_block_heads",
    "has_closed_form",
    "make",
    "maths_used",
    "model_tensors",
    "named_tensors",
    "names",
    "natural",
    "number",
    "numeric",
    "on_net",
    "params",
    "readout_field",
    "registry",
    "reset",
    "shape_of",
    "step",
    "warn_of_weaknesses",
    "weaknesses_of",
]

_OWN: tuple[type[Algorithm[Any]], ...] = (
    Backprop,
    Blockwise,
    CascadedForward,
    DeepSupervision,
    DirectFeedbackAlignment,
    FeedbackAlignment,
    ForwardForward,
    Foton,
    Frozen,
    LocalSimilarity,
    MonoForward,
    Pepita,
    SignSymmetry,
    SpatialGoodness,
)


@cache
def registry() -> dict[str, type[Algorithm[Any]]]:
    """Name to class of every rule that is installed: ours, then those of third parties."""
    rules = {rule.name: rule for rule in _OWN}
    for point in entry_points(group=ENTRY_POINT_GROUP):
        rules.setdefault(point.name, point.load())
    return rules


def names() -> tuple[str, ...]:
    """Registered names, sorted."""
    return tuple(sorted(registry()))


def make(name: str, params: Mapping[str, str | Value] | None = None) -> Algorithm[Any]:
    """Build a rule by name; values may be text, as on the command line.

    Raises:
        UsageError: an unknown rule or hyper-parameter (with the nearest names), or a value out of range.
    """
    rule = registry().get(name)
    if rule is not None:
        return rule(**parse(name, rule, params or {}))
    raise unknown_name("algorithm", name, registry())
