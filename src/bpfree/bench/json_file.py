"""Reading JSON files whose form a pydantic model gives."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

from pydantic import TypeAdapter, ValidationError

from bpfree.errors import RunDirectoryError
from bpfree.files import reading

__all__ = ["read_json"]

T = TypeVar("T")


def read_json(path: Path, form: TypeAdapter[T], absent: T) -> T:
    """The value of a file, or ``absent`` where there is no file.

    Raises:
        RunDirectoryError: the file does not have the form; the message names the first difference.
        StorageError: it may not be read.
    """
    if not path.exists():
        return absent
    with reading(path):
        content = path.read_bytes()
    try:
        return form.validate_json(content)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise RunDirectoryError(f"{path} cannot be read ({where + ': ' if where else ''}{first['msg']})") from error
