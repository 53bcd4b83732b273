"""From options to a setting: ruleset, data, net, meter, grid factor. Everything is checked before anything is written."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch

from bpfree import rulesets
from bpfree.bench import Setting
from bpfree.bench.preparation import other_splits, prepare
from bpfree.cli.options import CarbonOptions, DataOptions, MeterOptions, RuleOptions
from bpfree.cli.resume import command_line
from bpfree.errors import DeviceError, RulesetError
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
        rules = rulesets.load(self.rule_options.ruleset)
        rules.check_use(use)
        given = {name: value for name, value in self.changes.items() if value is not None}
        changes = {**given, **self.rule_options.changes()}
        for option in ("seeds", "split_seeds"):
            if (count := changes.get(option)) is not None and count < 1:
                raise RulesetError(f"--{option.replace('_', '-')} must be at least 1, got {count}")
        if (changes.get("studies") or 1) > 1 and rules.search.passes_per_trial is not None:
            raise RulesetError(
                f"ruleset {rules.name} searches once, by trials shorter than runs, and has no studies; use --ruleset claim, or "
                "leave --studies out"
            )
        rules = rules.with_changes(changes) if changes else rules
        if "seeds" in changes and rules.search.studies > 1:
            raise RulesetError(
                f"ruleset {rules.name} draws its runs by studies, one run of each arm in each; give --studies instead of --seeds"
            )
        return rules

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

    def _dataset(self, rules: rulesets.Ruleset) -> str:
        return self.data.dataset or (rules.plan.datasets[0] if rules.plan.datasets else "digits")


def torch_device(name: str) -> torch.device:
    """The device of this name.

    Raises:
        DeviceError: it does not exist here, or the name is unknown.
    """
    try:
        device = torch.device(name)
    except RuntimeError:
        raise DeviceError(f"unknown device {name!r}; choose --device cpu or --device cuda") from None
    if device.type == "cuda":
        if not torch.cuda.is_available():
            built = "this torch was built without CUDA" if torch.version.cuda is None else "torch finds no NVIDIA GPU"
            raise DeviceError(f"--device {name} was asked, but {built}; choose --device cpu (bpfree doctor says more)")
        if device.index is not None and device.index >= torch.cuda.device_count():
            raise DeviceError(f"--device {name} was asked, but there are {torch.cuda.device_count()} GPUs, numbered from 0")
    elif device.type != "cpu":
        raise DeviceError(f"device {name!r} is not supported; choose --device cpu or --device cuda")
    return device
