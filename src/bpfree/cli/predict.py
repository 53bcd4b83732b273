"""``bpfree predict``: classes and probabilities of new examples by a saved model."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import typer

from bpfree.cli.setting import torch_device
from bpfree.data import load_examples, load_labels
from bpfree.models import Model, load, read_header
from bpfree.nets import named
from bpfree.units import format_percent

__all__ = ["load_model", "predict_command"]


def load_model(path: Path, device: torch.device | str, net: str | None) -> Model:
    """The model of a file.

    Args:
        net: ``module:function`` of the net, where the file does not describe it.
    """
    given = None
    if net is not None:
        header = read_header(path)
        given = named(net, header.in_shape, header.n_classes)
    return load(path, device=device, net=given)


def predict_command(
    model_path: Path,
    data_path: Path,
    *,
    device: str,
    channels: str,
    as_json: bool,
    net: str | None = None,
    target: str | None = None,
) -> int:
    """Print one line for each example, after all of them have been read and checked.

    Args:
        target: column of a table that holds the labels; the accuracy is then said on standard error.
        net: ``module:function`` of the net, where the file does not describe it.
    """
    model = load_model(model_path, torch_device(device), net)
    examples = load_examples(data_path, model.net.in_shape, channels, model.columns)
    rows = model.predict_proba(examples, "first" if examples.dim() == 4 else "auto").tolist()
    if target is not None:
        labels = load_labels(data_path, target, model.classes, model.net.n_classes)
        accuracy = float((np.asarray(rows).argmax(1) == labels).mean())
        typer.echo(f"accuracy {format_percent(accuracy)} % of {len(rows)} examples", err=True)
    names: Sequence[int | str] = model.classes or range(model.net.n_classes)
    if as_json:
        has_names = model.classes is not None
        typer.echo(json.dumps([_answer(row, names, has_names=has_names) for row in rows]))
        return 0
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(["example", "class", *(f"p_{name}" if isinstance(name, str) else f"p{name}" for name in names)])
    writer.writerows(_lines(rows, names))
    return 0


def _best(row: list[float], names: Sequence[int | str]) -> int | str:
    return names[max(range(len(row)), key=row.__getitem__)]


def _answer(row: list[float], names: Sequence[int | str], *, has_names: bool) -> dict[str, Any]:
    """Probabilities by the name of the class where classes have names, else in their order."""
    probabilities = {str(name): value for name, value in zip(names, row, strict=True)} if has_names else row
    return {"class": _best(row, names), "probabilities": probabilities}


def _lines(rows: list[list[float]], names: Sequence[int | str]) -> Iterator[list[str]]:
    for number, row in enumerate(rows):
        yield [str(number), str(_best(row, names)), *(f"{value:.6g}" for value in row)]
