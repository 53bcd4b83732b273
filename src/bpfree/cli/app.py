"""The commands and their options. Nothing heavy is imported until a command runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bpfree._version import __version__
from bpfree.cli.analyse import analyse_app
from bpfree.cli.measure import measure_app
from bpfree.cli.notices import one_line_warnings
from bpfree.cli.options import (
    AcceptOtherCode,
    BatchSize,
    Country,
    DataDir,
    Dataset,
    Device,
    Estimate,
    Grid,
    Json,
    MaxHours,
    MaxPasses,
    Net,
    Out,
    PatienceOption,
    Quiet,
    Ruleset,
    Target,
)
from bpfree.cli.reproduce import reproduce
from bpfree.cli.tune import tune

__all__ = ["app", "command_line_errors"]

app = typer.Typer(
    name="bpfree",
    help="Train deep networks without backpropagation, and find out, fairly and in joules, whether that pays.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def command_line_errors() -> type[Exception]:
    """Root of typer's own errors about the command line (its place moved between versions; its family did not)."""
    return next(kind for kind in reversed(typer.BadParameter.__mro__) if kind.__name__ == "ClickException")


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"bpfree {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")] = False,
) -> None:
    del version
    context.with_resource(one_line_warnings())


@app.command()
def compare(
    dataset: Dataset = None,
    data_dir: DataDir = None,
    net: Net = None,
    arms: Annotated[str | None, typer.Option(help="name or name:key=value, comma-separated.")] = None,
    seeds: Annotated[int | None, typer.Option(help="Measured runs of each arm (seeds 0 to N-1).")] = None,
    trials: Annotated[int | None, typer.Option(help="Trials of the search, for each arm.")] = None,
    studies: Annotated[int | None, typer.Option(help="Studies; the best trial of each is a measured run.")] = None,
    split_seeds: Annotated[int | None, typer.Option(help="Splits of the data (seeds 0 to N-1), crossed with runs.")] = None,
    with_control: Annotated[bool, typer.Option("--with-control", help="Run the baseline again with other draws.")] = False,
    max_passes: MaxPasses = None,
    patience: PatienceOption = None,
    batch_size: BatchSize = None,
    max_hours: MaxHours = None,
    target: Target = None,
    ruleset: Ruleset = "quick",
    device: Device = "cpu",
    out: Out = None,
    country: Country = None,
    grid_g_per_kwh: Grid = None,
    estimate_energy: Estimate = False,
    accept_other_code: AcceptOtherCode = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> int:
    """Tune every arm under one ruleset, train it on fresh seeds, meter it, write records and a report.

    With no options: the embedded digits, every arm that fits, a few minutes on two cores.

    Example: bpfree compare --dataset fashion-mnist --net mlp:2x1000 --arms backprop,mono-forward --seeds 3
    """
    from bpfree.cli.compare import compare_command
    from bpfree.cli.setting import Request
    from bpfree.cli.target import parse_target

    request = Request(
        dataset=dataset, data_dir=data_dir, net=net, ruleset=ruleset, device=device, country=country,
        grid_g_per_kwh=grid_g_per_kwh, estimate_energy=estimate_energy,
        changes={"trials": trials, "max_passes": max_passes, "patience": patience, "batch_size": batch_size,
                 "max_hours": max_hours, "seeds": seeds, "target": parse_target(target), "studies": studies,
                 "split_seeds": split_seeds, "control": with_control or None},
    )  # fmt: skip
    return compare_command(request, arms=arms, out=out, accept_other_code=accept_other_code, as_json=as_json, quiet=quiet)


@app.command()
def train(
    algorithm: Annotated[str, typer.Argument(help="A rule, such as mono-forward (bpfree list algorithms).")],
    dataset: Dataset = None,
    data_dir: DataDir = None,
    net: Net = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="Hyper-parameter, such as --set lr=1e-3; may be repeated.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Of initial parameters, batches, and randomness inside steps.")] = 0,
    max_passes: MaxPasses = None,
    patience: PatienceOption = None,
    batch_size: BatchSize = None,
    max_hours: MaxHours = None,
    ruleset: Ruleset = "quick",
    device: Device = "cpu",
    out: Out = None,
    country: Country = None,
    grid_g_per_kwh: Grid = None,
    estimate_energy: Estimate = False,
    accept_other_code: AcceptOtherCode = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> int:
    """One metered run with given hyper-parameters, resumable after each pass.

    Example: bpfree train mono-forward --dataset mnist --net mlp:2x1000 --max-passes 30 --set lr=5e-4
    """
    from bpfree.cli.setting import Request
    from bpfree.cli.train import train_command

    request = Request(
        dataset=dataset, data_dir=data_dir, net=net, ruleset=ruleset, device=device, country=country,
        grid_g_per_kwh=grid_g_per_kwh, estimate_energy=estimate_energy,
        changes={"max_passes": max_passes, "patience": patience, "batch_size": batch_size, "max_hours": max_hours},
    )  # fmt: skip
    return train_command(
        request, algorithm=algorithm, settings=settings or [], seed=seed, out=out,
        accept_other_code=accept_other_code, as_json=as_json, quiet=quiet,
    )  # fmt: skip


