"""``bpfree export``: a saved model as ONNX or torch.export."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from bpfree.cli.output import print_json, print_pairs
from bpfree.cli.predict import load_model
from bpfree.errors import UsageError
from bpfree.models import export

__all__ = ["export_command"]

_HEADS = {
    "none": "left out: the rule predicts by the output of the net",
    "inside": "in the graph: the rule predicts by them",
    "outputs": "the scores of every block are an output",
}


def export_command(
    model_path: Path, to: Path, *, format_: str | None, heads: str | None, batch: str, net: str | None, as_json: bool
) -> int:
    """Write the file, and print what it takes, what it gives, and how far its answers are from those of bpfree.

    Raises:
        UsageError: the file would take the place of the model, or as :func:`bpfree.models.export`.
    """
    if to.resolve() == model_path.resolve():
        raise UsageError(f"--to {to} is the model itself; give another file, such as {model_path.with_suffix('.onnx')}")
    made = export(load_model(model_path, "cpu", net), to, format_, heads, batch)
    if as_json:
        print_json({**dataclasses.asdict(made), "path": str(made.path)})
        return 0
    rows = {
        "written": f"{made.path} ({made.format})",
        "input": f"x, {made.input}, as stored before normalisation",
        "outputs": ", ".join(made.outputs),
        "heads": _HEADS[made.heads],
        "difference": f"at most {made.difference:.1e} from bpfree on drawn examples",
    }
    print_pairs(rows)
    return 0
