"""What ``bpfree analyse landscape`` does: load models and their data, compute, draw, print."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bpfree import data, rulesets
from bpfree.analysis import QUANTITIES, LandscapePlan, Minimum, check_together, read_minima, record_landscape
from bpfree.bench import environment, fresh_path
from bpfree.cli.interrupt import raise_if_asked
from bpfree.cli.landscape_figure import draw_landscape
from bpfree.cli.options import OutputOptions
from bpfree.cli.output import print_json, print_table, say
from bpfree.cli.resume import command_line
from bpfree.cli.session import start as start_session
from bpfree.cli.setting import torch_device
from bpfree.cli.sources import source_of
from bpfree.sources import file_kind

__all__ = ["LandscapeData", "landscape_command", "load_data"]


@dataclass(frozen=True)
class LandscapeData:
    """Which data the models were trained on; what is not given is read from the models."""

    dataset: str | None
    data_dir: Path | None
    channels: str
    ruleset: str
    split_seed: int
    target_column: str | None = None
    split_column: str | None = None


def landscape_command(
    paths: Sequence[Path],
    about: LandscapeData,
    plan: LandscapePlan,
    output: OutputOptions,
    *,
    start: Path | None,
    device: str,
    out: Path | None,
) -> int:
    """Check, compute (or go on), draw, print where it is."""
    where = torch_device(device)
    minima = read_minima(paths, where)
    third = read_minima([start], where)[0] if start else None
    check_together([*minima, *([third] if third else [])])
    loaded = load_data(minima[0], about).to(where)
    environment.configure_torch(sum(p.numel() for p in minima[0].model.net.parameters()), plan.examples, where)
    directory = out or fresh_path(f"landscape-{Path(loaded.name).name}")
    session = start_session(directory, quiet=output.quiet)

    def on_unit(name: str, result: dict[str, Any]) -> None:
        raise_if_asked()
        session.console.print(f"{name}{_value(result)}")

    facts = {"command": command_line(), "versions": environment.versions()}
    document = record_landscape(minima, loaded, plan, directory, start=third, facts=facts, on_unit=on_unit)
    drawn = draw_landscape(document, directory)
    if output.as_json:
        print_json(document)
    elif not output.quiet:
        print_document(document)
        say(f"written: {', '.join(map(str, [directory / 'landscape.json', *drawn]))}")
    return 0


def load_data(minimum: Minimum, about: LandscapeData) -> data.Dataset:
    """The data of a model's training, without the test split; ``name[N]`` in its file means N training examples.

    Raises:
        BpfreeError: data or a ruleset that cannot be used.
    """
    header = minimum.model.header
    named = about.dataset or (header and header.dataset) or "digits"
    limited = re.fullmatch(r"(.+)\[(\d+)\]", named)
    name = limited[1] if limited else named
    columns = header.columns if header and file_kind(name) == "table" else None
    rules = rulesets.load(about.ruleset)
    if about.dataset is None:  # the name in a model's file runs no code
        data.check_name(name)
    source = source_of(name, about.target_column or (columns and columns.target), about.split_column)
    is_own = isinstance(source, data.Table) or (about.dataset is not None and data.function_of(name) is not None)
    loaded = data.load_any(
        source,
        data_dir=about.data_dir,
        split=rules.split_for("arrays" if is_own or file_kind(name, data.names()) else name),
        split_seed=about.split_seed,
        channels=about.channels,
    )
    if limited is None and about.dataset and header and header.dataset:
        limited = re.fullmatch(re.escape(loaded.name) + r"(\[(\d+)\])", header.dataset)
    return (loaded.limited(int(limited[2])) if limited else loaded).without_test()


def _value(result: dict[str, Any]) -> str:
    """The number of a step that says most."""
    for key, words in (("rise", "mean rise"), ("barrier", "barrier"), ("plain", "sharpness"), ("trace", "trace")):
        if isinstance(result.get(key), float):
            return f": {words} {result[key]:.4g}"
    return ""


def print_document(document: dict[str, Any]) -> None:
    """The table of models, the lines, the comparison over seeds, and what must be said of the rules."""
    headings = ("model", "loss", "accuracy", "rise", "width", "sharpness", "filter-normalised", "trace", "largest eigenvalue")
    of_model: dict[str, dict[str, Any]] = {model["name"]: {} for model in document["models"]}
    for part in ("slices", "sharpness", "curvature"):
        for entry in document[part]:
            of_model[entry["of"][0]].update(entry)
    keys = ("loss", "accuracy", "rise", "width", "plain", "filter_normalised", "trace", "largest")
    rows = [(name, *(_number(values.get(key)) for key in keys)) for name, values in of_model.items()]
    print_table(
        f"{document['net']} on {document['dataset']}, {document['examples']} validation examples; losses in nats", headings, rows
    )
    if document["line"]:
        rows = [(" to ".join(entry["of"]), entry["between"], _number(entry["barrier"])) for entry in document["line"]]
        print_table("lines; barriers in nats", ("from and to", "weights", "barrier"), rows)
    rows = [
        (f"{label}: {QUANTITIES[name][1] if name in QUANTITIES else 'barrier to the baseline of the next seed'}", row["sentence"])
        for name, labels in document["comparison"].items()
        for label, row in labels.items()
        if "sentence" in row
    ]
    if rows:
        print_table(f"against {document['models'][0]['label']}, paired by seed", ("rule and quantity", "difference"), rows)
    for note in document["notes"]:
        say(note)
    for what, why in document["reasons"].items():
        say(f"no {what}: {why}")


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"
