"""``bpfree measure training``: seconds and joules of a training pass and of an evaluation pass, each from separate windows."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from bpfree import data
from bpfree.bench import environment, parse_arms
from bpfree.bench.pass_cost import PassCost, pass_costs, reading_per_s
from bpfree.bench.preparation import ready_meter
from bpfree.cli.options import DataOptions, MeterOptions
from bpfree.cli.output import console, print_json, print_table, say
from bpfree.cli.setting import torch_device
from bpfree.cli.sources import reading_of, source_of
from bpfree.errors import UsageError
from bpfree.meter.reading import FLAG
from bpfree.nets import named
from bpfree.units import format_energy, format_time

__all__ = ["training_command"]


def training_command(
    data_options: DataOptions,
    meter_options: MeterOptions,
    *,
    arms: str,
    batch_size: int | None,
    seconds: float,
    max_seconds: float,
    as_json: bool,
) -> int:
    """Measure, print.

    Raises:
        UsageError: a batch size below 1, or arms, net, data or device that cannot be used.
    """
    size, spec = 128 if batch_size is None else batch_size, data_options.net or "mlp:2x256"
    if size < 1:
        raise UsageError(f"--batch-size must be at least 1, got {size}")
    where, chosen = torch_device(meter_options.device), parse_arms(arms)
    dataset, channels = data_options.dataset or "digits", data_options.channels
    source = source_of(dataset, data_options.target_column, data_options.split_column, reading_of(data_options))
    loaded = data.load_any(source, data_dir=data_options.data_dir, channels=channels).without_test().to(where)
    loaded.batches("train", size)  # refuses a batch larger than the set
    n_parameters = sum(p.numel() for p in named(spec, loaded.in_shape, loaded.n_classes).parameters())
    environment.configure_torch(n_parameters, size, where)
    meter = ready_meter(where, estimate=meter_options.estimate_energy)
    with console(stderr=True, quiet=as_json).status("measuring"):
        rows = pass_costs(chosen, spec, loaded, meter, batch_size=size, min_s=seconds, max_s=max_seconds)
        read_per_s = reading_per_s(loaded, size)
    if as_json:
        print_json([{**dataclasses.asdict(row), "examples_per_s": row.examples_per_s, "read_per_s": read_per_s} for row in rows])
    else:
        _print(rows, f"{loaded.name}, {spec}, batch {size}: one pass")
        say(f"data alone: {read_per_s:,.0f} training examples/s, read and normalised, without a step")
    return 0


def _print(rows: Sequence[PassCost], title: str) -> None:
    lines = []
    for row in rows:
        resolved = "-" if row.pass_j is None else ("yes" if row.resolved else "no")
        by = f"{row.method}, {row.scope}" if row.method is not None else "-"
        window = f"{row.n_passes} in {format_time(row.window_s)}"
        per_s = f"{row.examples_per_s:,.0f}"
        lines.append(
            (row.arm, row.phase, row.kind, format_time(row.pass_s), per_s, format_energy(row.pass_j), by, resolved, window)
        )
    headings = ("arm", "phase", "pass", "time", "examples/s", "energy", "by", "resolved", "passes in the window")
    print_table(title, headings, lines)
    for reason in dict.fromkeys(row.reasons["energy.joules"] for row in rows if row.pass_j is None):
        say(f"no energy: {reason}")
    for flag in dict.fromkeys(why for row in rows for key, why in row.reasons.items() if key.startswith(FLAG)):
        say(f"note: {flag}")
