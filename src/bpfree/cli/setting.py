"""From options to a setting: ruleset, data, net, meter, grid factor. Everything is checked before anything is written."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from bpfree import rulesets
from bpfree.bench import Setting
from bpfree.bench.device import torch_device
from bpfree.bench.preparation import other_splits, prepare
from bpfree.cli.options import CarbonOptions, DataOptions, MeterOptions, RuleOptions
from bpfree.cli.resume import command_line
from bpfree.cli.sources import reading_of, source_of
from bpfree.data import Source
from bpfree.meter import carbon_factor

__all__ = ["Request", "torch_device"]


@dataclass(frozen=True)
class Request:
    """What was asked for on the command line.

    Attributes:
        changes: further rules by name, such as ``trials``; None where not given.
    """

    data: DataOptions
    rule_options: RuleOptions
    meter: MeterOptions
    carbon: CarbonOptions = field(default_factory=CarbonOptions)
    changes: Mapping[str, Any] = field(default_factory=dict)

    def rules(self, use: str) -> rulesets.Ruleset:
        """The ruleset, changed as the options say.

        Raises:
            RulesetError: an option out of range, or a ruleset that is not for this use.
        """
        return rulesets.changed_rules(self.rule_options.ruleset, use, {**self.changes, **self.rule_options.changes()})

    def setting(self, rules: rulesets.Ruleset) -> Setting:
        """See :func:`bpfree.bench.preparation.prepare`; what was not given is taken from the ruleset's plan.

        Raises:
            BpfreeError: data, net, device or country that cannot be used.
        """
        device = torch_device(self.meter.device)
        factor = carbon_factor(self.carbon.country, self.carbon.grid_g_per_kwh)
        return prepare(
            rules,
            self._dataset(rules),
            self.data.net or (rules.plan.nets[0] if rules.plan.nets else "mlp:2x256"),
            device,
            data_dir=self.data.data_dir,
            channels=self.data.channels,
            factor=factor,
            estimate=self.meter.estimate_energy,
            plan={"command": command_line()},
        )

    def other_splits(self, setting: Setting) -> tuple[Setting, ...]:
        """The setting on the further split seeds of its ruleset's plan.

        Raises:
            RulesetError: the split of this data set is fixed.
        """
        dataset = self._dataset(setting.ruleset)
        return other_splits(setting, dataset, data_dir=self.data.data_dir, channels=self.data.channels)

    def _dataset(self, rules: rulesets.Ruleset) -> Source:
        name = self.data.dataset or (rules.plan.datasets[0] if rules.plan.datasets else "digits")
        return source_of(name, self.data.target_column, self.data.split_column, reading_of(self.data))
