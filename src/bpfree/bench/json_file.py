"""Reading JSON files whose form a pydantic model gives."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

from pydantic import TypeAdapter, ValidationError

from bpfree.errors import RunDirectoryError

__all__ = ["read_json"]

T = TypeVar("T")


def read_json(path: Path, form: TypeAdapter[T], absent: T, cure: str) -> T:
    """The value of a file, or ``absent`` where there is no file.

    Args:
        cure: what the user can do about a file of another form; ends the message.

    Raises:
        RunDirectoryError: the file does not have the form; the message names the first difference.
    """
    if not path.exists():
        return absent
    try:
        return form.validate_json(path.read_bytes())
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise RunDirectoryError(f"{path} cannot be read ({where + ': ' if where else ''}{first['msg']}); {cure}") from error
