"""``bpfree predict``: classes and probabilities of new examples by a saved model."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Iterator
from pathlib import Path

import typer

from bpfree.cli.setting import torch_device
from bpfree.data import load_examples
from bpfree.models import load, read_header
from bpfree.nets import named

__all__ = ["predict_command"]


def predict_command(
    model_path: Path, data_path: Path, *, device: str, channels: str, as_json: bool, net: str | None = None
) -> int:
    """Print one line for each example, after all of them have been read and checked.

    Args:
        net: ``module:function`` of the net, where the file does not describe it.
    """
    where, given = torch_device(device), None
    if net is not None:
        header = read_header(model_path)
        given = named(net, header.in_shape, header.n_classes)
    model = load(model_path, device=where, net=given)
    examples = load_examples(data_path, model.net.in_shape, channels)
    rows = model.predict_proba(examples, "first" if examples.dim() == 4 else "auto").tolist()
    if as_json:
        typer.echo(json.dumps([{"class": _best(row), "probabilities": row} for row in rows]))
        return 0
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(["example", "class", *(f"p{k}" for k in range(model.net.n_classes))])
    writer.writerows(_lines(rows))
    return 0


def _best(row: list[float]) -> int:
    return max(range(len(row)), key=row.__getitem__)


def _lines(rows: list[list[float]]) -> Iterator[list[str]]:
    for number, row in enumerate(rows):
        yield [str(number), str(_best(row)), *(f"{value:.6g}" for value in row)]
