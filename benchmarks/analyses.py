"""The figures of docs/foton.md: alignment, orthogonality, accuracy against depth and against the frequency of the upkeep.

    python benchmarks/analyses.py [macs] [alignment] [defect] [depth] [frequency] [frequency-deep] --data-dir DIR
                                  [--limit N] [--passes N]
    python benchmarks/analyses.py --show                                    # the figures and tables of what was measured

Without words all parts are run; ``macs`` only counts and needs no data. Each part resumes; a finished run is not
repeated. Series go to ``benchmarks/results/analyses.json``, runs to
``benchmarks/results/analyses.jsonl``, figures to ``docs/figures/``. ``--limit`` (training examples) and ``--passes`` make it
small; both stand in the results and under the figures. With another limit or number of passes all is measured again, and the
figures show the last.
"""

from __future__ import annotations

import argparse
import copy
import json
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from marks import run  # the same measured run, one row of a table

from bpfree import data, nets
from bpfree.analysis import SeriesPlan, record_series
from bpfree.bench import Arm, environment
from bpfree.cli.analyse_figure import Curve, draw_curves
from bpfree.files import write_atomic
from bpfree.meter import count_flops
from bpfree.records import Record, append_record, finished, read_records
from bpfree.train import initialise
from bpfree.units import format_count

HERE = Path(__file__).parent
SERIES = HERE / "results" / "analyses.json"
RECORDS = HERE / "results" / "analyses.jsonl"
FIGURES = HERE.parent / "docs" / "figures"
WORK = Path("runs") / "analyses"
"""Where an unfinished series lies."""

PARTS = ("macs", "alignment", "defect", "depth", "frequency", "frequency-deep")
DEEP, TEN, FOUR = "mlp:50x128", "mlp:10x256", "mlp:4x256"
ARTICLE_LR = "1e-5"
"""Of the article's figure of 50 blocks."""
DEEP_ARMS = {
    "PEPITA, He init": f"pepita:lr={ARTICLE_LR}:dropout=0",
    "PEPITA, orthogonal init": f"pepita:lr={ARTICLE_LR}:dropout=0:initialisation=orthogonal",
    "FOTON": f"foton:lr={ARTICLE_LR}:optimiser=sgd",
}
TEN_ARMS = {"FOTON": "foton", "PEPITA, orthogonal init": "pepita:lr=3e-4:dropout=0:initialisation=orthogonal"}
"""PEPITA diverges here at its default learning rate (in the first pass) and at 1e-3 (in the seventh)."""
DEFECT_ARMS = {
    "FOTON, every step": "foton:orthogonalise_every=1",
    "FOTON, every 10": "foton:orthogonalise_every=10",
    "FOTON, every 100": "foton:orthogonalise_every=100",
    "FOTON, never": "foton:orthogonalise_by=none",
    "backprop, orthogonal at init": "backprop:orthogonal=init:lr=3e-4",
    "backprop, every 10": "backprop:orthogonal=kept:lr=3e-4",
}
DEPTHS = (2, 5, 10, 20)
DEPTH_ARMS = {
    "FOTON, tanh": ("foton:optimiser=sgd:lr=0.005:temperature=10", ":activation=tanh"),
    "FOTON, ReLU": ("foton:lr=2e-4", ""),
    "backprop, tanh": ("backprop:lr=2e-4", ":activation=tanh"),
    "backprop, ReLU": ("backprop:lr=2e-4", ""),
    "backprop from FOTON's net, tanh": ("backprop:lr=2e-4:orthogonal=init", ":activation=tanh"),
}
EVERY = (1, 5, 20, 100)
FREQUENCY = {
    "frequency": ("mlp:2x256", "foton:lr=2e-4"),
    "frequency-deep": ("mlp:10x256:activation=tanh", "foton:optimiser=sgd:lr=0.005:temperature=10"),
}
MACS_NETS = ("mlp:2x256", "mlp:3x2000", "mlp:50x256")
MACS_ARMS = {
    "backprop": "backprop",
    "FOTON, every 100 steps": "foton:orthogonalise_every=100",
    "FOTON, every 10 (default)": "foton",
    "FOTON, every step": "foton:orthogonalise_every=1",
    "FOTON, every step, 20 iterations (release)": "foton:orthogonalise_every=1:orthogonalise_steps=20",
    "FOTON, memory=low, every 100": "foton:memory=low:orthogonalise_every=100",
}


def rows(part: str, passes: int, limit: int) -> dict[tuple[str, int], dict[str, Any]]:
    """(curve, place on the axis) to a row as ``marks.py`` has them; place 0 stands for never."""
    common = {
        "dataset": "cifar100",
        "passes": passes,
        "limit": limit,
        "batch_size": 128,
        "patience": 20,
        "group": part,
        "lr_schedule": "constant",
    }
    if part == "depth":
        return {
            (label, depth): {**common, "arm": arm, "net": f"mlp:{depth}x256{words}"}
            for label, (arm, words) in DEPTH_ARMS.items()
            for depth in DEPTHS
        }
    net, base = FREQUENCY[part]
    made = {}
    for label, words in (("orthogonalise_every", "refresh_every=1"), ("refresh_every", "orthogonalise_every=10")):
        for every in EVERY:
            made[(label, every)] = {**common, "arm": f"{base}:{words}:{label}={every}", "net": net}
    never = f"{base}:refresh_every=1:orthogonalise_by=none"
    return {**made, ("orthogonalise_every", 0): {**common, "arm": never, "net": net}}


