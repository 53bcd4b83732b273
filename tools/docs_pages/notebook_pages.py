"""The notebooks of docs/notebooks as pages, without running them: a test does."""

from __future__ import annotations

import json
from pathlib import Path

from tools.docs_pages.markdown import fenced

__all__ = ["NOTEBOOKS", "cells", "write_notebooks"]

NOTEBOOKS = Path(__file__).parents[2] / "docs" / "notebooks"
REPOSITORY = "https://github.com/bpfree/bpfree/blob/main/docs/notebooks"


def cells(path: Path) -> list[tuple[str, str]]:
    """Kind (``markdown`` or ``code``) and text of each cell."""
    return [(cell["cell_type"], "".join(cell["source"])) for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]]


def write_notebooks(folder: Path) -> list[Path]:
    """``NAME.md`` for each notebook; a folder deeper than the notebook, so that its links get a step more."""
    folder.mkdir(parents=True, exist_ok=True)
    pages = []
    for path in sorted(NOTEBOOKS.glob("*.ipynb")):
        parts = [_part(kind, text) for kind, text in cells(path)]
        parts.insert(1, f"This page is a notebook: [open or download it]({REPOSITORY}/{path.name}).")
        page = folder / f"{path.stem}.md"
        page.write_text("\n\n".join(parts) + "\n", encoding="utf-8")
        pages.append(page)
    return pages


def _part(kind: str, text: str) -> str:
    return fenced(text, "python") if kind == "code" else text.replace("](../", "](../../")
