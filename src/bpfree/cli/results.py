"""The commands on what was trained and written, and on what there is. Nothing heavy is imported until a command runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bpfree.cli import completion
from bpfree.cli.options import (
    CarbonOptions,
    Channels,
    Device,
    Estimate,
    Json,
    OutputOptions,
    Target,
    grouped,
)

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command()(predict)
    app.command()(export)
    app.command()(report)
    app.command()(serve)
    app.command()(doctor)
    app.command("list")(list_)
    app.command()(cite)
    app.command("new-rule")(new_rule)


@grouped
def predict(
    *,
    model: Annotated[Path, typer.Argument(help="What bpfree train wrote (DIR/model.safetensors).")],
    data: Annotated[
        Path,
        typer.Option(
            help="Examples as they were in training, without labels: a .npz file with x, a .npy file, or a .csv or .parquet file."
        ),
    ],
    net: Annotated[
        str | None, typer.Option(help="module:function of a net of your own, which the file does not describe.")
    ] = None,
    target_column: Annotated[
        str | None,
        typer.Option("--target-column", "--target", help="Column of a table with the labels, to print the accuracy too."),
    ] = None,
    device: Device = "cpu",
    channels: Channels = "auto",
    as_json: Json = False,
) -> int:
    """Class and probabilities of each example, as CSV or JSON.

    Example: bpfree predict runs/a/model.safetensors --data new.npz > classes.csv
    """
    from bpfree.cli.predict import predict_command

    return predict_command(model, data, device=device, channels=channels, as_json=as_json, net=net, target=target_column)


@grouped
def export(
    *,
    model: Annotated[Path, typer.Argument(help="What bpfree train wrote (DIR/model.safetensors).")],
    to: Annotated[Path, typer.Option(help="File to write: .onnx or .pt2.")],
    format_: Annotated[str | None, typer.Option("--format", help="onnx or torch; by default as --to ends.")] = None,
    heads: Annotated[
        str | None,
        typer.Option(help="strip: the net alone. keep: the scores of every block too. By default what the rule predicts by."),
    ] = None,
    batch: Annotated[str, typer.Option(help="dynamic: any number of examples; or a fixed number.")] = "dynamic",
    net: Annotated[
        str | None, typer.Option(help="module:function of a net of your own, which the file does not describe.")
    ] = None,
    as_json: Json = False,
) -> int:
    """The model as a file for other programs: raw examples in, scores and probabilities out, checked before it is written.

    Example: bpfree export runs/a/model.safetensors --to model.onnx
    """
    from bpfree.cli.export import export_command

    return export_command(model, to, format_=format_, heads=heads, batch=batch, net=net, as_json=as_json)


@grouped
def report(
    directories: Annotated[list[Path], typer.Argument(help="Run directories with one ruleset.")],
    *,
    out: Annotated[Path | None, typer.Option(help="Where the report is written.")] = None,
    target: Target = None,
    accept_other_code: Annotated[
        bool,
        typer.Option("--accept-other-code", help="Let runs of several versions of the code stand in one table, with a flag."),
    ] = False,
    open_: Annotated[bool, typer.Option("--open", help="Open the page in a browser.")] = False,
    output: OutputOptions,
) -> int:
    """Rebuild the report of one or several run directories.

    Example: bpfree report runs/2026-11-21-digits
    """
    from bpfree.cli.report import report_command
    from bpfree.cli.target import parse_target

    return report_command(
        directories, out=out, target=parse_target(target), accept_other_code=accept_other_code, open_=open_, output=output
    )


@grouped
def serve(
    directory: Annotated[Path, typer.Argument(help="Folder with run directories.")] = Path("runs"),
    port: Annotated[int, typer.Option(help="On 127.0.0.1; 0 takes any that is free.")] = 8321,
    open_: Annotated[bool, typer.Option("--open", help="Open it in a browser.")] = False,
) -> int:
    """Browse many runs in a browser of this machine; nothing is written, and no other machine can look.

    Example: bpfree serve runs --open
    """
    from bpfree.cli.serve.command import serve_command

    return serve_command(directory, port=port, open_=open_)


@grouped
def doctor(
    *,
    device: Annotated[
        str | None,
        typer.Option(help="cpu or cuda; by default cuda where there is a GPU.", autocompletion=completion.devices),
    ] = None,
    calibrate: Annotated[
        bool, typer.Option("--calibrate", help="Check the meter as well: idle, constant load, counter against integral.")
    ] = False,
    seconds: Annotated[float, typer.Option(help="Of idling and of load in --calibrate; 20 periods of a counter at least.")] = 5.0,
    carbon: CarbonOptions,
    estimate_energy: Estimate = False,
    as_json: Json = False,
) -> int:
    """What can be measured on this machine, how, and what is missing.

    Example: bpfree doctor --calibrate --country POL
    """
    from bpfree.cli.doctor import doctor_command

    return doctor_command(
        device, carbon, calibrating=calibrate, seconds=seconds, estimate_energy=estimate_energy, as_json=as_json
    )


def list_(
    what: Annotated[
        str | None,
        typer.Argument(
            autocompletion=completion.list_words,
            help="rules, nets, datasets, rulesets or suites; the names of all if left out.",
        ),
    ] = None,
    name: Annotated[
        str | None, typer.Argument(autocompletion=completion.list_names, help="One of them, to read all of it.")
    ] = None,
    as_json: Json = False,
) -> int:
    """What is available: rules, nets, data sets, rulesets, suites; a line on each of a kind, and all there is to say of one.

    Example: bpfree list rules

    Example: bpfree list rulesets quick
    """
    from bpfree.cli.show import list_command

    return list_command(what, name, as_json=as_json)


def cite(
    what: Annotated[
        list[str],
        typer.Argument(help="Rules, or run directories of compare, train and reproduce.", autocompletion=completion.rules),
    ],
) -> int:
    """BibTeX of the papers that introduced the rules; of a run directory also of its data, its tools and bpfree.

    Example: bpfree cite mono-forward forward-forward

    Example: bpfree cite runs/2026-11-21-digits
    """
    from bpfree.cli.cite import cite_command

    return cite_command(what)


def new_rule(
    name: Annotated[str, typer.Argument(help="Of the rule, such as my-rule.")],
    to: Annotated[Path | None, typer.Option(help="Where the folder NAME is made; by default here.")] = None,
) -> int:
    """A package with a working rule, its tests and its entry point, from which you write your own.

    Example: bpfree new-rule my-rule --to packages
    """
    from bpfree.cli.new_rule import new_rule_command

    return new_rule_command(name, to)
