"""``bpfree analyse``: the figures of the papers. Nothing heavy is imported until a command runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bpfree.cli.options import BatchSize, DataDir, Dataset, Device, Json, MaxPasses, Net, Quiet

__all__ = ["analyse_app"]

analyse_app = typer.Typer(
    help="How a rule's updates lie to backprop's gradient, and whether weights stay orthogonal: the figures of the papers.",
    no_args_is_help=True,
)

Rule = Annotated[
    str, typer.Option("--rule", "--arm", help="A rule, or an arm with fixed hyper-parameters: name:key=value.", show_default=True)
]
Every = Annotated[int, typer.Option(help="Passes between two looks; before the first and after the last it looks anyway.")]
Limit = Annotated[int | None, typer.Option(help="Training examples to use; all by default.")]
Seed = Annotated[int, typer.Option(help="Of initial parameters, batches, and randomness inside steps.")]
Out = Annotated[Path | None, typer.Option(help="Directory for JSON and figures; one with the same analysis is resumed.")]


@analyse_app.command()
def alignment(
    rule: Rule = "foton",
    dataset: Dataset = None,
    data_dir: DataDir = None,
    net: Net = None,
    max_passes: MaxPasses = None,
    every: Every = 1,
    limit: Limit = None,
    examples: Annotated[int, typer.Option(help="Validation examples on which both updates are taken.")] = 512,
    batch_size: BatchSize = None,
    seed: Seed = 0,
    device: Device = "cpu",
    out: Out = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> int:
    """Cosine and norm ratio of a rule's update to backprop's gradient, block by block, over training.

    Both updates are taken in float64 from the same batch, before any optimiser.

    Example: bpfree analyse alignment --rule pepita:lr=1e-5 --dataset mnist --net mlp:50x128 --max-passes 10
    """
    from bpfree.cli.analyse_run import Asked, analyse_command

    asked = Asked(rule, dataset, data_dir, net, max_passes, every, limit, examples, batch_size, seed, device)
    return analyse_command("alignment", asked, out=out, as_json=as_json, quiet=quiet)


@analyse_app.command()
def orthogonality(
    rule: Rule = "foton",
    dataset: Dataset = None,
    data_dir: DataDir = None,
    net: Net = None,
    max_passes: MaxPasses = None,
    every: Every = 1,
    limit: Limit = None,
    batch_size: BatchSize = None,
    seed: Seed = 0,
    device: Device = "cpu",
    out: Out = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> int:
    """How far each block's weights are from orthonormal rows, over training: the norm of W Wᵀ - I over √rows.

    Example: bpfree analyse orthogonality --rule foton:orthogonalise_every=100 --dataset mnist --net mlp:2x256 --every 5
    """
    from bpfree.cli.analyse_run import Asked, analyse_command

    asked = Asked(rule, dataset, data_dir, net, max_passes, every, limit, 1, batch_size, seed, device)
    return analyse_command("orthogonality", asked, out=out, as_json=as_json, quiet=quiet)
