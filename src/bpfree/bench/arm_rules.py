"""The rules that hold for one arm on one data set and net: the ruleset with the arm's exceptions applied."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from bpfree.algorithms import Algorithm, State
from bpfree.bench.arm import Arm
from bpfree.data import Dataset
from bpfree.nets import Chain
from bpfree.rulesets import Ruleset
from bpfree.train import Clock, Progress, StopRule, training

__all__ = ["ArmRules"]


@dataclass(frozen=True)
class ArmRules:
    """An arm under a ruleset, on a data set and a net; in a comparison, :meth:`bpfree.bench.setting.Setting.arm_rules` makes it.

    Attributes:
        ruleset: of the whole table; its digest is the one that records carry.
        arm: as the user named it; :attr:`chosen` is what the ruleset makes of it.
        dataset: name of the data set, which exceptions and caps may refer to.
        net: specification, such as ``"mlp:2x256"``.
        data_digest: of the data, by which a measured run is known.
    """

    ruleset: Ruleset
    arm: Arm
    dataset: str
    net: str
    data_digest: str = ""

    @cached_property
    def rules(self) -> Ruleset:
        """The ruleset with the arm's exceptions applied."""
        return self.ruleset.for_arm(self.arm.plain, self.dataset, self.net)

    @cached_property
    def chosen(self) -> Arm:
        """The arm with the readout that the ruleset chooses, see :meth:`Arm.under`.

        Raises:
            RulesetError: the ruleset chooses the readout, and the arm has fixed another.
        """
        return self.arm.under(self.rules)

    @property
    def trials(self) -> int:
        """Trials of the search, or of each study."""
        return self.rules.search.trials

    @property
    def passes(self) -> int:
        """Cap on the passes of a measured run, or of each of its phases where the ruleset counts per phase."""
        return self.rules.passes(self.dataset)

    @property
    def trial_passes(self) -> int:
        """The same cap for one trial of the search."""
        return self.rules.trial_passes(self.dataset)

    def stop(self, *, trial: bool = False) -> StopRule:
        """When a measured run ends, or a trial of the search."""
        return self.ruleset.stop_rule(self.arm.plain, self.dataset, self.net, trial=trial)

    def training(
        self,
        algorithm: Algorithm,
        net: Chain,
        data: Dataset,
        state: State,
        clock: Clock,
        *,
        seed: int,
        trial: bool = False,
        **more: Any,
    ) -> Generator[Progress, bool | None, None]:
        """The passes of a measured run or of a trial of the search: both train in the same way.

        Args:
            more: arguments of :func:`bpfree.train.training` that no rules decide: checkpoints, and where steps are made.
        """
        rules = self.rules
        return training(
            algorithm,
            net,
            data,
            self.stop(trial=trial),
            batch_size=rules.batch_size,
            seed=seed,
            lr_schedule=rules.lr_schedule,
            tier=rules.plan.tier,
            precision=rules.precision,
            state=state,
            clock=clock,
            **more,
        )

    def cell(self, seed_or_study: int) -> tuple[str, str, str, str, int]:
        """What identifies a measured run: arm, data set, its digest, net, seed or study; see ``Record.cell``."""
        return (self.arm.label, self.dataset, self.data_digest, self.net, seed_or_study)
