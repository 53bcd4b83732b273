"""An analysis as one JSON file, which the same command goes on with."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from bpfree.errors import RunDirectoryError

__all__ = ["document_of"]


def document_of(path: Path, head: dict[str, Any], rest: dict[str, Any]) -> dict[str, Any]:
    """The document that is there, or a fresh one: ``head`` and ``rest``.

    Args:
        head: what the analysis is of; a document that is there must agree.
        rest: what a fresh document has beside it.

    Raises:
        RunDirectoryError: the file is no analysis, or one of something else.
    """
    if not path.exists():
        return {**head, **rest}
    try:
        there = json.loads(path.read_text())
        different = [key for key, value in head.items() if there.get(key) != value]
    except (ValueError, AttributeError):
        raise RunDirectoryError(f"{path} is no analysis of bpfree; choose another --out DIR") from None
    if different:
        key = different[0]
        many = isinstance(head[key], list) and isinstance(head[key][0], dict)  # too long for a line
        what = f"other {key}" if many else f"{key} = {there.get(key)!r}, this one has {head[key]!r}"
        raise RunDirectoryError(f"{path} is an analysis with {what}; choose another --out DIR")
    return there
