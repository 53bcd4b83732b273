"""``bpfree analyse``: the figures of the papers. Nothing heavy is imported until a command runs."""

from __future__ import annotations

from typing import Annotated

import typer

from bpfree.cli.options import DataOptions, OutputOptions, SeriesOptions, grouped

__all__ = ["analyse_app"]

analyse_app = typer.Typer(
    help="How well a rule's updates align with backprop's gradient, and whether weights stay orthogonal: figures of the papers.",
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
