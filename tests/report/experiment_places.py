"""What the tests of docs/answers.md have in common: an experiment that was run on a board and on a processor."""

from __future__ import annotations

import dataclasses
import json
import sys
from pathlib import Path
from typing import Any

from bpfree.published import Number
from tests.report.golden import write_first

ROOT = Path(__file__).parents[2]

sys.path.insert(0, str(ROOT / "benchmarks"))

from experiments_kit.listed import EXPERIMENTS, OWN, Experiment, directory  # noqa: E402


def published(accuracy: float, **more: Any) -> Number:
    number = Number(
        table="table", dataset="digits", net="mlp:2x8", algorithm="mono-forward", accuracy=accuracy, protocol=OWN,
        spread=(accuracy - 0.02, accuracy + 0.02), n_runs="20", second_hand=False, source="by hand",
    )  # fmt: skip
    return dataclasses.replace(number, **more)


def cells(lines: list[str], arm: str) -> list[str]:
    (row,) = [line for line in lines if line.startswith(f"| {arm} |")]
    return [cell.strip() for cell in row.strip("|").split("|")][1:]


def in_two_places(tmp_path: Path) -> Experiment:
    """A board has all arms; the processor has none of Mono-Forward."""
    experiment = dataclasses.replace(EXPERIMENTS[2], target=0.9, published={}, results=tmp_path)
    board, processor = (directory(tmp_path, experiment.name, device) for device in ("cuda:0", "cpu"))
    assert (board.name, processor.name) == ("cifar10-cnn3", "cifar10-cnn3-cpu")
    write_first(board)
    write_first(processor)
    records = processor / "records.jsonl"
    records.write_text("".join(line for line in records.open() if '"algorithm":"mono-forward"' not in line))
    for place, gpu in ((board, "G"), (processor, None)):
        facts = {"one": {"processor": "P", "gpu": gpu, "versions": {"torch": "2.9"}}}
        (place / "environment.json").write_text(json.dumps(facts))
    return experiment
