"""What ``bpfree analyse`` does: check, train and analyse, draw, print."""

from __future__ import annotations

import statistics
from pathlib import Path
from typing import Any

from bpfree.algorithms import check_net, params
from bpfree.analysis import SeriesPlan, record_series
from bpfree.bench import Arm, environment, fresh_path
from bpfree.cli.analyse_figure import draw_series
from bpfree.cli.interrupt import raise_if_asked
from bpfree.cli.options import DataOptions, MeterOptions, OutputOptions, RuleOptions, SeriesOptions
from bpfree.cli.output import print_json, print_table, say
from bpfree.cli.resume import command_line
from bpfree.cli.session import start
from bpfree.cli.setting import Request

__all__ = ["analyse_command"]


def analyse_command(
    kind: str, options: SeriesOptions, data_options: DataOptions, output: OutputOptions, *, n_examples: int = 1
) -> int:
    """Record one series, draw it, print where it is.

    Args:
        kind: of :data:`bpfree.analysis.KINDS`.
        n_examples: validation examples on which updates are computed.
    """
    arm = Arm.parse(options.rule)
    rule_options = RuleOptions(max_passes=options.max_passes, batch_size=options.batch_size)
    request = Request(data_options, rule_options, MeterOptions(device=options.device), changes={"train_examples": options.limit})
    rules = request.rules("train")
    setting = request.setting(rules)
    data = setting.data.without_test()
    plan = SeriesPlan(
        max_passes=rules.passes(setting.data.name),
        every=options.every,
        batch_size=rules.batch_size,
        n_examples=min(n_examples, data.n("validation")),
        seed=options.seed,
    )
    rule, net = arm.build({}), setting.build_net()
    check_net(rule, net)  # before anything is written
    identity = {
        "arm": arm.label,
        "params": {**params(rule)},
        "net": setting.net,
        "dataset": data.name,
        "split": data.split_digest,
        "n_train": data.n("train"),
    }
    facts = {"command": command_line(), "versions": environment.versions()}
    directory = options.out or fresh_path(f"{kind}-{arm.algorithm}-{Path(data.name).name}")
    session = start(directory, quiet=output.quiet)

    def on_point(point: dict[str, Any]) -> None:
        raise_if_asked()
        session.console.print(_line(point))

    document = record_series(kind, rule, net, data, plan, directory, identity, facts=facts, on_point=on_point)
    paths = draw_series(document, directory)
    if output.as_json:
        print_json(document)
    elif not output.quiet:
        _print(document)
        say(f"written: {', '.join(map(str, [directory / f'{kind}.json', *paths]))}")
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
    names = [name for name, values in first.items() if isinstance(values, list)]
    headings = [f"{name.replace('_', ' ')}, pass {point['passes']}" for name in names for point in (first, last)]
    rows = []
    for k, part in enumerate(document["parts"]):
        label = part if part == "output" else f"block {k}"
        values = [point[name][k] for name in names for point in (first, last)]
        rows.append((label, *("undefined" if value is None else f"{value:.4g}" for value in values)))
    print_table(f"{document['arm']} on {document['net']}, {document['dataset']}", ("part", *headings), rows)
