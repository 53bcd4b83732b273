"""What a report was made from: links to the files of its run directories, and what must be cited."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote

from bpfree import catalogue
from bpfree.catalogue.used import citations
from bpfree.report.material import Material
from bpfree.text import readable

__all__ = ["FILES", "links", "references"]

FILES = {
    "records.jsonl": "a line for each run",
    "study.journal": "the searches, as Optuna reads them",
    "tuned.json": "what each search chose",
    "ruleset.yaml": "the rules",
    "environment.json": "the machines and versions",
    "log.txt": "what was done when",
}
"""Files of a run directory that a reader may want, and what they hold."""


def links(directories: Sequence[Path], out: Path) -> list[tuple[str, list[tuple[str, str, str]]]]:
    """For each run directory its name, and name, address from ``out`` and content of each of its files that is there."""
    listed = []
    for directory in directories:
        there = [name for name in FILES if (directory / name).is_file()]
        entries = [(name, _address(directory / name, out), FILES[name]) for name in there]
        listed.append((readable(directory.resolve().name), entries))
    return listed


def _address(path: Path, out: Path) -> str:
    """Relative, so that no full path is passed on; a colon in it is escaped, so that nothing can be read as a scheme."""
    return quote(Path(os.path.relpath(path, out)).as_posix(), safe="/", errors="surrogateescape")


def references(material: Material) -> str:
    """BibTeX of what the runs used; the rules of other packages are named, without loading them."""
    searched = any(run.tuning_energy is not None for run in material.records)
    entries = dict.fromkeys(citations(material.records, _of_rule, searched=searched))
    return "\n\n".join(entries) + "\n"


def _of_rule(name: str) -> Sequence[str]:
    if name in catalogue.rules() and (entries := catalogue.rules()[name].bibtex):
        return entries
    return [f"% The rule {readable(name)} is of another package: bpfree cite NAME prints what it asks for"]
