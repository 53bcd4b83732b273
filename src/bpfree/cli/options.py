"""Options that several commands share: each is declared once, and groups of them are one parameter of a command."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator
from dataclasses import MISSING, dataclass, fields, is_dataclass, replace
from pathlib import Path
from typing import Annotated, Any, get_type_hints

import typer

from bpfree.cli import completion
from bpfree.errors import UsageError

__all__ = [
    "ARMS",
    "Arms",
    "BatchSize",
    "CarbonOptions",
    "Channels",
    "CheckpointEvery",
    "ClassWeight",
    "CountOptions",
    "DataDir",
    "DataOptions",
    "Dataset",
    "Device",
    "DirectoryOptions",
    "Estimate",
    "FigureDirectory",
    "Jobs",
    "Json",
    "LaunchOptions",
    "MaxHours",
    "MaxPasses",
    "MeterOptions",
    "OutputOptions",
    "Precision",
    "RuleOptions",
    "Seed",
    "Seeds",
    "SeriesOptions",
    "ShortTarget",
    "SplitColumn",
    "Storage",
    "Target",
    "TargetColumn",
    "Tier",
    "Trials",
    "grouped",
]

ARMS = typer.Option(autocompletion=completion.arms, help="name or name:key=value, comma-separated.")

Arms = Annotated[str | None, ARMS]

FigureDirectory = Annotated[
    Path | None, typer.Option(help="Directory for JSON and figures; an existing one with the same analysis is resumed.")
]

BatchSize = Annotated[int | None, typer.Option(help="Examples in a step.")]
Channels = Annotated[
    str, typer.Option(help="How examples of your own with three axes are read: first, last, or auto (by their shape).")
]
ClassWeight = Annotated[
    str | None, typer.Option(help="balanced: every class weighs the same in every arm's losses. none: every example does.")
]
CheckpointEvery = Annotated[
    str | None,
    typer.Option(
        metavar="N|Ns", help="Write the checkpoint within passes too, after N steps or N seconds: a killed run goes on there."
    ),
]
DataDir = Annotated[
    Path | None,
    typer.Option(envvar="BPFREE_DATA", help="Holds mnist/, fashion-mnist/, cifar-10-batches-py/, cifar-100-python/."),
]
Dataset = Annotated[
    str | None,
    typer.Option(
        autocompletion=completion.datasets,
        help="digits, mnist, fashion-mnist, cifar10, cifar100, synthetic, or your own: FILE.npz, x.npy,y.npy, a folder of them, "
        "FILE.csv or FILE.parquet (with --target-column), a folder of images, 'shards-{00..09}.tar', module:function.",
    ),
]
DataIn = Annotated[
    str,
    typer.Option(
        help="Where examples of .npy files, images and shards are kept: memory, files (batches read what they need), or auto: "
        "files if they would take more than half of the free memory. The batches are the same."
    ),
]
ImageSize = Annotated[int | None, typer.Option(help="Pixels of both sides to which images in files are resized and cropped.")]
SkipCorrupt = Annotated[
    bool, typer.Option("--skip-corrupt", help="Leave out images and shards that cannot be read, and count them.")
]
Device = Annotated[str, typer.Option(help="cpu or cuda.", autocompletion=completion.devices)]
Estimate = Annotated[
    bool,
    typer.Option("--estimate-energy", help="Where nothing measures the processor's energy, estimate it (labelled)."),
]
Jobs = Annotated[
    int | None,
    typer.Option(
        help="Processes that share a search (measured runs stay alone); any number gives the same trials. With the sampler tpe "
        "only arms run at once. Trials at once are not metered. By default one for each idle core, where a step uses one "
        "thread, no energy is metered and it saves time.",
        show_default=False,
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
MaxHours = Annotated[float | None, typer.Option(help="Cap on the wall time of a run.")]
MaxPasses = Annotated[int | None, typer.Option(help="Cap on the passes of a run, over all its phases.")]
Precision = Annotated[str | None, typer.Option(help="Number format of products: float32, tf32 (on a GPU), or bfloat16.")]
Seed = Annotated[int, typer.Option(help="Of initial parameters, batches, and randomness inside steps.")]
Seeds = Annotated[int | None, typer.Option(help="Measured runs of each arm (seeds 0 to N-1).")]
SplitColumn = Annotated[
    str | None, typer.Option(help="Column of FILE.csv or FILE.parquet that says train, validation or test of each row.")
]
Storage = Annotated[
    str | None,
    typer.Option(
        envvar="BPFREE_STORAGE",
        metavar="URL",
        help="Share the work with bpfree worker: journal (in the run directory), postgresql://U@HOST/DB (password in "
        "PGPASSWORD), or grpc://HOST:PORT. Trials are then not metered. Measured runs have their device alone.",
    ),
]
Target = Annotated[
    str | None,
    typer.Option(
        help="Validation accuracy (0.95, or mnist=0.97,cifar10=0.5) up to which time and energy are counted; with a table, any "
        "other word names the --target-column."
    ),
]
TargetColumn = Annotated[str | None, typer.Option(help="Column of FILE.csv or FILE.parquet that holds the labels.")]
ShortTarget = Annotated[str | None, typer.Option("--target", help="The same as --target-column.")]
Tier = Annotated[str | None, typer.Option(help="How a step is executed: eager, compiled, or graph (on a GPU).")]
Trials = Annotated[int | None, typer.Option(help="Trials of the search, for each arm.")]


@dataclass(frozen=True)
class DataOptions:
    """What is learned, and by which net."""

    dataset: Dataset = None
    data_dir: DataDir = None
    channels: Channels = "auto"
    target_column: TargetColumn = None
    split_column: SplitColumn = None
    net: Annotated[
        str | None,
        typer.Option(
            autocompletion=completion.nets, help="mlp:2x256, cnn3, ... (bpfree list nets), or module:function (your own)."
        ),
    ] = None
    data_in: DataIn = "auto"
    image_size: ImageSize = None
    skip_corrupt: SkipCorrupt = False

    def with_target(self, column: str | None) -> DataOptions:
        """With the column that ``--target`` names, where it was given.

        Raises:
            UsageError: ``--target-column`` names another one.
        """
        if column is None or column == self.target_column:
            return self
        if self.target_column is not None:
            raise UsageError(f"--target {column} and --target-column {self.target_column} name two columns; give one")
        return replace(self, target_column=column)


@dataclass(frozen=True)
class RuleOptions:
    """A ruleset, and changes to it; None where it stays as it is. Names as in :data:`bpfree.rulesets.ruleset.ALIASES`."""

    ruleset: Annotated[
        str, typer.Option(help="A name (bpfree list rulesets) or a YAML file.", autocompletion=completion.rulesets)
    ] = "quick"
    max_passes: MaxPasses = None
    patience: Annotated[int | None, typer.Option(help="Passes without improvement before a phase ends.")] = None
    batch_size: BatchSize = None
    max_hours: MaxHours = None
    class_weight: ClassWeight = None
    tier: Tier = None
    precision: Precision = None

    def changes(self) -> dict[str, Any]:
        """Rules by name, those that were given."""
        values = {field.name: getattr(self, field.name) for field in fields(self) if field.name != "ruleset"}
        return {name: value for name, value in values.items() if value is not None}


@dataclass(frozen=True)
class MeterOptions:
    """Where training runs, and how its energy is metered."""

    device: Device = "cpu"
    estimate_energy: Estimate = False


@dataclass(frozen=True)
class CarbonOptions:
    """The factor by which joules become grams of CO2 equivalent."""

    country: Annotated[str | None, typer.Option(help="Code of the grid, for grams of CO2e (POL or PL, FRA, USA).")] = None
    grid_g_per_kwh: Annotated[float | None, typer.Option(help="Grams of CO2e per kWh of your grid.")] = None


@dataclass(frozen=True)
class DirectoryOptions:
    """The run directory."""

    out: Annotated[Path | None, typer.Option(help="Run directory; an existing one with the same ruleset is resumed.")] = None
    accept_other_code: Annotated[
        bool,
        typer.Option("--accept-other-code", help="Resume a directory made by another version of bpfree; the report says so."),
    ] = False


@dataclass(frozen=True)
class LaunchOptions:
    """Where the jobs of a comparison run; without a launcher it runs in this process."""

    launcher: Annotated[
        str | None,
        typer.Option(
            autocompletion=completion.launchers,
            metavar="slurm|local|debug",
            help="Each arm is a job, by submitit: slurm, an array on a cluster; local and debug try it on this machine.",
        ),
    ] = None
    slurm: Annotated[
        list[str] | None,
        typer.Option(help="With --launcher: a parameter of submitit, such as --slurm timeout_min=240; may be repeated."),
    ] = None


@dataclass(frozen=True)
class OutputOptions:
    """What is printed."""

    as_json: Json = False
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress, no table.")] = False


@dataclass(frozen=True)
class SeriesOptions:
    """What is trained, and after which passes it is analysed."""

    rule: Annotated[
        str,
        typer.Option(
            "--rule",
            "--arm",
            autocompletion=completion.rules,
            help="A rule, or an arm with fixed hyper-parameters: name:key=value.",
            show_default=True,
        ),
    ] = "foton"
    max_passes: MaxPasses = None
    every: Annotated[int, typer.Option(help="Passes between two points; the start and the end are always points.")] = 1
    limit: Annotated[int | None, typer.Option(help="Training examples to use; all by default.")] = None
    batch_size: BatchSize = None
    seed: Seed = 0
    device: Device = "cpu"
    out: FigureDirectory = None


@dataclass(frozen=True)
class CountOptions:
    """Whose training steps are counted. Nothing is trained."""

    net: Annotated[
        list[str] | None,
        typer.Option(
            "--net", autocompletion=completion.nets, help="May be repeated. By default mlp:3x256, mlp:8x256, mlp:32x256."
        ),
    ] = None
    arms: Annotated[
        str | None,
        typer.Option(autocompletion=completion.arms, help="name or name:key=value, comma-separated. By default every rule."),
    ] = None
    batch_size: BatchSize = 128
    dataset: Dataset = None
    data_dir: DataDir = None
    channels: Channels = "auto"
    target_column: TargetColumn = None
    split_column: SplitColumn = None
    data_in: DataIn = "auto"
    image_size: ImageSize = None
    skip_corrupt: SkipCorrupt = False


def _at_home(value: Any) -> Any:
    """Paths with ``~`` for the home directory, which shells leave as it is after an equals sign (``--out=~/runs``)."""
    if isinstance(value, list | tuple):
        return type(value)(_at_home(each) for each in value)
    if not isinstance(value, Path | str) or not str(value).startswith("~"):
        return value
    try:
        return Path(value).expanduser() if isinstance(value, Path) else str(Path(value).expanduser())
    except RuntimeError:  # no user of that name: a folder may be called so
        return value


def grouped(command: Callable[..., int]) -> Callable[..., int]:
    """Let typer see each field of the groups (dataclasses) among the parameters of ``command`` as a separate option.

    Args:
        command: its groups are given to it as instances of their dataclass.
    """
    hints = get_type_hints(command, include_extras=True)
    groups = {name: hint for name, hint in hints.items() if is_dataclass(hint) and isinstance(hint, type)}

    def flat(parameter: inspect.Parameter) -> Iterator[inspect.Parameter]:
        if parameter.name not in groups:
            yield parameter.replace(annotation=hints[parameter.name], kind=inspect.Parameter.KEYWORD_ONLY)
            return
        types = get_type_hints(groups[parameter.name], include_extras=True)
        for field in fields(groups[parameter.name]):
            default = inspect.Parameter.empty if field.default is MISSING else field.default
            yield inspect.Parameter(field.name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=types[field.name])

    parameters = [each for parameter in inspect.signature(command).parameters.values() for each in flat(parameter)]

    @functools.wraps(command)
    def call(**options: Any) -> int:
        from bpfree.cli.early import refuse

        options = {name: _at_home(value) for name, value in options.items()}
        refuse(options, command.__name__)
        for name, group in groups.items():
            options[name] = group(**{field.name: options.pop(field.name) for field in fields(group)})
        return command(**options)

    call.__signature__ = inspect.Signature(parameters, return_annotation=int)  # type: ignore[attr-defined]  # functions have it, their type does not say so
    call.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    del call.__wrapped__  # typer must see this signature, not that of the command
    return call
