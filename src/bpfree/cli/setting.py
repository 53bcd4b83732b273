"""From options to a setting: ruleset, data on the device, net checked, meter, grid factor. Everything is checked before
anything is written."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from bpfree import data, nets, rulesets
from bpfree.bench import Setting, environment
from bpfree.cli.resume import command_line
from bpfree.errors import DeviceError, RulesetError, UsageError
from bpfree.meter import Meter, carbon_factor

__all__ = ["Request"]

IDLE_S = 1.0
"""How long idle power is measured before a comparison, where there is something to measure it with."""


@dataclass(frozen=True)
class Request:
    """What was asked on the command line; ``changes`` are folded into the ruleset, None where not given."""

    dataset: str | None
    data_dir: Path | None
    net: str | None
    ruleset: str
    device: str
    country: str | None
    grid_g_per_kwh: float | None
    estimate_energy: bool
    changes: Mapping[str, Any]

    def rules(self, use: str) -> rulesets.Ruleset:
        """The ruleset with the options folded in.

        Raises:
            RulesetError: an option out of range, or a ruleset that is not for this use.
        """
        rules = rulesets.load(self.ruleset)
        rules.check_use(use)
        changes = {key: value for key, value in self.changes.items() if value is not None}
        for option in ("seeds", "split_seeds"):
            if (count := changes.get(option)) is not None and count < 1:
                raise RulesetError(f"--{option.replace('_', '-')} must be at least 1, got {count}")
        rules = rules.with_changes(changes) if changes else rules
        if "seeds" in changes and rules.search.studies > 1:
            raise RulesetError(
                f"ruleset {rules.name} draws its runs by studies, one run of each arm in each; give --studies instead of --seeds"
            )
        return rules

    def setting(self, rules: rulesets.Ruleset) -> Setting:
        """Load data, build the net once to check it, find the meter.

        Raises:
            BpfreeError: data, net, device or country that cannot be used.
        """
        device = torch_device(self.device)
        factor = carbon_factor(self.country, self.grid_g_per_kwh)
        name = self.dataset or (rules.plan.datasets[0] if rules.plan.datasets else "digits")
        spec = self.net or (rules.plan.nets[0] if rules.plan.nets else "mlp:2x256")
        first, *_ = rules.plan.split_seeds
        loaded = self._load(name, rules, first, device)
        net = _build(spec, loaded)
        loaded.batches("train", rules.batch_size)  # refuses a batch larger than the set
        environment.configure_torch(sum(p.numel() for p in net.parameters()), rules.batch_size, device)
        meter = Meter.detect(device, estimate=self.estimate_energy)
        if meter.sources:
            meter.measure_idle(IDLE_S)
        plan = {
            "split_seeds": list(rules.plan.split_seeds), "control": rules.plan.control,
            "command": command_line(), "dataset": loaded.name, "net": spec, "device": str(device), "tier": rules.plan.tier,
        }  # fmt: skip
        return Setting(rules, loaded, spec, device, meter, factor, plan, environment.facts(device), split_seed=first)

    def _load(self, name: str, rules: rulesets.Ruleset, split_seed: int, device: torch.device) -> data.Dataset:
        if rules.schema_version < 2:
            raise RulesetError(f"ruleset {rules.name} has schema_version 1, which does not split data; write splits: standard")
        loaded = data.load(name, data_dir=self.data_dir, split=rules.split_for(name), split_seed=split_seed)
        if rules.train_examples is not None:
            loaded = loaded.limited(rules.train_examples)
        return loaded.augmented(rules.augmentation_for(loaded.name)).to(device)

    def other_splits(self, setting: Setting) -> list[Setting]:
        """The setting on the further split seeds of its ruleset's plan.

        Raises:
            RulesetError: the split of this data set is not drawn, so that they would all be the same.
        """
        rules, name = setting.ruleset, self.dataset or setting.data.name
        seeds = rules.plan.split_seeds[1:]
        if seeds and not rules.split_for(name).is_drawn:
            raise RulesetError(f"the split of {setting.data.name} is fixed ({rules.split_for(name)}); use one split seed")
        return [replace(setting, data=self._load(name, rules, seed, setting.device), split_seed=seed, costs={}) for seed in seeds]


def _build(spec: str, loaded: data.Dataset) -> nets.Chain:
    try:
        return nets.build(spec, loaded.in_shape, loaded.n_classes)
    except (RuntimeError, MemoryError, OverflowError) as error:
        raise UsageError(
            f"the net {spec!r} cannot be built on {loaded.name}: its parameters do not fit into memory; choose a smaller one"
        ) from error


def torch_device(name: str) -> torch.device:
    """A device that is there.

    Raises:
        DeviceError: it is not, or the name is none.
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
