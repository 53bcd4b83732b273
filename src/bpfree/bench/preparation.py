"""From a ruleset, data and a net to the setting of runs: which examples are used, torch's switches, the meter."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from bpfree import data, nets
from bpfree.bench import environment
from bpfree.bench.measure import Setting
from bpfree.errors import RulesetError, UsageError
from bpfree.meter import CarbonFactor, Meter
from bpfree.rulesets import Ruleset, Split
from bpfree.rulesets.splits import ARRAYS
from bpfree.sources import file_kind
from bpfree.text import readable

__all__ = ["other_splits", "prepare", "ready_meter"]

IDLE_S = 1.0
"""Seconds for which idle power is measured, where there is an energy source."""


def ready_meter(device: torch.device, *, estimate: bool) -> Meter:
    """A meter of the device, with its idle power.

    Args:
        estimate: estimate the processor's energy where nothing measures it.
    """
    meter = Meter.detect(device, estimate=estimate)
    if meter.sources:
        meter.measure_idle(IDLE_S)
    return meter


def prepare(
    rules: Ruleset,
    dataset: data.Source,
    net: Any,
    device: torch.device,
    *,
    data_dir: Path | None = None,
    channels: str = "auto",
    factor: CarbonFactor | None = None,
    estimate: bool = False,
    plan: dict[str, Any] | None = None,
    meter: Meter | None = None,
    download: bool = True,
) -> Setting:
    """Load the data, build the net once to check it, configure torch, make the meter ready.

    Args:
        dataset: a name, a file, ``module:function`` or an object, see :data:`bpfree.data.Source`.
        net: a text such as ``"mlp:2x256"`` or ``module:function``, or an object, see :func:`bpfree.nets.text_of`.
        channels: how images of a file are read, see :func:`bpfree.data.load`.
        factor: grams of CO2 equivalent per kilowatt-hour, None where it is not known.
        estimate: see :func:`ready_meter`.
        plan: JSON values that every record carries; data set, net, device and tier are added.
        meter: of the device, where there is one already; by default :func:`ready_meter`.
        download: false refuses to use the network.

    Raises:
        BpfreeError: data or a net that cannot be used; a batch larger than the training split.
    """
    first, *_ = rules.plan.split_seeds
    loaded = _load(rules, dataset, first, device, data_dir, channels, download=download)
    net = nets.text_of(net, loaded.in_shape, loaded.n_classes)
    n_params = sum(p.numel() for p in _build(net, loaded).parameters())
    loaded.batches("train", rules.batch_size)  # refuses a batch larger than the split
    environment.configure_torch(n_params, rules.batch_size, device)
    meter = ready_meter(device, estimate=estimate) if meter is None else meter
    about = {
        "split_seeds": list(rules.plan.split_seeds),
        "control": rules.plan.control,
        "dataset": loaded.name,
        "net": net,
        "device": str(device),
        "tier": rules.plan.tier,
    }
    if loaded.skipped:
        about["skipped"] = {"examples": len(loaded.skipped), "first": list(loaded.skipped[:10])}
    facts = environment.facts(device)
    return Setting(rules, loaded, net, device, meter, factor, {**(plan or {}), **about}, facts, split_seed=first)


def other_splits(
    setting: Setting, dataset: data.Source, *, data_dir: Path | None = None, channels: str = "auto"
) -> tuple[Setting, ...]:
    """The setting on the further split seeds of its ruleset's plan.

    Args:
        dataset, data_dir, channels: as they were given to :func:`prepare`.

    Raises:
        RulesetError: the split of this data set is not drawn, so that they would all be the same.
    """
    rules = setting.ruleset
    seeds = rules.plan.split_seeds[1:]
    if seeds and not (split := _split(rules, dataset)).is_drawn:
        raise RulesetError(f"the split of {setting.data.name} is fixed ({split}); use one split seed")
    settings: list[Setting] = []
    for seed in seeds:
        loaded = _load(rules, dataset, seed, setting.device, data_dir, channels)
        if loaded.split_digest == setting.data.split_digest:
            raise RulesetError(f"{setting.data.name} comes with its own splits, which no seed changes; use one split seed")
        settings.append(replace(setting, data=loaded, split_seed=seed, costs={}))
    return tuple(settings)


def _load(
    rules: Ruleset,
    dataset: data.Source,
    split_seed: int,
    device: torch.device,
    data_dir: Path | None,
    channels: str,
    *,
    download: bool = True,
) -> data.Dataset:
    split = _split(rules, dataset)
    loaded = data.load_any(dataset, data_dir=data_dir, split=split, split_seed=split_seed, channels=channels, download=download)
    if rules.train_examples is not None:
        loaded = loaded.limited(rules.train_examples)
    loaded = replace(loaded, name=readable(loaded.name))  # that of a file may be no text
    return loaded.augmented(rules.augmentation_for(loaded.name)).weighted(rules.weighted_by).to(device)


def _split(rules: Ruleset, dataset: data.Source) -> Split:
    """How the data are divided, if they are not yet."""
    if isinstance(dataset, data.Dataset | data.Table) or data.function_of(dataset) is not None:
        return rules.split_for(ARRAYS)
    dataset = dataset.spec if isinstance(dataset, data.Files) else dataset
    assert isinstance(dataset, str | Path)
    if file_kind(dataset, data.names()) is not None:
        return rules.split_for(ARRAYS)
    data.check_name(dataset)  # a misspelt name is reported before the ruleset is asked how it is split
    return rules.split_for(str(dataset))


def _build(spec: str, loaded: data.Dataset) -> nets.Chain:
    try:
        return nets.named(spec, loaded.in_shape, loaded.n_classes)
    except (RuntimeError, MemoryError, OverflowError) as error:
        raise UsageError(
            f"the net {spec!r} cannot be built on {loaded.name}: its parameters do not fit into memory; choose a smaller one"
        ) from error
