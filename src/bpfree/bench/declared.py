"""Search spaces that rules of other packages bring along, and what of such a rule nothing searches.

What the package's own rules search is decided in ``rulesets/standard/spaces.yaml``, and by nothing else.
"""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Sequence

from bpfree.algorithms import Algorithm, numeric, rule_class
from bpfree.bench.arm import Arm
from bpfree.bench.spaces import searched_names, space_for
from bpfree.catalogue import other_rules, other_spaces
from bpfree.errors import BpfreeError, UsageError
from bpfree.rulesets import Ruleset, declared_ranges, with_spaces
from bpfree.rulesets.ranges import Spaces

__all__ = ["NotSearchedWarning", "not_searched", "search_space_of", "warn_of_not_searched", "with_declared"]


class NotSearchedWarning(UserWarning):
    """Hyper-parameters of a rule of another package that have no range."""


def search_space_of(name: str) -> Spaces:
    """What a rule of another package declares: in its class, or else by an entry point of the group ``bpfree.search_spaces``.

    Raises:
        UsageError: ranges of another form, of what is no number of the rule, or beyond what the rule admits; an entry point that
            cannot be loaded. The package is named.
    """
    if name not in other_rules():
        return {}
    rule, extension = rule_class(name), other_rules()[name]
    declared = rule.search_space
    if not declared and (extension := other_spaces().get(name, extension)) is not other_rules()[name]:
        declared = extension.load()
        declared = declared() if callable(declared) else declared
    try:
        spaces = declared_ranges(name, declared)
        _check(rule, spaces)
    except BpfreeError as error:
        raise extension.refused(f"cannot be searched ({error})") from None
    return spaces


def _check(rule: type[Algorithm], spaces: Spaces) -> None:
    fields = {field.name: field.metadata["range"] for field in dataclasses.fields(rule)}
    numbers = numeric(rule())
    for key, ranges in spaces.items():
        for option in key.split(":")[1:]:
            name, _, value = option.partition("=")
            if name not in fields or not fields[name].holds(fields[name].read(value)):
                raise UsageError(f"its search space is for {option!r}, which the rule cannot have")
        for name, bounds in ranges.items():
            if name not in numbers:
                raise UsageError(f"its search space has {name!r}, which is no number of it; its numbers: {', '.join(numbers)}")
            for end in () if bounds is None else (bounds.low, bounds.high):
                if not fields[name].holds(end):
                    raise UsageError(f"its search space takes {name} to {end:g}, but it must be {fields[name].words()}")


def with_declared(rules: Ruleset, arms: Sequence[Arm]) -> Ruleset:
    """The ruleset with the spaces that the arms' rules declare: the same ruleset where all are of this package.

    Raises:
        UsageError: see :func:`search_space_of`.
    """
    return with_spaces(rules, {arm.algorithm: search_space_of(arm.algorithm) for arm in arms if arm.algorithm in other_rules()})


def not_searched(rules: Ruleset, arm: Arm) -> dict[str, float]:
    """Numbers that a rule of another package has beyond the common ones, which neither a range nor the arm decides, by name."""
    if arm.algorithm not in other_rules() or not rules.search.trials:
        return {}
    rule = arm.build({})
    common = {field.name for field in dataclasses.fields(Algorithm)}
    decided = {*common, *arm.fixed, *space_for(rules, arm), *searched_names(rules, arm.algorithm)}
    return {name: value for name, value in numeric(rule).items() if name not in decided}


def warn_of_not_searched(rules: Ruleset, arms: Sequence[Arm]) -> None:
    """Warn of each arm of which something is not searched, before the search."""
    for arm in arms:
        if left := not_searched(rules, arm):
            values = ", ".join(f"{name} ({value:g})" for name, value in left.items())
            warnings.warn(
                f"{arm.label}: {values} will not be searched: the rule declares no range, and the ruleset has none; write "
                "search_space = {...} in the rule, or search.spaces in a ruleset",
                NotSearchedWarning,
                stacklevel=3,
            )
