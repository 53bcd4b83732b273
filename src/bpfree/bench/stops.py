"""Checks of a ruleset against the phases of arms: exceptions for single phases, and caps on passes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from bpfree.bench.arm import Arm
from bpfree.bench.arm_rules import ArmRules
from bpfree.errors import RulesetError
from bpfree.nets import Chain
from bpfree.rulesets import Ruleset
from bpfree.rulesets.ruleset import PASSES_FIELD
from bpfree.rulesets.schema import ArmException
from bpfree.train import check_budget

__all__ = ["check_passes", "check_phases"]


def check_phases(rules: Ruleset, arms: Sequence[Arm], net: Chain | None) -> None:
    """Refuse exceptions for single phases that cannot be applied, or that would hold for no phase of any arm.

    Args:
        net: tells the names of the phases; without it only the rules are looked at.

    Raises:
        RulesetError: naming the exception and what can be had.
    """
    for exception in rules.exceptions:
        covered = [arm for arm in arms if _may_apply(exception, arm)] if exception.phases else []
        if not covered:
            continue
        who = f"ruleset {rules.name} has an exception of {exception.field} for the phase {', '.join(exception.phases)} of "
        if exception.field != PASSES_FIELD and not exception.field.startswith("stop."):
            raise RulesetError(
                f"{who}{covered[0].label}, which cannot be kept: single phases may differ in stop.* and {PASSES_FIELD} alone"
            )
        if net is not None and not set(exception.phases) & set(_phase_names(covered, net)):
            known = ", ".join(dict.fromkeys(_phase_names(covered, net)))
            raise RulesetError(f"{who}{', '.join(arm.label for arm in covered)}, which has no such phase; its phases: {known}")


def check_passes(rules: Ruleset, arms: Sequence[Arm], net: Chain, dataset: str, net_spec: str) -> None:
    """Refuse a cap, of a run or of a trial, that is below the number of an arm's phases.

    Raises:
        UsageError: naming the phases and the least cap.
    """
    for arm in arms:
        rule, under = arm.build({}), ArmRules(rules, arm, dataset, net_spec)
        for trial in (False, True) if rules.search.trials else (False,):
            check_budget(rule, rule.phases(net), under.stop(trial=trial))


def _may_apply(exception: ArmException, arm: Arm) -> bool:
    """Whatever the data set and the net are."""
    anywhere = exception.model_copy(update={"datasets": (), "nets": ()})
    return any(anywhere.applies(arm.plain, None, None, phase) for phase in exception.phases)


def _phase_names(arms: Sequence[Arm], net: Chain) -> Iterator[str]:
    return (phase.name for arm in arms for phase in arm.build({}).phases(net))
