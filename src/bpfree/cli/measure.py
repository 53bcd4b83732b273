"""``bpfree measure``: what using or training a net costs; a command for each cost."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bpfree.cli.options import ARMS, BatchSize, CountOptions, DataOptions, Json, MeterOptions, grouped

__all__ = ["measure_app"]

measure_app = typer.Typer(
    help="Measure one cost by itself.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@measure_app.command()
@grouped
def inference(
    models: Annotated[list[Path], typer.Argument(help="Files that bpfree train wrote (DIR/model.safetensors).")],
    meter: MeterOptions,
    batch: Annotated[
        list[int] | None, typer.Option("--batch", help="Examples a call; may be repeated. By default 1 and 128.")
    ] = None,
    repeats: Annotated[int, typer.Option(help="Calls that are timed one by one, for each model and batch size.")] = 100,
    all_readouts: Annotated[
        bool, typer.Option("--all-readouts", help="Every readout whose weights the file has, not only the model's.")
    ] = False,
    as_json: Json = False,
) -> int:
    """Latency, throughput and joules per thousand examples of trained models, measured in turns.

    Example: bpfree measure inference runs/a/model.safetensors runs/b/model.safetensors --batch 1 --batch 128
    """
    from bpfree.cli.measure_inference import inference_command

    return inference_command(models, meter, batch_sizes=batch or (), repeats=repeats, every_readout=all_readouts, as_json=as_json)


@measure_app.command()
@grouped
def memory(
    options: CountOptions,
    figure: Annotated[Path | None, typer.Option(help="Draw the bars into this SVG file as well.")] = None,
    as_json: Json = False,
) -> int:
    """Bytes of a training step by use, live and by formula; nothing is trained. Data give the shapes only.

    Example: bpfree measure memory --net mlp:3x256 --net mlp:32x256 --arms backprop,mono-forward --figure memory.svg
    """
    from bpfree.cli.measure_cost import memory_command

    return memory_command(options, figure=figure, as_json=as_json)


@measure_app.command()
@grouped
def flops(options: CountOptions, as_json: Json = False) -> int:
    """Multiply-adds of a training step, counted, by formula, and relative to backprop; nothing is trained.

    Example: bpfree measure flops --net mlp:4x2000 --arms backprop,mono-forward,forward-forward --batch-size 16
    """
    from bpfree.cli.measure_cost import flops_command

    return flops_command(options, as_json=as_json)


@measure_app.command()
@grouped
def training(
    *,
    data: DataOptions,
    arms: Annotated[str, ARMS] = "backprop,mono-forward",
    batch_size: BatchSize = 128,
    seconds: Annotated[float, typer.Option(help="Least length of a window; 20 periods of the slowest counter at least.")] = 1.0,
    max_seconds: Annotated[float, typer.Option(help="Greatest length of a window, resolved or not.")] = 60.0,
    meter: MeterOptions,
    as_json: Json = False,
) -> int:
    """Seconds and joules of a training pass and of an evaluation pass, repeated until the counters resolve them.

    Example: bpfree measure training --dataset fashion-mnist --net mlp:4x2000 --arms backprop,forward-forward
    """
    from bpfree.cli.measure_training import training_command

    return training_command(
        data, meter, arms=arms, batch_size=batch_size, seconds=seconds, max_seconds=max_seconds, as_json=as_json
    )
