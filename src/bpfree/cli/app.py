"""The commands and their options. Nothing heavy is imported until a command runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bpfree._version import __version__
from bpfree.cli import completion, results, several
from bpfree.cli.analyse import analyse_app
from bpfree.cli.measure import measure_app
from bpfree.cli.notices import one_line_warnings
from bpfree.cli.options import (
    Arms,
    BatchSize,
    CarbonOptions,
    CheckpointEvery,
    DataDir,
    DataOptions,
    DirectoryOptions,
    Jobs,
    Json,
    LaunchOptions,
    MaxHours,
    MaxPasses,
    MeterOptions,
    OutputOptions,
    RuleOptions,
    Seed,
    Seeds,
    ShortTarget,
    Storage,
    Target,
    Trials,
    grouped,
)
from bpfree.cli.output import on_terminal

__all__ = ["app", "command_line_errors"]

app = typer.Typer(
    name="bpfree",
    help="Train deep networks without backpropagation, and measure, fairly and in joules, what that costs and gains.",
    no_args_is_help=True,
    rich_markup_mode="rich" if on_terminal() else None,  # help in a pipe is plain, and rich is not imported
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def command_line_errors() -> type[Exception]:
    """Root of typer's own errors about the command line (its module differs between versions, its bases do not)."""
    return next(kind for kind in reversed(typer.BadParameter.__mro__) if kind.__name__ == "ClickException")


MOST_EARLY = 8
"""Processes that are started before it is known how many trials there are."""


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


def _start_early(jobs: int | None, meter: MeterOptions, ruleset: str | Path | None) -> None:
    """Start the further processes of a search now, before this one imports torch; of a default, one for the idle core."""
    from bpfree.early_processes import SEARCH, may_start_early, start_early

    if meter.device == "cpu" and str(ruleset) != "claim" and jobs != 1 and may_start_early():
        start_early(SEARCH, min(jobs or 2, MOST_EARLY) - 1)


@app.command()
@grouped
def compare(
    *,
    context: typer.Context,
    data: DataOptions,
    arms: Arms = None,
    seeds: Seeds = None,
    trials: Trials = None,
    studies: Annotated[int | None, typer.Option(help="Studies; the best trial of each is a measured run.")] = None,
    split_seeds: Annotated[int | None, typer.Option(help="Splits of the data (seeds 0 to N-1), crossed with runs.")] = None,
    with_control: Annotated[bool, typer.Option("--with-control", help="Run the baseline again with other draws.")] = False,
    jobs: Jobs = None,
    storage: Storage = None,
    rules: RuleOptions,
    target: Target = None,
    meter: MeterOptions,
    carbon: CarbonOptions,
    place: DirectoryOptions,
    launch: LaunchOptions,
    output: OutputOptions,
) -> int:
    """Tune every arm under one ruleset, train it on fresh seeds, meter it, write records and a report.

    With no options: the embedded digits, every arm that fits, a few minutes on two cores.

    Example: bpfree compare --dataset fashion-mnist --net mlp:2x1000 --arms backprop,mono-forward --seeds 3
    """
    _start_early(1 if storage or launch.launcher else jobs, meter, rules.ruleset)
    from bpfree.cli.compare import compare_command
    from bpfree.cli.setting import Request
    from bpfree.cli.target import is_column, parse_target

    if is_column(target, data.dataset, data.target_column):
        data, target = data.with_target(target), None
    changes = {
        "trials": trials,
        "seeds": seeds,
        "target": parse_target(target),
        "studies": studies,
        "split_seeds": split_seeds,
        "control": with_control or None,
    }
    request = Request(data, rules, meter, carbon, changes)
    if launch.launcher is not None:
        from bpfree.cli.launch.compare import FOLDED, launch_command
        from bpfree.cli.launch.words import options_given

        if storage is not None:
            from bpfree.errors import UsageError

            raise UsageError("--launcher gives each arm a job and a directory of its own; leave out --storage, or the launcher")
        return launch_command(request, options_given(context, FOLDED), arms=arms, launch=launch, place=place, output=output)
    return compare_command(request, arms=arms, jobs=jobs, storage=storage, place=place, output=output)


@app.command()
@grouped
def plan(
    *,
    data: DataOptions,
    arms: Arms = None,
    batch_size: BatchSize = None,
    max_passes: MaxPasses = None,
    max_memory: Annotated[
        str | None, typer.Option(help="Most bytes of tensors, such as 2GiB; process and data come on top.")
    ] = None,
    max_seconds: Annotated[float | None, typer.Option(help="Most seconds of a run, validation included.")] = None,
    max_joules: Annotated[float | None, typer.Option(help="Most joules of a run; needs runs metered on this machine.")] = None,
    measured: Annotated[
        Path | None,
        typer.Option(help="Run directory whose metered runs say what watts this machine takes; by default those in runs/."),
    ] = None,
    calibrate: Annotated[
        bool, typer.Option("--calibrate", help="Time all operations again, whatever the user's cache holds of this machine.")
    ] = False,
    as_json: Json = False,
) -> int:
    """Predict bytes, multiply-adds, seconds and joules of every rule, say which fit a budget, and what to change.

    No step is run: its operations are followed without numbers, and each is timed by itself, for some seconds in all.

    Example: bpfree plan --dataset mnist --net mlp:3x1000 --max-memory 64MiB --max-seconds 600
    """
    from bpfree.cli.plan import plan_command

    return plan_command(
        data, arms=arms, batch_size=batch_size, max_passes=max_passes, max_memory=max_memory, max_seconds=max_seconds,
        max_joules=max_joules, measured=measured, calibrate=calibrate, as_json=as_json,
    )  # fmt: skip


