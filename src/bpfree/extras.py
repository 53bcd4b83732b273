"""Optional packages: whether they are installed, before anything heavy is imported."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from pathlib import Path

from bpfree.errors import UsageError

__all__ = ["FORMATS", "check_format", "need"]

FORMATS = {"onnx": ".onnx", "torch": ".pt2"}
"""Of exported models, with the ending of their files."""

_FOR_ONNX = ("onnx", "onnxruntime", "onnxscript")


def need(what: str, packages: Sequence[str], extra: str, otherwise: str = "") -> None:
    """Refuse what needs packages that are not installed; none is imported.

    Args:
        what: was asked, for the message.
        packages: by the names under which they are imported.
        extra: of bpfree, that brings them.
        otherwise: what can be done without them.

    Raises:
        UsageError: one is missing, with the command that installs it.
    """
    missing = [package for package in packages if importlib.util.find_spec(package) is None]
    if missing:
        raise UsageError(
            f"{what} needs {' and '.join(missing)}, not installed here; use: pip install 'bpfree[{extra}]'"
            + (f", or {otherwise}" if otherwise else "")
        )


def check_format(asked: str | None, path: Path) -> str:
    """The format of an exported model: what was asked, else what the ending of the file says.

    Raises:
        UsageError: an unknown format, a directory in place of a file, or packages that are not installed.
    """
    if path.is_dir():
        raise UsageError(f"export writes a file, got the directory {path}; use {path / 'model.onnx'}")
    kind = asked or next((name for name, ending in FORMATS.items() if path.suffix == ending), None)
    if kind not in FORMATS:
        what = f"unknown format {asked!r}" if asked else f"{path} says no format"
        raise UsageError(f"{what}; use --format onnx or --format torch, or a file that ends in .onnx or .pt2")
    if kind == "onnx":
        need("an export to ONNX", _FOR_ONNX, "onnx", "--format torch")
    return kind