def measured(row: dict[str, Any]) -> Record | None:
    """The finished run of a row."""
    wanted = (row["arm"], f"{row['dataset']}[{row['limit']}]", row["net"], row["passes"])
    for record in finished(read_records(RECORDS)):
        if (record.arm, record.dataset, record.net, record.plan["max_passes"]) == wanted:
            return record
    return None


def macs_of(row: dict[str, Any], loaded: data.Dataset) -> float:
    """Multiply-adds of a training pass, the work of every k-th step counted with its share."""
    return step_macs(row["arm"], row["net"], loaded, row["batch_size"]) * loaded.n("train") / row["batch_size"]


def step_macs(arm: str, net_spec: str, loaded: data.Dataset, batch_size: int) -> float:
    """Multiply-adds of a training step, likewise."""
    rule = Arm.parse(arm).build({})
    net = nets.build(net_spec, loaded.in_shape, loaded.n_classes)
    batch = next(iter(loaded.batches("train", batch_size)))
    state = initialise(rule, net, 0)

    learnt, learnt_state = copy.deepcopy((net, state))
    with torch.no_grad():
        flops = float(count_flops(lambda: rule.learn(learnt, learnt_state, batch, rule.phases(learnt)[0])))
        shapes = copy.deepcopy(net).to("meta")  # orthogonalisation reads the net alone: counted without being computed
        for work in rule.upkeep():
            if work.every is not None:
                of = shapes if work.apart else net
                flops += count_flops(lambda: work.do(of, state, batch)) / work.every  # noqa: B023 - called at once
    return flops / 2


