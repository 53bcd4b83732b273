"""``bpfree measure inference``: what using trained models costs, measured against each other in turns."""

from __future__ import annotations

import dataclasses
import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import torch
import typer
from rich.console import Console
from rich.table import Table

from bpfree.bench import environment
from bpfree.cli.setting import torch_device
from bpfree.errors import UsageError
from bpfree.meter import Meter
from bpfree.models import BATCH_SIZES, InferenceCost, Model, all_readouts, load, measure_inference, readout_of
from bpfree.units import MISSING, format_bytes, format_count, format_energy, format_time

__all__ = ["inference_command"]


def inference_command(
    paths: Sequence[Path],
    *,
    batch_sizes: Sequence[int],
    repeats: int,
    every_readout: bool,
    device: str,
    estimate_energy: bool,
    as_json: bool,
) -> int:
    """Load, measure in turns, print."""
    sizes = tuple(batch_sizes) or BATCH_SIZES
    for option, values in (("--batch", sizes), ("--repeats", (repeats,))):
        for value in values:
            if value < 1:
                raise UsageError(f"{option} must be at least 1, got {value}")
    where = torch_device(device)
    models = _named(paths, where, every_readout)
    largest = max(sum(p.numel() for p in model.net.parameters()) for _, model in models.values())
    environment.configure_torch(largest, max(sizes), where)
    meter = Meter.detect(where, estimate=estimate_energy)
    costs = measure_inference({name: model for name, (_, model) in models.items()}, meter, batch_sizes=sizes, repeats=repeats)
    if as_json:
        _print_json(costs, models, where)
    else:
        _print_table(costs, models)
    return 0


Named = dict[str, tuple[Path, Model]]


def _named(paths: Sequence[Path], device: torch.device, every_readout: bool) -> Named:
    """Models by a name that tells them apart: rule, readout and net, with the file where that is not enough."""
    found: list[tuple[Path, Model]] = []
    for path in dict.fromkeys(paths):
        model = load(path, device=device)
        found += [(path, each) for each in (all_readouts(model) if every_readout else (model,))]
    names = [_name(model) for _, model in found]
    counts = Counter(names)
    return {
        name if counts[name] == 1 else f"{path}: {name}": (path, model) for name, (path, model) in zip(names, found, strict=True)
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
    typer.echo(json.dumps({"environment": environment.facts(device), "results": results}, indent=2))


def _print_table(costs: Sequence[InferenceCost], models: Named) -> None:
    console = Console(highlight=False)
    for size in dict.fromkeys(cost.batch_size for cost in costs):
        rows = [cost for cost in costs if cost.batch_size == size]
        table = Table(title=f"{size} example{'s' if size > 1 else ''} a call", title_justify="left")
        table.add_column("Model", overflow="fold")
        columns = {
            "p50": [format_time(cost.latency_p50_s) for cost in rows],
            "p95": [format_time(cost.latency_p95_s) for cost in rows],
            "×": [f"{cost.latency_p50_s / rows[0].latency_p50_s:.2f}" for cost in rows],
            "A second": [format_count(cost.images_per_s) for cost in rows],
            "Energy\nof 1000": [format_energy(cost.joules_per_1000) for cost in rows],
            "MACs\neach": [format_count(cost.multiply_adds) for cost in rows],
            "Live\nmemory": [format_bytes(cost.live_bytes) for cost in rows],
        }
        shown = {heading: cells for heading, cells in columns.items() if any(cell != MISSING for cell in cells)}
        for heading in shown:
            table.add_column(heading, justify="right")
        for cost, cells in zip(rows, zip(*shown.values(), strict=True), strict=True):
            table.add_row(cost.name.replace(", ", "\n"), *cells)
        console.print(table)
    for why in _reasons(costs):
        console.print(f"{MISSING}  {why}", markup=False)


_WORDS = {
    "latency_p95_s": "p95",
    "joules_per_1000": "energy",
    "multiply_adds": "multiply-adds",
    "live_bytes": "live memory",
}


def _reasons(costs: Sequence[InferenceCost]) -> list[str]:
    said = [f"{_WORDS[key]}: {why}" for cost in costs for key, why in cost.reasons.items() if key in _WORDS]
    return list(dict.fromkeys(said))
