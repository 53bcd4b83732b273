"""``.csv`` and ``.parquet`` files, read through pandas (the extra ``tables``)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bpfree.errors import DataError, UsageError
from bpfree.sources import check_file
from bpfree.text import readable

__all__ = ["read_frame", "unnamed"]

_HEAD = 2**16
"""Bytes in which the header of a .csv file must end, and that tell text from other files."""

_UNNAMED = "Unnamed: "
"""What pandas calls a column without a name."""


def read_frame(path: Path | str, texts: Sequence[str] = ()) -> Any:
    """The table of a file, its columns named by text.

    A .csv file is UTF-8 with a header; values are separated by commas, or by semicolons or tabs where the header has no comma.

    Args:
        texts: columns of a .csv file that are text, whatever they look like.

    Raises:
        DataError: there is no such file, it is empty, damaged or no table, or has columns without a name or of one name.
        UsageError: pandas is not installed.
    """
    path = Path(path)
    check_file(path)
    is_csv = path.suffix.lower() == ".csv"
    pandas = _pandas(path)
    shown = readable(str(path))
    try:
        frame = _csv(pandas, path, texts) if is_csv else pandas.read_parquet(path)
    except ImportError as error:
        raise UsageError(f"cannot read {shown}: pyarrow is not installed; use: pip install 'bpfree[tables]'") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{shown} is not text in UTF-8 ({error.reason}); save it as CSV in UTF-8") from error
    except (ValueError, OSError, MemoryError, NotImplementedError) as error:
        what = "a .csv file" if is_csv else "a .parquet file"
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
        raise DataError(f"{shown} cannot be read as {what} ({reason}); write or copy it again") from error
    frame = frame.set_axis([readable(str(column)) for column in frame.columns], axis=1)
    if not frame.columns.is_unique:
        twice = frame.columns[frame.columns.duplicated()][0]
        raise DataError(f"{shown} has several columns called {twice!r}; give each a name of its own")
    return frame


def _csv(pandas: Any, path: Path, texts: Sequence[str]) -> Any:
    with path.open("rb") as file:
        head = file.read(_HEAD)
    if b"\0" in head:
        raise DataError(f"{readable(str(path))} is not text in UTF-8, though it is called .csv; save it as CSV in UTF-8")
    if not head.strip():
        raise DataError(f"{readable(str(path))} is empty; write a line of column names and a line for each example")
    header = head.splitlines()[0]
    separator = next((each for each in (",", ";", "\t") if each.encode() in header), ",")
    dtypes = dict.fromkeys(texts, str)
    frame = pandas.read_csv(path, sep=separator, encoding="utf-8-sig", low_memory=False, dtype=dtypes)
    if not isinstance(frame.index, pandas.RangeIndex):
        raise DataError(f"{readable(str(path))} has rows with more values than its header has names; name every column")
    return frame


def _pandas(path: Path) -> Any:
    try:
        import pandas
    except ImportError as error:
        raise UsageError(
            f"cannot read {readable(str(path))}: pandas is not installed; use: pip install 'bpfree[tables]'"
        ) from error
    return pandas


def unnamed(columns: Sequence[str]) -> list[str]:
    """Columns of a .csv file that have no name, such as the number of the row that pandas writes first."""
    return [column for column in columns if column.startswith(_UNNAMED)]
