"""Learning rules: a file or a package each, its mathematics in the docstring.

A rule is an :class:`Algorithm`; ``step``, ``check_net``, ``reset`` and the like are functions that take one. Other packages add
theirs by entry points of the group ``bpfree.algorithms``, and write them with :mod:`bpfree.algorithms.building`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from bpfree.algorithms._addition import Addition
from bpfree.algorithms._base import Algorithm, BlockGradients, ChoosesReadout, KnownWeaknessWarning, LocalAlgorithm
from bpfree.algorithms._closed_form import block_activity, block_forward, block_gradients, frozen_features, has_closed_form
from bpfree.algorithms._cost import BlockShape, Cost, Shape, shape_of
from bpfree.algorithms._declared import Phase, Traits, Upkeep
from bpfree.algorithms._documentation import bibtex_of, documentation, has_no_paper
from bpfree.algorithms._fields import Value, choice, flag, natural, number, numeric, params, parse, readout_field
from bpfree.algorithms._gather import update_at_end
from bpfree.algorithms._heads import block_scores, has_block_heads
from bpfree.algorithms._running import (
    begin_step,
    check_net,
    check_precision,
    check_shares_rows,
    check_weights,
    cost_of,
    features_of,
    maths_used,
    on_net,
    reset,
    stages_of,
    step,
    sums_over_examples,
)
from bpfree.algorithms._stages import Stages
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
from bpfree.catalogue import other_rules
from bpfree.errors import UsageError, unknown_name
from bpfree.nets.orthogonal import NotOrthogonalWarning

__all__ = [
    "BEST_PREFIX",
    "Addition",
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
    "Stages",
    "State",
    "Traits",
    "Upkeep",
    "Value",
    "begin_step",
    "bibtex_of",
    "block_activity",
    "block_forward",
    "block_gradients",
    "block_scores",
    "check_net",
    "check_precision",
    "check_shares_rows",
    "check_weights",
    "choice",
    "cost_of",
    "documentation",
    "features_of",
    "flag",
    "frozen_features",
    "has_block_heads",
    "has_closed_form",
    "has_no_paper",
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
    "rule_class",
    "shape_of",
    "stages_of",
    "step",
    "sums_over_examples",
    "update_at_end",
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


_OWN_BY_NAME: dict[str, type[Algorithm[Any]]] = {rule.name: rule for rule in _OWN}


def registry() -> dict[str, type[Algorithm[Any]]]:
    """Name to class of every rule that is installed: ours, then those of other packages that can be loaded."""
    rules = dict(_OWN_BY_NAME)
    for name in other_rules():
        with suppress(UsageError):  # whoever needs the rule asks for it by name, and is told
            rules[name] = rule_class(name)
    return rules


def names() -> tuple[str, ...]:
    """Registered names, sorted; nothing of another package is imported for it."""
    return tuple(sorted([*_OWN_BY_NAME, *other_rules()]))


def rule_class(name: str) -> type[Algorithm[Any]]:
    """The class of a rule by name.

    Raises:
        UsageError: an unknown rule (with the nearest names), or an entry point of another package (which is named) that cannot be
            loaded, or is no rule of this name.
    """
    if name in _OWN_BY_NAME:
        return _OWN_BY_NAME[name]
    extension = other_rules().get(name)
    if extension is None:
        raise unknown_name("algorithm", name, names())
    rule = extension.load()
    if not (isinstance(rule, type) and issubclass(rule, Algorithm)):
        kind = rule.__name__ if isinstance(rule, type) else f"a {type(rule).__name__}"
        raise extension.refused(f"is {kind}, not a class derived from bpfree.algorithms.Algorithm")
    if missing := ", ".join(sorted(rule.__abstractmethods__)):
        raise extension.refused(f"does not implement {missing}")
    if getattr(rule, "name", None) != name:
        raise extension.refused(f"has name = {getattr(rule, 'name', None)!r}; the entry point and the class must agree")
    for field in dataclasses.fields(rule):
        if "range" not in field.metadata:
            raise extension.refused(f"has a field {field.name} without a range; declare it with number, natural, choice or flag")
    return rule


def make(name: str, params: Mapping[str, str | Value] | None = None) -> Algorithm[Any]:
    """Build a rule by name; values may be text, as on the command line.

    Raises:
        UsageError: as :func:`rule_class`; an unknown hyper-parameter (with the nearest names), or a value out of range.
    """
    rule = rule_class(name)
    return rule(**parse(name, rule, params or {}))
