"""``bpfree measure memory`` and ``measure flops``: what a training step costs, counted; nothing is trained."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path

import torch

from bpfree import data
from bpfree.bench import parse_arms
from bpfree.bench.cost_table import CostRow, cost_rows, main_arms, ratios
from bpfree.cli.options import CountOptions
from bpfree.cli.output import console, print_json, print_table, say
from bpfree.cli.sources import reading_of, source_of
from bpfree.errors import UsageError
from bpfree.files import write_atomic
from bpfree.meter import device_peak, resident_peak_bytes
from bpfree.units import format_bytes, format_count

__all__ = ["count", "figure_rows", "flops_command", "memory_command"]

DATASET = "synthetic:n=1000:inputs=1x28x28"
"""Only the shapes of the data matter, so no file is needed."""

BATCH_SIZE = 128
NETS = ("mlp:3x256", "mlp:8x256", "mlp:32x256")


def count(options: CountOptions, *, quiet: bool) -> list[CostRow]:
    """The rows that were asked for, arm by arm.

    Raises:
        UsageError: a batch size below 1, or arms, nets or data that cannot be used.
    """
    batch_size = BATCH_SIZE if options.batch_size is None else options.batch_size
    if batch_size < 1:
        raise UsageError(f"--batch-size must be at least 1, got {batch_size}")
    chosen = parse_arms(options.arms if options.arms is not None else ",".join(main_arms()))
    source = source_of(options.dataset or DATASET, options.target_column, options.split_column, reading_of(options))
    loaded = data.load_any(source, data_dir=options.data_dir, channels=options.channels).without_test()
    loaded.batches("train", batch_size)  # refuses a batch larger than the set
    with console(stderr=True, quiet=quiet).status("") as status:
        return cost_rows(
            chosen, options.net or NETS, loaded, batch_size, on_row=lambda row: status.update(f"{row.arm} on {row.net}")
        )


def _print_json(rows: Sequence[CostRow]) -> None:
    process = {
        "resident_peak_bytes": resident_peak_bytes(),
        "device_allocated_bytes": None,
        "device_reserved_bytes": None,
        "reasons": {"device": device_peak(torch.device("cpu")).reason},
    }
    print_json({"rows": [row.as_json() for row in rows], "process": process})


def _refusals(rows: Sequence[CostRow]) -> None:
    for row in rows:
        if row.refusal is not None:
            say(f"{row.arm} was left out on {row.net}: {row.refusal}")


def _times(ratio: float | None) -> str:
    return "-" if ratio is None else f"{ratio:.2f}"


def _by_net(rows: Sequence[CostRow], show: Callable[[str, list[CostRow]], None]) -> None:
    for net in dict.fromkeys(row.net for row in rows if row.refusal is None):
        show(net, [row for row in rows if row.net == net and row.refusal is None])
    _refusals(rows)


def figure_rows(rows: Sequence[CostRow]) -> list[dict[str, object]]:
    """What :func:`bpfree.report.cost_bars.memory_bars` draws."""
    return [{"arm": row.arm, "net": row.net, **dataclasses.asdict(row.memory)} for row in rows if row.memory is not None]


def memory_command(options: CountOptions, *, figure: Path | None, as_json: bool) -> int:
    """Bytes of a step by use, measured and by formula."""
    rows = count(options, quiet=as_json)
    if figure is not None:
        from bpfree.report.cost_bars import memory_bars

        write_atomic(figure, memory_bars(figure_rows(rows), f"Memory of a training step, batch {rows[0].batch_size}"))
    if as_json:
        _print_json(rows)
        return 0
    columns = (
        "arm",
        "weights",
        "auxiliary",
        "optimiser",
        "gradients",
        "activations",
        "peak",
        "x backprop",
        "gradients + activations by formula",
    )

    def show(net: str, of_net: list[CostRow]) -> None:
        shares = ratios(of_net, lambda row: row.memory and row.memory.peak)
        lines = []
        for row, share in zip(of_net, shares, strict=True):
            m, f = row.memory, row.by_formula
            assert m is not None
            assert f is not None
            formula = None
            if f.gradients_bytes is not None and f.activations_bytes is not None:
                formula = f.gradients_bytes + f.activations_bytes
            parts = (m.weights, m.auxiliary, m.optimiser, m.gradients, m.activations, m.peak)
            lines.append((row.arm, *map(format_bytes, parts), _times(share), format_bytes(formula)))
        print_table(f"{net}, batch {of_net[0].batch_size}: bytes at the highest moment of a training step", columns, lines)

    _by_net(rows, show)
    return 0


def _by_formula(row: CostRow) -> float | None:
    """Multiply-adds of a step by formula, orthogonalisation included by the share of steps that have one."""
    formula, every = row.by_formula, row.orthogonalisation_per_step
    if formula is None or formula.step is None:
        return None
    if not every or not row.orthogonalisation:
        return formula.step
    return None if formula.orthogonalisation is None else formula.step + formula.orthogonalisation * every / row.orthogonalisation


def flops_command(options: CountOptions, *, as_json: bool) -> int:
    """Multiply-adds of a step, counted and by formula."""
    rows = count(options, quiet=as_json)
    if as_json:
        _print_json(rows)
        return 0
    columns = (
        "arm",
        "phases",
        "training step",
        "by formula",
        "x backprop",
        "of which orthogonalisation",
        "scoring a batch",
        "x backprop",
        "end of a pass, apart",
    )

    def show(net: str, of_net: list[CostRow]) -> None:
        lines = []
        shares = zip(ratios(of_net, lambda row: row.whole_step), ratios(of_net, lambda row: row.evaluation), strict=True)
        for row, (of_step, of_scoring) in zip(of_net, shares, strict=True):
            numbers = (format_count(row.whole_step), format_count(_by_formula(row)), _times(of_step))
            scoring = (format_count(row.evaluation), _times(of_scoring))
            share, end = format_count(row.orthogonalisation_per_step), format_count(row.end_of_pass)
            lines.append((row.arm, str(len(row.by_phase)), *numbers, share, *scoring, end))
        print_table(f"{net}, batch {of_net[0].batch_size}: multiply-adds (half the FLOPs), counted", columns, lines)

    _by_net(rows, show)
    return 0