@app.command()
def predict(
    model: Annotated[Path, typer.Argument(help="What bpfree train wrote (DIR/model.safetensors).")],
    data: Annotated[Path, typer.Option(help="A .npz file with examples x, as they were in training; labels are not needed.")],
    device: Device = "cpu",
    as_json: Json = False,
) -> int:
    """Class and probabilities of each example, as CSV or JSON.

    Example: bpfree predict runs/a/model.safetensors --data new.npz > classes.csv
    """
    from bpfree.cli.predict import predict_command

    return predict_command(model, data, device=device, as_json=as_json)


@app.command()
def report(
    directories: Annotated[list[Path], typer.Argument(help="Run directories with one ruleset.")],
    out: Annotated[Path | None, typer.Option(help="Where the report goes.")] = None,
    target: Target = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> int:
    """Rebuild the report of one or several run directories.

    Example: bpfree report runs/2026-11-21-digits
    """
    from bpfree.cli.show import report_command
    from bpfree.cli.target import parse_target

    return report_command(directories, out=out, target=parse_target(target), as_json=as_json, quiet=quiet)


@app.command()
def doctor(
    device: Annotated[str | None, typer.Option(help="cpu or cuda; by default cuda where there is a GPU.")] = None,
    calibrate: Annotated[
        bool, typer.Option("--calibrate", help="Check the meter as well: idle, constant load, counter against integral.")
    ] = False,
    seconds: Annotated[float, typer.Option(help="Of idling and of load in --calibrate; 20 periods of a counter at least.")] = 5.0,
    country: Country = None,
    grid_g_per_kwh: Grid = None,
    estimate_energy: Estimate = False,
    as_json: Json = False,
) -> int:
    """What can be measured on this machine, how, and what is missing.

    Example: bpfree doctor --calibrate --country POL
    """
    from bpfree.cli.doctor import doctor_command

    return doctor_command(
        device, calibrating=calibrate, seconds=seconds, country=country, grid_g_per_kwh=grid_g_per_kwh,
        estimate_energy=estimate_energy, as_json=as_json,
    )  # fmt: skip


@app.command("list")
def list_(
    what: Annotated[str | None, typer.Argument(help="algorithms, nets, datasets or rulesets; all if left out.")] = None,
    as_json: Json = False,
) -> int:
    """What there is: rules with their hyper-parameters, nets, data sets, rulesets in words.

    Example: bpfree list algorithms
    """
    from bpfree.cli.show import list_command

    return list_command(what, as_json=as_json)


@app.command()
def cite(
    algorithms: Annotated[list[str], typer.Argument(help="Rules to cite.")],
) -> int:
    """BibTeX of the papers behind rules.

    Example: bpfree cite mono-forward forward-forward
    """
    from bpfree.cli.show import cite_command

    return cite_command(algorithms)


app.add_typer(measure_app, name="measure")
app.add_typer(analyse_app, name="analyse")
app.command()(reproduce)
app.command()(tune)
