"""The stop rule that a ruleset gives to an arm: one for the run, or one for each phase where single phases are excepted."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence

from bpfree.algorithms import Phase
from bpfree.bench.arm import Arm
from bpfree.errors import RulesetError
from bpfree.nets import Chain
from bpfree.rulesets import Ruleset
from bpfree.rulesets.schema import ArmException
from bpfree.train import Patience, StopRule, check_budget

__all__ = ["check_passes", "check_phases", "patience_of", "stop_rule"]

OWN_CAP = "budget.max_passes"


def patience_of(rules: Ruleset, dataset: str, *, trial: bool = False) -> Patience:
    """The stop rule that a ruleset gives to a run, or to a trial of the search."""
    return Patience(
        patience=rules.stop.patience,
        max_passes=rules.trial_passes(dataset) if trial else rules.passes(dataset),
        min_delta=rules.stop.min_delta,
        metric=rules.stop.metric,
        restore_best=rules.stop.restore_best,
        per_phase=rules.budget.per == "phase",
        max_hours=rules.budget.max_hours,
    )


def stop_rule(ruleset: Ruleset, arm: str, dataset: str, net: str, *, trial: bool = False) -> StopRule:
    """The stop rule of an arm, its exceptions applied; a function of the phase where one of them is for single phases.

    A cap on passes that is excepted for a phase is that phase's own, instead of its share of the run's.
    """
    usual = patience_of(ruleset.for_arm(arm, dataset, net), dataset, trial=trial)
    excepted = [e for e in ruleset.exceptions if e.phases]
    if not any(e.applies(arm, dataset, net, name) for e in excepted for name in e.phases):
        return usual
    known: dict[str, Patience] = {}

    def in_phase(phase: Phase) -> Patience:
        if phase.name not in known:
            own = patience_of(ruleset.for_arm(arm, dataset, net, phase.name), dataset, trial=trial)
            if not own.per_phase and any(e.field == OWN_CAP and e.applies(arm, dataset, net, phase.name) for e in excepted):
                own = dataclasses.replace(own, max_passes=usual.max_passes, own_cap=own.max_passes)
            known[phase.name] = own
        return known[phase.name]

    return in_phase


def check_phases(rules: Ruleset, arms: Sequence[Arm], net: Chain | None) -> None:
    """Refuse exceptions for single phases that cannot be kept, or that would hold for no phase of any arm.

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
        if exception.field != OWN_CAP and not exception.field.startswith("stop."):
            raise RulesetError(
                f"{who}{covered[0].label}, which cannot be kept: single phases may differ in stop.* and {OWN_CAP} alone"
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
        rule = arm.build({})
        for trial in (False, True) if rules.search.trials else (False,):
            check_budget(rule, rule.phases(net), stop_rule(rules, arm.plain, dataset, net_spec, trial=trial))


def _may_apply(exception: ArmException, arm: Arm) -> bool:
    """Whatever the data set and the net are."""
    anywhere = exception.model_copy(update={"datasets": (), "nets": ()})
    return any(anywhere.applies(arm.plain, None, None, phase) for phase in exception.phases)


def _phase_names(arms: Sequence[Arm], net: Chain) -> Iterator[str]:
    return (phase.name for arm in arms for phase in arm.build({}).phases(net))
