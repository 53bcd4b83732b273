"""What all runs of a comparison have in common, and what is refused before any of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from bpfree.algorithms import Algorithm, Phase, State, check_net, check_precision, check_weights, warn_of_weaknesses
from bpfree.bench import environment
from bpfree.bench.arm import Arm
from bpfree.bench.arm_rules import ArmRules
from bpfree.bench.cost import StepCost
from bpfree.bench.spaces import check_spaces
from bpfree.bench.stops import check_passes, check_phases
from bpfree.data import Dataset
from bpfree.errors import RulesetError
from bpfree.meter import CarbonFactor, Meter
from bpfree.models import Model
from bpfree.nets import Chain, named
from bpfree.rulesets import Ruleset
from bpfree.train import check_tier

__all__ = ["Setting", "check_runnable", "check_supported"]


@dataclass
class Setting:
    """What all runs of a comparison on one split have in common.

    Attributes:
        data: on the device, with its test split.
        net: specification, such as ``"mlp:2x256"``.
        costs: of a step, by arm; filled as runs are measured (they depend neither on the seed nor on tuned values).
        split_seed: with which the data were split.
    """

    ruleset: Ruleset
    data: Dataset
    net: str
    device: torch.device
    meter: Meter
    factor: CarbonFactor | None
    plan: dict[str, Any]
    facts: environment.Environment
    costs: dict[str, StepCost] = field(default_factory=dict)
    split_seed: int = 0

    def build_net(self) -> Chain:
        """A new net for the data."""
        return named(self.net, self.data.in_shape, self.data.n_classes).to(self.data.dtype)  # whatever torch's default is

    def model(self, algorithm: Algorithm, net: Chain, state: State, phase: Phase) -> Model:
        """What was trained in this setting, as a model."""
        classes, columns = self.data.classes, self.data.columns
        norm, precision = self.data.normalisation, self.ruleset.precision
        return Model(algorithm, net, state, phase, norm, precision=precision, classes=classes, columns=columns)

    def arm_rules(self, arm: Arm) -> ArmRules:
        """The rules of an arm in this setting."""
        return ArmRules(self.ruleset, arm, self.data.name, self.net, self.data.data_digest)


def check_supported(rules: Ruleset, arms: Sequence[Arm], net: Chain | None = None) -> None:
    """Refuse rules that the harness cannot keep yet, rather than hash them into records and ignore them.

    Args:
        net: where it is known, exceptions for phases that no arm has on it are refused too.

    Raises:
        RulesetError: naming the rule and what can be had.
    """
    if rules.schema_version < 2:
        raise RulesetError(
            f"ruleset {rules.name} has schema_version 1, which says neither what is searched nor how data are split; to run it, "
            "write schema_version: 2, splits: standard and search.spaces: standard"
        )
    for arm in arms:
        arm.under(rules)
    check_spaces(rules, arms)
    check_phases(rules, arms, net)


def check_runnable(setting: Setting, arms: Sequence[Arm], *, searched: bool = True) -> None:
    """Refuse, before anything is written, arms that cannot be trained on this net by these rules.

    Args:
        searched: whether trials are to be made, which may have fewer examples than a run.

    Raises:
        UsageError: a rule cannot train the net, compute in the precision or read class weights, has more phases than passes, or
            would meet a batch of one example in a net that normalises batches.
        RulesetError: see :func:`check_supported`.
    """
    check_tier(setting.ruleset.plan.tier, setting.device)
    net = setting.build_net()
    for arm in arms:
        check_net(arm.build({}), net)
        check_precision(arm.build({}), setting.ruleset.precision, net.dtype, setting.device)
        check_weights(arm.build({}), setting.data.class_weight)
        rules, n_train = setting.arm_rules(arm).rules, setting.data.n("train")
        net.check_batches(n_train, rules.batch_size)
        if searched:
            net.check_batches(rules.trial_examples(n_train, setting.data.n_classes), rules.batch_size)
    check_supported(setting.ruleset, arms, net)
    for arm in arms:
        warn_of_weaknesses(arm.under(setting.ruleset).build({}), net, setting.ruleset.batch_size)
    check_passes(setting.ruleset, arms, net, setting.data.name, setting.net)
