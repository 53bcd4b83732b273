"""Options that mean the same in every command."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = [
    "AcceptOtherCode",
    "BatchSize",
    "Country",
    "DataDir",
    "Dataset",
    "Device",
    "Estimate",
    "Grid",
    "Json",
    "MaxHours",
    "MaxPasses",
    "Net",
    "Out",
    "PatienceOption",
    "Quiet",
    "Ruleset",
    "Target",
]

Dataset = Annotated[str | None, typer.Option(help="digits, mnist, fashion-mnist, cifar10, cifar100, synthetic, or FILE.npz.")]
DataDir = Annotated[
    Path | None,
    typer.Option(envvar="BPFREE_DATA", help="Holds mnist/, fashion-mnist/, cifar-10-batches-py/, cifar-100-python/."),
]
Net = Annotated[str | None, typer.Option(help="mlp:2x256 (two hidden blocks of 256), mlp:512-256-128.")]
Ruleset = Annotated[str, typer.Option(help="A name (bpfree list rulesets) or a YAML file.")]
Device = Annotated[str, typer.Option(help="cpu or cuda.")]
Out = Annotated[Path | None, typer.Option(help="Run directory; an existing one with the same ruleset is resumed.")]
Country = Annotated[str | None, typer.Option(help="ISO3 code of the grid, for grams of CO2e (POL, FRA, USA).")]
Grid = Annotated[float | None, typer.Option("--grid-g-per-kwh", help="Grams of CO2e per kWh of your grid.")]
Estimate = Annotated[
    bool,
    typer.Option("--estimate-energy", help="Where nothing measures the processor's energy, estimate it (labelled)."),
]
MaxPasses = Annotated[int | None, typer.Option(help="Cap on the passes of a run, over all its phases.")]
BatchSize = Annotated[int | None, typer.Option(help="Examples in a step.")]
MaxHours = Annotated[float | None, typer.Option(help="Cap on the wall time of a run.")]
PatienceOption = Annotated[int | None, typer.Option("--patience", help="Passes without improvement before a phase ends.")]
Target = Annotated[
    str | None,
    typer.Option(help="Validation accuracy (0.95, or mnist=0.97,cifar10=0.5) up to which time and energy are counted."),
]
AcceptOtherCode = Annotated[
    bool,
    typer.Option("--accept-other-code", help="Go on in a directory that another version of bpfree began; the report says so."),
]
Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
Quiet = Annotated[bool, typer.Option("--quiet", help="No progress, no table.")]
