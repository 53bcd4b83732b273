"""``bpfree measure inference``: what using trained models costs, measured in turns."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import torch

from bpfree.bench import environment
from bpfree.cli.options import MeterOptions
from bpfree.cli.output import print_json, print_table, say
from bpfree.cli.setting import torch_device
from bpfree.errors import UsageError
from bpfree.meter import Meter
from bpfree.models import BATCH_SIZES, InferenceCost, Model, all_readouts, load, measure_inference, readout_of
from bpfree.units import MISSING, format_bytes, format_count, format_energy, format_time

__all__ = ["inference_command"]


def inference_command(
    paths: Sequence[Path],
    meter_options: MeterOptions,
    *,
    batch_sizes: Sequence[int],
    repeats: int,
    every_readout: bool,
    as_json: bool,
) -> int:
    """Load, measure in turns, print."""
    sizes = tuple(batch_sizes) or BATCH_SIZES
    for option, values in (("--batch", sizes), ("--repeats", (repeats,))):
        for value in values:
            if value < 1:
                raise UsageError(f"{option} must be at least 1, got {value}")
    where = torch_device(meter_options.device)
    models = _named(paths, where, every_readout)
    largest = max(sum(p.numel() for p in model.net.parameters()) for _, model in models.values())
    environment.configure_torch(largest, max(sizes), where)
    meter = Meter.detect(where, estimate=meter_options.estimate_energy)
    costs = measure_inference({name: model for name, (_, model) in models.items()}, meter, batch_sizes=sizes, repeats=repeats)
    if as_json:
        _print_json(costs, models, where)
    else:
        _print_table(costs, models)
    return 0


Named = dict[str, tuple[Path, Model]]


def _named(paths: Sequence[Path], device: torch.device, every_readout: bool) -> Named:
    """Models by a unique name: rule, readout and net, with the file where two models agree in these."""
    loaded: list[tuple[Path, Model]] = []
    for path in dict.fromkeys(paths):
        model = load(path, device=device)
        loaded += [(path, each) for each in (all_readouts(model) if every_readout else (model,))]
    names = [_name(model) for _, model in loaded]
    counts = Counter(names)
    return {
        name if counts[name] == 1 else f"{path}: {name}": (path, model) for name, (path, model) in zip(names, loaded, strict=True)
    }


def _name(model: Model) -> str:
    return f"{model.algorithm.name}, {readout_of(model.algorithm)}, {_net(model)}"


def _net(model: Model) -> str:
    return (model.header and model.header.net) or "a net without a name"


def _print_json(costs: Sequence[InferenceCost], models: Named, device: torch.device) -> None:
    results = []
    for cost in costs:
        path, model = models[cost.name]
        about = {
            "file": str(path),
            "algorithm": model.algorithm.name,
            "readout": readout_of(model.algorithm),
            "net": model.header and model.header.net,
            "dataset": model.header and model.header.dataset,
        }
        results.append(about | dataclasses.asdict(cost))
    print_json({"environment": environment.facts(device).as_json(), "results": results})


def _print_table(costs: Sequence[InferenceCost], models: Named) -> None:
    for size in dict.fromkeys(cost.batch_size for cost in costs):
        rows = [cost for cost in costs if cost.batch_size == size]
        columns = {
            "p50": [format_time(cost.latency_p50_s) for cost in rows],
            "p95": [format_time(cost.latency_p95_s) for cost in rows],
            "×": [f"{cost.latency_p50_s / rows[0].latency_p50_s:.2f}" for cost in rows],
            "A second": [format_count(cost.images_per_s) for cost in rows],
            "Energy of 1000": [format_energy(cost.joules_per_1000) for cost in rows],
            "MACs each": [format_count(cost.multiply_adds) for cost in rows],
            "Live memory": [format_bytes(cost.live_bytes) for cost in rows],
        }
        shown = {heading: entries for heading, entries in columns.items() if any(entry != MISSING for entry in entries)}
        lines = [
            (cost.name.replace(", ", "\n"), *entries)
            for cost, entries in zip(rows, zip(*shown.values(), strict=True), strict=True)
        ]
        print_table(f"{size} example{'s' if size > 1 else ''} a call", ("Model", *shown), lines)
    for why in _reasons(costs):
        say(f"{MISSING}  {why}")


_WORDS = {
    "latency_p95_s": "p95",
    "joules_per_1000": "energy",
    "multiply_adds": "multiply-adds",
    "live_bytes": "live memory",
}


def _reasons(costs: Sequence[InferenceCost]) -> list[str]:
    reasons = [f"{_WORDS[key]}: {why}" for cost in costs for key, why in cost.reasons.items() if key in _WORDS]
    return list(dict.fromkeys(reasons))
