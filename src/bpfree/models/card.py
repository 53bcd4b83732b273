"""The model card: what a model file is, in Markdown beside it. Facts of its header only."""

from __future__ import annotations

import warnings
from pathlib import Path

from bpfree.files import reading, write_atomic
from bpfree.models.header import ModelHeader
from bpfree.units import format_percent

__all__ = ["card", "card_path", "write_card"]

_MARK = "<!-- model card, written by bpfree beside the model; it is written again with it -->"
"""First line of every card: another file of that name is left alone."""


def card_path(path: Path) -> Path:
    """Of the card of a model file: ``model.md`` for ``model.safetensors``."""
    return path.with_suffix(".md")


def write_card(path: Path, header: ModelHeader) -> None:
    """Write the card of a model file, atomically; a file there that is no card is left alone, with a warning.

    Raises:
        StorageError: the disk is full, read-only or not permitted; an older card stays whole.
    """
    place = card_path(path)
    if place.exists():
        with reading(place), place.open(encoding="utf-8", errors="replace") as file:
            ours = file.readline().rstrip() == _MARK
        if not ours:
            warnings.warn(f"{place} is no model card, so it is left alone, and {path.name} has none", UserWarning, stacklevel=3)
            return
    write_atomic(place, card(header, path.name))


def card(header: ModelHeader, name: str) -> str:
    """The card as text.

    Args:
        name: of the model file.
    """
    rows = "\n".join(f"| {what} | {_cell(value)} |" for what, value in _rows(header).items())
    given = "" if header.net is not None else ", net=net"
    made = "" if header.net is not None else "  # a net of the same architecture, which the file does not describe"
    return f"""{_MARK}

# {header.algorithm} on {_cell(header.dataset or "data that were not named")}

| | |
|---|---|
{rows}

## Use

```python
import bpfree

model = bpfree.models.load("{name}"{given}){made}
classes = model.predict(x)  # x: {_examples(header)}, as they are before normalisation
probabilities = model.predict_proba(x)
```

```
bpfree predict {name} --data new.npz
bpfree export {name} --to model.onnx
```
"""


def _rows(header: ModelHeader) -> dict[str, str]:
    params = ", ".join(f"{key}={value}" for key, value in header.params.items())
    n_train = "" if header.n_train is None else f"; trained on {header.n_train:,} examples"
    return {
        "rule": f"{header.algorithm} ({params})" if params else header.algorithm,
        "net": header.net or "a module of the user's own, which the file does not describe",
        "input": _examples(header),
        "classes": ", ".join(map(str, header.classes)) if header.classes else f"0 to {header.n_classes - 1}",
        "data": (header.data_note or header.dataset or "not said").rstrip(".") + n_train,
        "split digest": header.split_digest or "not said",
        "data digest": header.data_digest or "not said",
        "normalisation": _normalisation(header),
        "validation accuracy": _accuracy(header.val_accuracy, header.n_validation, "not said"),
        "test accuracy": _accuracy(header.test_accuracy, header.n_test, "not measured"),
        "ruleset digest": header.ruleset_digest or "trained under no ruleset",
        "seed": "not said" if header.seed is None else str(header.seed),
        "numbers": f"{header.dtype}, products in {header.precision}",
        "versions": ", ".join(f"{package} {version}" for package, version in header.versions.items()),
    }


def _examples(header: ModelHeader) -> str:
    shape = f"(n, {', '.join(map(str, header.in_shape))})"
    if header.columns is not None:
        return f"rows of a table with the columns {', '.join(column.name for column in header.columns.columns)}"
    return f"whole pixel values (uint8) {shape}" if header.pixels else f"numbers {shape}"


def _normalisation(header: ModelHeader) -> str:
    if not header.normalised:
        return "none: examples are taken as they are"
    return "(x - shift) * factor, of the training split or published for the data set; the numbers are in the file"


def _accuracy(value: float | None, n: int | None, absent: str) -> str:
    if value is None:
        return absent
    return f"{format_percent(value)} %" + ("" if n is None else f" of {n:,} examples")


def _cell(text: str) -> str:
    """Text that stays within one cell of a table."""
    return " ".join(text.split()).replace("|", "\\|")