def macs_table() -> str:
    """Markdown: FOTON's multiply-adds a step beside backprop's, batch 128, 3072 inputs."""
    loaded = data.load("synthetic:n=400:inputs=3072").without_test()
    lines = [
        "Multiply-adds of a training step, 3072 inputs, 10 classes, batch 128; orthogonalisation and refresh with their share. "
        "Made by `python benchmarks/analyses.py macs`.",
        "",
        f"| rule | {' | '.join(MACS_NETS)} |",
        f"|---|{'---:|' * len(MACS_NETS)}",
    ]
    reference = [step_macs("backprop", net, loaded, 128) for net in MACS_NETS]
    for label, arm in MACS_ARMS.items():
        macs = [step_macs(arm, net, loaded, 128) for net in MACS_NETS]
        cells = [f"{format_count(mine)} ({mine / theirs:.2f})" for mine, theirs in zip(macs, reference, strict=True)]
        lines.append(f"| {label} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def read_series() -> dict[str, Any]:
    """What was recorded so far: name to document."""
    return json.loads(SERIES.read_text()) if SERIES.exists() else {}


def record(kind: str, arm: str, net_spec: str, loaded: data.Dataset, passes: int) -> None:
    """Record one series, unless it is there."""
    name = f"{kind} {arm} {net_spec} {loaded.name} {passes}"
    if name in read_series():
        return
    print(name, flush=True)  # noqa: T201
    rule, net = Arm.parse(arm).build({}), nets.build(net_spec, loaded.in_shape, loaded.n_classes)
    identity = {"arm": arm, "net": net_spec, "dataset": loaded.name, "split": loaded.split_digest, "n_train": loaded.n("train")}
    directory = WORK / name.replace(":", "-").replace(" ", "_")
    plan = SeriesPlan(max_passes=passes, batch_size=128)
    document = record_series(
        kind, rule, net, loaded.without_test(), plan, directory, identity, facts={"versions": environment.versions()}
    )
    text = json.dumps({**read_series(), name: document}, separators=(",", ":"))
    write_atomic(SERIES, text.replace('},"', '},\n"') + "\n")


def wanted_series(part: str) -> list[tuple[str, str, str]]:
    """(kind, arm, net) of each series of a part."""
    if part == "alignment":
        deep = [("alignment", arm, DEEP + words) for words in ("", ":activation=tanh") for arm in DEEP_ARMS.values()]
        return [*deep, *(("alignment", arm, TEN) for arm in TEN_ARMS.values())]
    return [("orthogonality", arm, FOUR) for arm in DEFECT_ARMS.values()]


def curve(label: str, document: dict[str, Any], quantity: str, blocks: slice) -> Curve:
    """Mean over some hidden blocks, against passes."""
    points = []
    for point in document["points"]:
        known = [value for value in point[quantity][:-1][blocks] if value is not None]
        if known:
            points.append((float(point["passes"]), statistics.fmean(known)))
    return label, points


def draw_series_part(part: str, name: str, passes: int) -> list[Path]:
    """The figures of a part from what was recorded on ``name`` (the data set)."""
    there = read_series()

    def document(kind: str, arm: str, net: str) -> dict[str, Any]:
        return there[f"{kind} {arm} {net} {name} {passes}"]

    axis = "passes over the training data"
    everything = slice(None)
    paths: list[Path] = []
    if part == "alignment":
        for words, called in (("", "relu"), (":activation=tanh", "tanh")):
            curves = [
                curve(label, document("alignment", arm, DEEP + words), "cosine", everything) for label, arm in DEEP_ARMS.items()
            ]
            title = f"50 blocks of 128, {called}, {name}, lr {ARTICLE_LR}"
            paths += draw_curves(curves, FIGURES / f"alignment-50-{called}", title, axis, "mean cosine over 50 blocks", png=False)
        curves = [
            curve(f"{label}, {words}", document("alignment", arm, TEN), "cosine", blocks)
            for label, arm in TEN_ARMS.items()
            for words, blocks in (("blocks 1 to 5", slice(0, 5)), ("blocks 6 to 10", slice(5, 10)))
        ]
        title = f"10 ReLU blocks of 256, {name}"
        return paths + draw_curves(curves, FIGURES / "alignment-10", title, axis, "mean cosine over 5 blocks", png=False)
    curves = [curve(label, document("orthogonality", arm, FOUR), "defect", everything) for label, arm in DEFECT_ARMS.items()]
    what = "mean orthogonality defect"
    return draw_curves(curves, FIGURES / "defect", f"4 blocks of 256, {name}", axis, what, log_y=True, png=False)


def draw_runs(part: str, found: dict[tuple[str, int], tuple[Record, float]], title: str) -> list[Path]:
    """Accuracy and cost against the axis of a part."""
    labels = list(dict.fromkeys(label for label, _ in found))
    axis = "hidden blocks of 256" if part == "depth" else "steps between two"
    accuracy = [
        (
            label,
            [(float(x), 100 * r.val_accuracy) for (name, x), (r, _) in found.items() if name == label and x and r.val_accuracy],
        )
        for label in labels
    ]
    cost = [
        (label, [(float(x), macs / 1e9) for (name, x), (_, macs) in found.items() if name == label and x]) for label in labels
    ]
    options: dict[str, Any] = {"log_x": True, "png": False}
    return [
        *draw_curves(accuracy, FIGURES / f"{part}-accuracy", title, axis, "best validation accuracy (%)", **options),
        *draw_curves(cost, FIGURES / f"{part}-cost", title, axis, "10⁹ multiply-adds a pass", **options),
    ]


def print_runs(found: dict[tuple[str, int], tuple[Record, float]]) -> None:
    """A Markdown table."""
    print("\n| curve | at | validation accuracy, % | multiply-adds a pass |\n|---|---:|---:|---:|")  # noqa: T201
    for (label, x), (seen, macs) in found.items():
        accuracy = seen.status if seen.val_accuracy is None else f"{100 * seen.val_accuracy:.2f}"
        print(f"| {label} | {x or 'never'} | {accuracy} | {format_count(macs)} |")  # noqa: T201


def run_part(part: str, options: argparse.Namespace) -> None:
    """Measure what is missing of a part, then draw it."""
    if part == "macs":
        write_atomic(HERE / "results" / "foton-macs.md", macs_table())
        print(macs_table())  # noqa: T201
        return
    if part in ("alignment", "defect"):
        loaded = data.load("mnist", data_dir=options.data_dir).limited(options.limit)
        for kind, arm, net in wanted_series(part) if not options.show else ():
            record(kind, arm, net, loaded, options.passes)
        paths = draw_series_part(part, loaded.name, options.passes)
    else:
        loaded = data.load("cifar100", data_dir=options.data_dir).limited(options.limit)
        found: dict[tuple[str, int], tuple[Record, float]] = {}
        for place, row in rows(part, options.passes, options.limit).items():
            seen = measured(row)
            if seen is None and not options.show:
                print(part, *place, flush=True)  # noqa: T201
                seen = run(row, options.data_dir, torch.device("cpu"))
                append_record(RECORDS, seen)
            if seen is not None:
                found[place] = (seen, macs_of(row, loaded))
        print_runs(found)
        paths = draw_runs(part, found, f"{loaded.name}, {options.passes} passes, one seed")
    print("\n".join(map(str, paths)))  # noqa: T201


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"any of {', '.join(PARTS)}")
    parser.add_argument("--data-dir", type=Path, default=None)
    parser.add_argument("--limit", type=int, default=10_000)
    parser.add_argument("--passes", type=int, default=8)
    parser.add_argument("--show", action="store_true")
    options = parser.parse_args(arguments)
    if unknown := set(options.parts) - set(PARTS):
        parser.error(f"unknown part {min(unknown)!r}; choose from {', '.join(PARTS)}")
    FIGURES.mkdir(parents=True, exist_ok=True)
    for part in options.parts or PARTS:
        run_part(part, options)
    return 0


if __name__ == "__main__":
    sys.exit(main())
