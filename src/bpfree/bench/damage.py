"""Files of a run directory that are damaged or missing and can be made again."""

from __future__ import annotations

import warnings
from pathlib import Path

from bpfree import rulesets
from bpfree.errors import RulesetError, RunDirectoryError
from bpfree.files import PART, reading, writing
from bpfree.records import read_records
from bpfree.rulesets import Ruleset

__all__ = ["DamagedFileWarning", "rules_of", "set_aside"]

_STATE = ("records.jsonl", "study.journal", "environment.json", "tuned.json")
"""Files by which a run directory is recognised that has lost its ruleset."""


class DamagedFileWarning(UserWarning):
    """A file of a run directory could not be read, and was made again."""


def set_aside(path: Path, damage: str, lost: str) -> None:
    """Rename a damaged file that is made again, and warn; for a missing file only warn.

    Args:
        damage: what is the matter with it, its name included.
        lost: what the new file does not have, and what is left.

    Raises:
        StorageError: the directory cannot be written.
    """
    where = ""
    if path.exists():
        aside = path.with_name(f"{path.name}.damaged")
        with writing(path):
            path.replace(aside)
        where = f"; the damaged file is kept as {aside.name}"
    warnings.warn(f"{damage}: it is made again, {lost}{where}", DamagedFileWarning, stacklevel=2)


def rules_of(directory: Path, asked: Ruleset) -> tuple[Ruleset, str]:
    """The rules of a run directory, and what is the matter with its ``ruleset.yaml``, if anything is.

    Args:
        directory: it exists.
        asked: the rules of the command; where the file is damaged, those of the directory if its records were made under them.

    Raises:
        RunDirectoryError: the directory holds something else, or nothing says that its rules are these.
        StorageError: a file may not be read.
    """
    path = directory / "ruleset.yaml"
    if path.exists():
        with reading(path):
            path.read_bytes()
        try:
            return rulesets.load(path), ""
        except RulesetError as error:
            damage = f"{path} cannot be read ({str(error).removeprefix(f'ruleset {path}').lstrip(', ')})"
    elif any((directory / name).is_file() for name in _STATE):
        damage = f"{path} is missing"
    elif any(entry.name != ".lock" and not entry.name.startswith(PART) for entry in directory.iterdir()):
        raise RunDirectoryError(
            f"{directory} is not empty and not a run directory (it has no ruleset.yaml); choose another --out DIR"
        )
    else:
        return asked, ""
    _check_made_under(directory, asked, damage)
    return asked, damage


def _check_made_under(directory: Path, asked: Ruleset, damage: str) -> None:
    """Refuse rules under which the work in a directory was not done, or of which nothing says that it was."""
    digests = {record.ruleset_digest for record in read_records(directory / "records.jsonl")}
    journal = directory / "study.journal"
    other = next(iter(digests - {rulesets.digest(asked)}), "")
    if other:
        raise RunDirectoryError(
            f"{damage}, and the records beside it were made under other rules (digest {other[:16]}) than those of this command "
            f"({rulesets.short_digest(asked)}); give the options they were made with, or choose another --out DIR"
        )
    if not digests and journal.is_file() and journal.stat().st_size:
        raise RunDirectoryError(
            f"{damage}, so the rules of the searches in {journal} are lost; delete that file, and the same command searches "
            "again, or choose another --out DIR"
        )
