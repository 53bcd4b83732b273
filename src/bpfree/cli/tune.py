"""``bpfree tune``: the search alone."""

from __future__ import annotations

import json
import shlex
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bpfree.cli.options import (
    AcceptOtherCode,
    BatchSize,
    DataDir,
    Dataset,
    Device,
    Estimate,
    Json,
    MaxHours,
    MaxPasses,
    Net,
    Out,
    PatienceOption,
    Quiet,
    Ruleset,
)

if TYPE_CHECKING:
    from bpfree.cli.setting import Request

__all__ = ["tune"]


def tune(
    algorithm: Annotated[str, typer.Argument(help="A rule or an arm, such as mono-forward:schedule=staged.")],
    dataset: Dataset = None,
    data_dir: DataDir = None,
    net: Net = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="Keep a hyper-parameter fixed: --set lr=1e-3; may be repeated.")
    ] = None,
    trials: Annotated[int | None, typer.Option(help="Trials of the search.")] = None,
    max_passes: MaxPasses = None,
    patience: PatienceOption = None,
    batch_size: BatchSize = None,
    max_hours: MaxHours = None,
    ruleset: Ruleset = "quick",
    device: Device = "cpu",
    out: Out = None,
    estimate_energy: Estimate = False,
    accept_other_code: AcceptOtherCode = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> int:
    """The search alone, on the validation split; prints the best values as --set options. With --out it is resumed.

    Example: bpfree tune mono-forward --dataset mnist --net mlp:2x1000 --trials 20 --out runs/tuned
    """
    from bpfree.cli.setting import Request

    request = Request(
        dataset=dataset, data_dir=data_dir, net=net, ruleset=ruleset, device=device, country=None, grid_g_per_kwh=None,
        estimate_energy=estimate_energy,
        changes={"trials": trials, "max_passes": max_passes, "patience": patience, "batch_size": batch_size,
                 "max_hours": max_hours},
    )  # fmt: skip
    row = _search(request, ":".join([algorithm, *(settings or [])]), out, accept_other_code=accept_other_code, quiet=quiet)
    if as_json:
        typer.echo(json.dumps(row, indent=2))
    else:
        _print(row, quiet=quiet)
    return 0


def _search(request: Request, text: str, out: Path | None, *, accept_other_code: bool, quiet: bool) -> dict[str, Any]:
    """Run what is left of the search; returns its row of ``tuned.json``, with the directory that keeps it."""
    from rich.console import Console

    from bpfree.bench import Arm, Comparison, RunDirectory, check_runnable, check_supported, fresh_path
    from bpfree.cli.interrupt import QuietObserver, watch_for_interrupts
    from bpfree.cli.progress import ConsoleObserver
    from bpfree.cli.resume import remember

    arm = Arm.parse(text)
    rules = request.rules("tune")
    check_supported(rules, [arm])
    setting = request.setting(rules)
    check_runnable(setting, [arm])
    directory = RunDirectory(out or fresh_path(f"tune-{arm.algorithm}-{Path(setting.data.name).name}"))
    watch_for_interrupts()
    with directory.opened(rules, setting.facts, accept_other_code=accept_other_code):
        remember(directory.path)
        comparison = Comparison(setting, [arm], (), directory, QuietObserver())
        console = Console(stderr=True, quiet=quiet)
        watched = nullcontext(comparison.observer) if quiet else ConsoleObserver(console, comparison.n_passes())
        with watched as comparison.observer:
            found = comparison.tune()[arm.label]
        directory.keep_tuned([found.row])
    return found.row | {"directory": str(directory.path)}


def _print(row: dict[str, Any], *, quiet: bool) -> None:
    from bpfree.units import format_energy, format_percent, format_time

    options = [word for name, value in row["best"].items() for word in ("--set", f"{name}={value!r}")]
    typer.echo(shlex.join(options) if options else "nothing to tune: the arm fixes every hyper-parameter that is searched")
    if quiet:
        return
    typer.echo(
        f"validation accuracy {format_percent(row['best_val_accuracy'])} %, best of {row['trials']} trials of at most "
        f"{row['passes_per_trial']} passes ({row['diverged_trials']} diverged), {format_time(row['time_s'])}, "
        f"energy {format_energy(row['joules'])}"
    )
    for name in row["at_edge"]:
        typer.echo(f"{name} lies at the edge of its space ({row['space'][name]}); a better value may lie outside")
    typer.echo(f"kept in {row['directory']}")
