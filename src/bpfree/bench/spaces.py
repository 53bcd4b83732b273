"""What is searched for an arm, of the ranges that the ruleset gives."""

from __future__ import annotations

from collections.abc import Sequence

from optuna.distributions import FloatDistribution

from bpfree.algorithms import names, numeric, params
from bpfree.bench.arm import Arm
from bpfree.errors import RulesetError
from bpfree.rulesets import Range, Ruleset, ranges_of
from bpfree.rulesets.ranges import EVERY_RULE

__all__ = ["check_named", "check_spaces", "distribution", "fixed_though_searched", "searched_names", "space_for"]


def space_for(rules: Ruleset, arm: Arm) -> dict[str, Range]:
    """The ranges of an arm by name, sorted, less what the arm fixes.

    Nothing is left where an arm fixes everything that its rule has to search; its trials then differ in their seeds alone.
    """
    return {name: bounds for name, bounds in _searched(rules, arm).items() if name not in arm.fixed}


def fixed_though_searched(rules: Ruleset, arm: Arm) -> list[str]:
    """Hyper-parameters that the arm fixes although the ruleset searches them: the arm is not tuned as the others are."""
    return [name for name in _searched(rules, arm) if name in arm.fixed] if rules.search.trials else []


def searched_names(rules: Ruleset, rule: str) -> set[str]:
    """What the ruleset names for a rule, under whatever options; also what it takes out of the search."""
    spaces = rules.search.spaces or {}
    return {name for key, ranges in spaces.items() if key.partition(":")[0] == rule for name in ranges}


def _searched(rules: Ruleset, arm: Arm) -> dict[str, Range]:
    rule = arm.build({})
    options = {**{name: str(value) for name, value in params(rule).items()}, **arm.fixed}
    ranges = ranges_of(rules.search.spaces or {}, arm.algorithm, options)
    unknown = [name for name in ranges if name not in numeric(rule)]
    if unknown:
        raise RulesetError(
            f"ruleset {rules.name} searches {unknown[0]}, which is no number of {arm.algorithm}; its numbers: "
            f"{', '.join(numeric(rule))}"
        )
    return ranges


def check_spaces(rules: Ruleset, arms: Sequence[Arm]) -> None:
    """Refuse search spaces that name an unknown rule, or no numeric hyper-parameter of an arm's rule.

    Raises:
        RulesetError: naming it.
    """
    for key in rules.search.spaces or {}:
        rule = key.partition(":")[0]
        if rule not in (EVERY_RULE, *names()):
            raise RulesetError(
                f"ruleset {rules.name}: search.spaces names {rule!r}, which is no rule; see bpfree list algorithms"
            )
    for arm in arms:
        space_for(rules, arm)


def check_named(rules: Ruleset, arms: Sequence[Arm]) -> None:
    """Refuse, under a ruleset that searches nothing, an arm that leaves a searchable hyper-parameter at its default.

    A table of such a ruleset may make claims, because every arm says which values it was run with.

    Raises:
        RulesetError: naming the arm and what it does not name.
    """
    for arm in arms if rules.search.trials == 0 else ():
        missing = list(space_for(rules, arm))
        if missing:
            options = ":".join(f"{name}=VALUE" for name in missing)
            raise RulesetError(
                f"search.trials is 0, so that every arm must name its hyper-parameters, but {arm.label} does not name "
                f"{', '.join(missing)}; write {arm.label}:{options}, or give --trials 1 or more"
            )


def distribution(bounds: Range) -> FloatDistribution:
    """As Optuna has it."""
    return FloatDistribution(bounds.low, bounds.high, log=True)
