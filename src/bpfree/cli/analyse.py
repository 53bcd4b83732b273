"""``bpfree analyse``: the figures of the papers. Nothing heavy is imported until a command runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bpfree.cli.options import (
    Channels,
    DataDir,
    DataOptions,
    Dataset,
    Device,
    OutputOptions,
    SeriesOptions,
    SplitColumn,
    TargetColumn,
    grouped,
)

__all__ = ["analyse_app"]

analyse_app = typer.Typer(
    help="How updates align with backprop's gradient, whether weights stay orthogonal, and what minima look like: figures.",
    no_args_is_help=True,
)


@analyse_app.command()
@grouped
def alignment(
    *,
    options: SeriesOptions,
    data: DataOptions,
    examples: Annotated[int, typer.Option(help="Validation examples on which both updates are computed.")] = 512,
    output: OutputOptions,
) -> int:
    """Cosine and norm ratio of a rule's update to backprop's gradient, block by block, over training.

    Both updates are computed in float64 from the same batch, before any optimiser.

    Example: bpfree analyse alignment --rule pepita:lr=1e-5 --dataset mnist --net mlp:50x128 --max-passes 10
    """
    from bpfree.cli.analyse_run import analyse_command

    return analyse_command("alignment", options, data, output, n_examples=examples)


@analyse_app.command()
@grouped
def orthogonality(options: SeriesOptions, data: DataOptions, output: OutputOptions) -> int:
    """How far each block's weights are from orthonormal rows, over training: the norm of W Wᵀ - I over √rows.

    Example: bpfree analyse orthogonality --rule foton:orthogonalise_every=100 --dataset mnist --net mlp:2x256 --every 5
    """
    from bpfree.cli.analyse_run import analyse_command

    return analyse_command("orthogonality", options, data, output)


@analyse_app.command()
@grouped
def landscape(
    models: Annotated[
        list[Path], typer.Argument(help="Files that bpfree train wrote (DIR/model.safetensors), a baseline first.")
    ],
    *,
    part: Annotated[
        list[str] | None,
        typer.Option(help="slices, sharpness, curvature, line or plane; may be repeated. By default all that can be computed."),
    ] = None,
    dataset: Dataset = None,
    data_dir: DataDir = None,
    channels: Channels = "auto",
    target_column: TargetColumn = None,
    split_column: SplitColumn = None,
    ruleset: Annotated[str, typer.Option(help="Ruleset of the training; only its split is read.")] = "quick",
    split_seed: Annotated[int, typer.Option(help="Seed of the split in the training, where it was drawn.")] = 0,
    start: Annotated[
        Path | None, typer.Option(help="Third point of a plane; by default the start, drawn again from the seed.")
    ] = None,
    examples: Annotated[int, typer.Option(help="Validation examples on which the loss is taken.")] = 2000,
    norm_examples: Annotated[int, typer.Option(help="Training examples for BatchNorm's statistics at every point.")] = 1000,
    points: Annotated[int, typer.Option(help="Points of a line or a slice.")] = 21,
    plane_points: Annotated[int, typer.Option(help="Points of each side of a plane.")] = 15,
    directions: Annotated[int, typer.Option(help="Random slices around each model.")] = 10,
    radius: Annotated[float, typer.Option(help="Half the length of a slice, in norms of each filter.")] = 1.0,
    rho: Annotated[float, typer.Option(help="Radius of the sharpness (Foret et al. 2021).")] = 0.05,
    probes: Annotated[int, typer.Option(help="Random vectors for the trace of the Hessian.")] = 20,
    double: Annotated[bool, typer.Option("--double", help="Compute in float64.")] = False,
    seed: Annotated[int, typer.Option(help="Seed of random directions and vectors.")] = 0,
    device: Device = "cpu",
    out: Annotated[
        Path | None, typer.Option(help="Directory for JSON and figures; an existing one with the same analysis is resumed.")
    ] = None,
    output: OutputOptions,
) -> int:
    """The loss around trained models, on the line between two, and in the plane through two and their start.

    One loss for all rules: the cross-entropy of the read-out on validation examples. Models of several seeds are paired by seed.

    Example: bpfree analyse landscape runs/bp/model.safetensors runs/mf/model.safetensors --data-dir /data
    """
    from bpfree.analysis import LandscapePlan
    from bpfree.cli.analyse_landscape import LandscapeData, landscape_command

    plan = LandscapePlan(
        parts=tuple(part or ()),
        examples=examples,
        norm_examples=norm_examples,
        points=points,
        plane_points=plane_points,
        directions=directions,
        radius=radius,
        rho=rho,
        probes=probes,
        seed=seed,
        double=double,
    )
    about = LandscapeData(dataset, data_dir, channels, ruleset, split_seed, target_column, split_column)
    return landscape_command(models, about, plan, output, start=start, device=device, out=out)
