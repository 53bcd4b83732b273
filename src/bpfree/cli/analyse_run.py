"""What ``bpfree analyse`` does: check, train and look, draw, print."""

from __future__ import annotations

import json
import statistics
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import typer
from rich.console import Console
from rich.table import Table

from bpfree.algorithms import check_net, params
from bpfree.analysis import Plan, record_series
from bpfree.bench import Arm, environment, fresh_path
from bpfree.cli.analyse_figure import draw_series
from bpfree.cli.interrupt import raise_if_asked, watch_for_interrupts
from bpfree.cli.resume import command_line, remember
from bpfree.cli.setting import Request

__all__ = ["Asked", "analyse_command"]


@dataclass(frozen=True)
class Asked:
    """The options of a command."""

    rule: str
    dataset: str | None
    data_dir: Path | None
    net: str | None
    max_passes: int | None
    every: int
    limit: int | None
    examples: int
    batch_size: int | None
    seed: int
    device: str


def analyse_command(kind: str, asked: Asked, *, out: Path | None, as_json: bool, quiet: bool) -> int:
    """Record one series, draw it, say where."""
    arm = Arm.parse(asked.rule)
    changes = {"max_passes": asked.max_passes, "batch_size": asked.batch_size, "train_examples": asked.limit}
    request = Request(
        dataset=asked.dataset, data_dir=asked.data_dir, net=asked.net, ruleset="quick", device=asked.device, country=None,
        grid_g_per_kwh=None, estimate_energy=False, changes=changes,
    )  # fmt: skip
    rules = request.rules("train")
    setting = request.setting(rules)
    data = setting.data.without_test()
    plan = Plan(
        max_passes=rules.passes(setting.data.name), every=asked.every, batch_size=rules.batch_size,
        n_examples=min(asked.examples, data.n("validation")), seed=asked.seed,
    )  # fmt: skip
    rule, net = arm.build({}), setting.build_net()
    check_net(rule, net)  # before anything is written
    identity = {
        "arm": arm.label, "params": {**params(rule)}, "net": setting.net, "dataset": data.name, "split": data.split_digest,
        "n_train": data.n("train"),
    }  # fmt: skip
    facts = {"command": command_line(), "versions": environment.versions()}
    directory = out or fresh_path(f"{kind}-{arm.algorithm}-{Path(data.name).name}")
    console = Console(stderr=True, quiet=quiet)
    watch_for_interrupts()
    remember(directory)

    def on_point(point: dict[str, Any]) -> None:
        raise_if_asked()
        console.print(_line(point), highlight=False)

    document = record_series(kind, rule, net, data, plan, directory, identity, facts=facts, on_point=on_point)
    paths = draw_series(document, directory)
    if as_json:
        typer.echo(json.dumps(document, indent=2))
    elif not quiet:
        _print(document)
        typer.echo(f"written: {', '.join(map(str, [directory / f'{kind}.json', *paths]))}")
    return 0


def _quantities(point: dict[str, Any]) -> dict[str, list[float]]:
    """Name to the values of the hidden blocks, those that are known."""
    lists = {name: values[:-1] for name, values in point.items() if isinstance(values, list)}
    return {name: [value for value in values if value is not None] for name, values in lists.items()}


def _line(point: dict[str, Any]) -> str:
    words = [
        f"{name.replace('_', ' ')} {statistics.fmean(values):.4g}" if values else f"{name} undefined"
        for name, values in _quantities(point).items()
    ]
    return f"pass {point['passes']:>3}  mean over hidden blocks: {', '.join(words)}"


def _print(document: dict[str, Any]) -> None:
    first, last = document["points"][0], document["points"][-1]
    table = Table(title=f"{document['arm']} on {document['net']}, {document['dataset']}", title_justify="left")
    table.add_column("part")
    names = [name for name, values in first.items() if isinstance(values, list)]
    for name in names:
        for point in (first, last):
            table.add_column(f"{name.replace('_', ' ')}, pass {point['passes']}", justify="right")
    for k, part in enumerate(document["parts"]):
        label = part if part == "output" else f"block {k}"
        cells = [point[name][k] for name in names for point in (first, last)]
        table.add_row(label, *("undefined" if value is None else f"{value:.4g}" for value in cells))
    Console().print(table)
