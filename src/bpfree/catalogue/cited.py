"""BibTeX of what is cited beside the rules: bpfree itself, data sets, tools. ``cited.bib`` holds it, each with its source."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

__all__ = ["BIBTEX", "cited"]

BIBTEX = Path(__file__).with_name("cited.bib")


@cache
def cited() -> dict[tuple[str, str], str]:
    """The entries by kind (``data``, ``tool``) and name; that of bpfree is ``("self", "")``."""
    text = BIBTEX.read_text(encoding="utf-8")
    entries: dict[tuple[str, str], str] = {}
    for kind, names, entry in re.findall(r"^% (data|tool|self)([^;\n]*);.*\n(@(?:.*\n)*?\})$", text, re.MULTILINE):
        entries |= dict.fromkeys([(kind, name) for name in names.split() or [""]], entry)
    return entries