@app.command()
@grouped
def train(
    algorithm: Annotated[
        str, typer.Argument(autocompletion=completion.rules, help="A rule, such as mono-forward (bpfree list rules).")
    ],
    *,
    data: DataOptions,
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="Hyper-parameter, such as --set lr=1e-3; may be repeated.")
    ] = None,
    seed: Seed = 0,
    parallel: Annotated[
        str | None,
        typer.Option(
            metavar="layers|data|layers,data", help="Under torchrun: each rank has some blocks, some rows of a batch, or both."
        ),
    ] = None,
    checkpoint_every: CheckpointEvery = None,
    column: ShortTarget = None,
    rules: RuleOptions,
    meter: MeterOptions,
    carbon: CarbonOptions,
    place: DirectoryOptions,
    output: OutputOptions,
) -> int:
    """One metered run with given hyper-parameters, resumable after each pass, and within one by --checkpoint-every.

    Example: bpfree train mono-forward --dataset mnist --net mlp:2x1000 --max-passes 30 --set lr=5e-4
    """
    from bpfree.cli.setting import Request
    from bpfree.cli.train import train_command

    request = Request(data.with_target(column), rules, meter, carbon)
    return train_command(
        request,
        algorithm=algorithm,
        settings=settings or [],
        seed=seed,
        place=place,
        output=output,
        parallel=parallel,
        checkpoint_every=checkpoint_every,
    )


@app.command()
@grouped
def tune(
    algorithm: Annotated[
        str, typer.Argument(autocompletion=completion.rules, help="A rule or an arm, such as mono-forward:schedule=staged.")
    ],
    *,
    data: DataOptions,
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="Fix a hyper-parameter: --set lr=1e-3; may be repeated.")
    ] = None,
    trials: Trials = None,
    jobs: Jobs = None,
    storage: Storage = None,
    column: ShortTarget = None,
    rules: RuleOptions,
    meter: MeterOptions,
    place: DirectoryOptions,
    output: OutputOptions,
) -> int:
    """The search alone, on the validation split; prints the best values as --set options. With --out it is resumed.

    Example: bpfree tune mono-forward --dataset mnist --net mlp:2x1000 --trials 20 --out runs/tuned
    """
    _start_early(1 if storage else jobs, meter, rules.ruleset)
    from bpfree.cli.setting import Request
    from bpfree.cli.tune import tune_command

    request = Request(data.with_target(column), rules, meter, changes={"trials": trials})
    arm = ":".join([algorithm, *(settings or [])])
    return tune_command(request, arm=arm, jobs=jobs, storage=storage, place=place, output=output)


@app.command()
@grouped
def reproduce(
    *,
    suite: Annotated[
        str | None, typer.Argument(autocompletion=completion.suites, help="A suite (bpfree reproduce --list) or a YAML file.")
    ] = None,
    list_: Annotated[bool, typer.Option("--list", help="The suites, or the rows of one.")] = False,
    scale: Annotated[float, typer.Option(help="Multiplies examples, trials and passes, each at least 1; stamped SCALED.")] = 1.0,
    datasets: Annotated[str | None, typer.Option(help="Only rows on these, comma-separated.")] = None,
    arms: Annotated[str | None, typer.Option(help="Only these arms, or all arms of these rules, comma-separated.")] = None,
    seeds: Seeds = None,
    max_hours: MaxHours = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print what would be run, with an estimate of hours and joules.")
    ] = False,
    flops_per_second: Annotated[
        float | None,
        typer.Option(
            help="With --dry-run: predict hours for a device of this speed (2 FLOPs a multiply-add), bytes and multiply-adds too."
        ),
    ] = None,
    jobs: Jobs = None,
    data_dir: DataDir = None,
    folder: Annotated[
        Path | None, typer.Option("--dataset", metavar="DIR", help="Folder of images for the rows of imagenet-plan.")
    ] = None,
    meter: MeterOptions,
    carbon: CarbonOptions,
    place: DirectoryOptions,
    output: OutputOptions,
) -> int:
    """A published table, measured again under the paper's rules and shown with the published numbers.

    Example: bpfree reproduce spyra2025 --scale 0.02 --seeds 1
    """
    if suite is None or list_:
        from bpfree.cli.suite_list import list_command

        return list_command(suite, list_=list_, as_json=output.as_json)
    from bpfree.cli.dry_run import dry_run_command
    from bpfree.cli.reproduce import MachineOptions, reproduce_command
    from bpfree.cli.suites import choose_rows

    chosen = choose_rows(suite, scale=scale, datasets=datasets, arms=arms, seeds=seeds, max_hours=max_hours, folder=folder)
    machine = MachineOptions(meter, carbon, data_dir, jobs)
    if dry_run:
        return dry_run_command(chosen, machine, flops_per_second=flops_per_second, as_json=output.as_json)
    return reproduce_command(chosen, machine, place=place, output=output)


results.register(app)
several.register(app)
app.add_typer(measure_app, name="measure")
app.add_typer(analyse_app, name="analyse")
