"""From a ruleset, data and a net to the setting of runs: which examples are used, torch's switches, the meter."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from bpfree import data, nets
from bpfree.bench import environment
from bpfree.bench.measure import Setting
from bpfree.errors import UsageError
from bpfree.meter import CarbonFactor, Meter
from bpfree.rulesets import Ruleset

__all__ = ["prepare", "ready_meter"]

IDLE_S = 1.0
"""Seconds for which idle power is measured, where there is an energy source."""


def ready_meter(device: torch.device, *, estimate: bool) -> Meter:
    """A meter of the device that knows its idle power.

    Args:
        estimate: estimate the processor's energy where nothing measures it.
    """
    meter = Meter.detect(device, estimate=estimate)
    if meter.sources:
        meter.measure_idle(IDLE_S)
    return meter


def prepare(
    rules: Ruleset,
    dataset: str,
    net: str,
    device: torch.device,
    *,
    data_dir: Path | None = None,
    factor: CarbonFactor | None = None,
    estimate: bool = False,
    plan: dict[str, Any] | None = None,
) -> Setting:
    """Load the data, build the net once to check it, configure torch, make the meter ready.

    Args:
        dataset: a name or a file, see :func:`bpfree.data.load`.
        net: specification, such as ``"mlp:2x256"``.
        factor: grams of CO2 equivalent per kilowatt-hour, None where it is not known.
        estimate: see :func:`ready_meter`.
        plan: JSON values that every record carries; data set, net, device and tier are added.

    Raises:
        BpfreeError: data or a net that cannot be used; a batch larger than the training split.
    """
    loaded = data.load(dataset, data_dir=data_dir)
    if rules.train_examples is not None:
        loaded = loaded.limited(rules.train_examples)
    loaded = loaded.augmented(rules.augmentation_for(loaded.name)).to(device)
    n_params = sum(p.numel() for p in _build(net, loaded).parameters())
    loaded.batches("train", rules.batch_size)  # refuses a batch larger than the split
    environment.configure_torch(n_params, rules.batch_size, device)
    meter = ready_meter(device, estimate=estimate)
    about = {"dataset": loaded.name, "net": net, "device": str(device), "tier": rules.plan.tier}
    return Setting(rules, loaded, net, device, meter, factor, {**(plan or {}), **about}, environment.facts(device))


def _build(spec: str, loaded: data.Dataset) -> nets.Chain:
    try:
        return nets.build(spec, loaded.in_shape, loaded.n_classes)
    except (RuntimeError, MemoryError, OverflowError) as error:
        raise UsageError(
            f"the net {spec!r} cannot be built on {loaded.name}: its parameters do not fit into memory; choose a smaller one"
        ) from error
