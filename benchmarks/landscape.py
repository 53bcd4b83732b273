"""The figures and tables of docs/landscape.md: the minima where backprop, joint and staged Mono-Forward end.

    python benchmarks/landscape.py mnist --data-dir DIR [--out DIR] [--seeds N]   # MNIST, mlp:2x1000: trains, analyses; resumes
    python benchmarks/landscape.py digits --seeds 5                               # the embedded digits, mlp:2x256: minutes
    python benchmarks/landscape.py mnist --out DIR --seeds N --no-training        # only the models that are there
    python benchmarks/landscape.py show                                           # the page of what was measured

Every arm is trained by ``bpfree train`` with its published or default learning rate; nothing is tuned. Models stay in ``--out``.
Each analysis goes to a directory of ``benchmarks/results/``; ``docs/landscape.md`` holds all that are there, MNIST first.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import shutil
import sys
from pathlib import Path
from typing import Any

import torch
from landscape_page import page

from bpfree import data
from bpfree.analysis import LandscapePlan, read_minima, record_landscape
from bpfree.bench import environment
from bpfree.cli import run
from bpfree.cli.landscape_figure import draw_landscape
from bpfree.files import write_atomic
from bpfree.records import finished, read_records

HERE = Path(__file__).parent
RESULTS = HERE / "results"
PAGE = HERE.parent / "docs" / "landscape.md"

NETS = {"mnist": "mlp:2x1000", "digits": "mlp:2x256"}
BATCH_SIZES = {"mnist": 128, "digits": 64}
MAX_PASSES = {"mnist": 15, "digits": 100}
ARMS = {"backprop": ("backprop",), "mono-forward": ("mono-forward",), "staged": ("mono-forward", "--set", "schedule=staged")}
LRS = {
    "mnist": {"backprop": 2.2e-4, "mono-forward": 4.7e-4, "staged": 4.7e-4},
    "digits": {"backprop": 1e-3, "mono-forward": 1e-3, "staged": 1e-3},
}
"""For MNIST as published (arXiv 2509.19063 and its revision; joint Mono-Forward has bpfree's default), for digits one for all."""
PLAN = LandscapePlan(examples=1000, points=21, plane_points=15, directions=10, probes=20)


def model_of(out: Path, arm: str, seed: int) -> Path:
    """Where a trained model lies."""
    return out / f"{arm}-{seed}" / "model.safetensors"


def train(out: Path, arm: str, seed: int, dataset: str, data_dir: Path | None) -> None:
    """One run, resumed if it was stopped; the rules are those of ``quick`` (patience 10) with another cap."""
    options = [
        "--set",
        f"lr={LRS[dataset][arm]:g}",
        "--dataset",
        dataset,
        "--net",
        NETS[dataset],
        "--batch-size",
        str(BATCH_SIZES[dataset]),
    ]
    options += ["--max-passes", str(MAX_PASSES[dataset]), "--seed", str(seed), "--out", str(out / f"{arm}-{seed}")]
    options += ["--data-dir", str(data_dir)] if data_dir else []
    code = run(["train", *ARMS[arm], *options])
    if code != 0:
        raise SystemExit(f"training of {arm}, seed {seed} ended with code {code}")


Cell = tuple[str, int]
"""An arm and a seed."""


def trained(out: Path, seeds: int) -> list[Cell]:
    """Arms and seeds with a model; of the seeds that the baseline has."""
    baseline = next(iter(ARMS))
    there = [seed for seed in range(seeds) if model_of(out, baseline, seed).exists()]
    return [(arm, seed) for arm in ARMS for seed in there if model_of(out, arm, seed).exists()]


def analyse(out: Path, cells: list[Cell], dataset: str, data_dir: Path | None) -> Path:
    """The landscape of these models, resumed if it was stopped; returns its directory."""
    minima = read_minima([model_of(out, *cell) for cell in cells])
    minima = [dataclasses.replace(minimum, file=str(Path(minimum.file).relative_to(out))) for minimum in minima]
    loaded = data.load(dataset, data_dir=data_dir).without_test()
    environment.configure_torch(sum(p.numel() for p in minima[0].model.net.parameters()), PLAN.examples, torch.device("cpu"))
    facts = {
        "command": f"python benchmarks/landscape.py {dataset}",
        "versions": environment.versions(),
        "training": {
            "batch_size": BATCH_SIZES[dataset],
            "max_passes": MAX_PASSES[dataset],
            "ended": [ended(out, *cell) for cell in cells],
        },
    }
    place = out / f"analysis-of-{len(cells)}"
    record_landscape(minima, loaded, PLAN, place, facts=facts, on_unit=lambda name, _: sys.stderr.write(f"{name}\n"))
    return place


def ended(out: Path, arm: str, seed: int) -> dict[str, Any]:
    """What the record of a run says that the page needs; a run that was interrupted has a record of that before its own."""
    (record,) = finished(read_records(out / f"{arm}-{seed}" / "records.jsonl"))
    return record.model_dump(mode="json", include={"arm", "seed", "passes", "val_accuracy", "test_accuracy", "stops"})


def show() -> None:
    """Figures, summaries and the page of all that was measured."""
    documents, figures = {}, {}
    for dataset in NETS:
        place = RESULTS / name_of(dataset)
        if (place / "landscape.json").exists():
            for old in place.glob("*.svg"):
                old.unlink()
            document = json.loads((place / "landscape.json").read_text())
            documents[place.name] = document
            figures[place.name] = [path.name for path in draw_landscape(document, place)]
            summary = page({place.name: document}, {place.name: figures[place.name]})
            write_atomic(place / "summary.md", summary.replace(f"](figures:{place.name}/", "]("))
    if documents:
        write_atomic(PAGE, page(documents, figures).replace("](figures:", "](../benchmarks/results/"))


def name_of(dataset: str) -> str:
    """Of the directory of results."""
    return f"landscape-{dataset}-{NETS[dataset].replace(':', '-')}"


def main() -> None:
    """Train what is missing, analyse, write."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("what", choices=[*NETS, "show"])
    parser.add_argument("--data-dir", type=Path)
    parser.add_argument("--out", type=Path, help="by default runs/landscape-DATASET")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--no-training", action="store_true")
    given = parser.parse_args()
    if given.what != "show":
        measure(given.what, given.out or Path("runs") / f"landscape-{given.what}", given)
    show()


def measure(dataset: str, out: Path, given: argparse.Namespace) -> None:
    """Train and analyse one data set; the document is copied to the results."""
    for seed in range(0 if given.no_training else given.seeds):
        for arm in ARMS:
            if not model_of(out, arm, seed).exists():
                train(out, arm, seed, dataset, given.data_dir)
    cells = trained(out, given.seeds)
    if not cells:
        raise SystemExit(f"{out} has no model of {next(iter(ARMS))}; leave --no-training out")
    place = analyse(out, cells, dataset, given.data_dir)
    (RESULTS / name_of(dataset)).mkdir(parents=True, exist_ok=True)
    shutil.copyfile(place / "landscape.json", RESULTS / name_of(dataset) / "landscape.json")


if __name__ == "__main__":
    main()
