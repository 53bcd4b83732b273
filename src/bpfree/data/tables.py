"""Tables: a file or a frame of pandas, one column of which holds the labels."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bpfree.data.arrays import from_arrays
from bpfree.data.columns import Columns, check_present, column_words
from bpfree.data.dataset import SPLITS, Dataset
from bpfree.data.table_files import read_frame, unnamed
from bpfree.errors import DataError, UsageError
from bpfree.rulesets import Split
from bpfree.text import readable

__all__ = ["Table", "from_table"]


@dataclass(frozen=True, eq=False)
class Table:
    """A table that becomes a data set where it is split: what ``bpfree compare --dataset FILE.csv --target-column COLUMN`` names.

    Attributes:
        source: path of a ``.csv`` or ``.parquet`` file, or a DataFrame of pandas.
        target: name of the column of the labels.
        split_column: name of a column that says ``train``, ``validation`` or ``test`` of each row; None draws the splits.
    """

    source: Any
    target: str | None
    split_column: str | None = None


def from_table(
    source: Any,
    target: str | None,
    *,
    split_column: str | None = None,
    name: str | None = None,
    split_seed: int = 0,
    split: Split | None = None,
) -> Dataset:
    """Make a data set of a table.

    Columns of numbers and bool are one feature each, columns of text and pandas categories are one-hot, in the sorted order of
    the values that occur. All features are then standardised as by :func:`bpfree.data.from_arrays` and stored as float32.

    Args:
        source: path of a ``.csv`` or ``.parquet`` file, or a DataFrame of pandas.
        target: name of the column of the labels, text or whole numbers.
        split_column: name of a column that says ``train``, ``validation`` or ``test`` of each row. Without validation rows they
            are drawn from those for training. By default all splits are drawn.
        name: for records and messages; by default that of the file, or ``"table"``.
        split_seed, split: see :func:`bpfree.data.from_arrays`.

    Raises:
        DataError: a file that cannot be read, missing values (with their number by column), columns that are neither numbers nor
            categories, or labels that cannot be learned.
        UsageError: there is no such column, or pandas is not installed.
    """
    is_file = isinstance(source, str | Path)
    name = name or (readable(Path(source).name) if is_file else "table")
    frame = read_frame(source) if is_file else _checked_frame(source, name)
    chosen = [("target", target)] + ([("split column", split_column)] if split_column is not None else [])
    for what, column in chosen:
        _check_column(column, what, list(frame.columns), name)
    if not len(frame):
        raise DataError(f"{name} has column names but no rows; give at least 3 of each class")
    assert target is not None
    labels = frame[target]
    check_present(frame[[column for _, column in chosen]], name)
    inputs = frame.drop(columns=[column for _, column in chosen])
    if not inputs.shape[1]:
        raise DataError(f"{name} has no column but {column_words(list(frame.columns))}; give columns to learn from")
    if is_file and (nameless := unnamed(list(inputs.columns))):
        raise DataError(
            f"{name} has {len(nameless)} columns without a name, perhaps the number of the row; write it with "
            "frame.to_csv(path, index=False), or name them"
        )
    columns = Columns.of(inputs, target, name)
    x, y = columns.encode(inputs, name), _labels(labels, target, name)
    arrays = {"x": x, "y": y} if split_column is None else _parts(x, y, frame[split_column], split_column, name)
    data = from_arrays(**arrays, name=name, split_seed=split_seed, split=split)
    return dataclasses.replace(data, columns=columns)


def _checked_frame(source: Any, name: str) -> Any:
    if not all(hasattr(source, attribute) for attribute in ("columns", "dtypes", "set_axis")):
        raise UsageError(f"a table must be the path of a .csv or .parquet file, or a DataFrame, got a {type(source).__name__}")
    frame = source.set_axis([str(column) for column in source.columns], axis=1)
    if not frame.columns.is_unique:
        twice = frame.columns[frame.columns.duplicated()][0]
        raise DataError(f"{name} has several columns called {twice!r}; give each a name of its own")
    return frame


def _check_column(column: str | None, what: str, present: list[str], name: str) -> None:
    if column is None:
        raise UsageError(
            f"{name}: which column holds the labels? say --target-column COLUMN (Python: from_table(path, target)); it has: "
            f"{column_words(present)}"
        )
    if column not in present:
        raise UsageError(f"{name} has no column {column!r} to be the {what}; it has: {column_words(present)}")


def _labels(series: Any, target: str, name: str) -> Any:
    """As :func:`from_arrays` takes labels: whole numbers or text."""
    kind = "O" if hasattr(series.dtype, "categories") else getattr(series.dtype, "kind", "O")
    if kind == "b":
        return series.map(str).to_numpy(dtype=object)  # False and True are names here, not numbers
    if kind in "iu":
        return series.to_numpy(dtype="uint64" if kind == "u" else "int64")
    if kind == "O":
        return series.astype(object).to_numpy()
    cure = "if they are whole: frame[c].astype(int); " if kind == "f" else ""
    raise DataError(
        f"{name}: column {target!r} is {series.dtype}, but classes are text or whole numbers; {cure}else make classes of it, "
        "such as pandas.cut(frame[c], 3, labels=['low', 'mid', 'high'])"
    )


def _parts(x: Any, y: Any, says: Any, split_column: str, name: str) -> dict[str, Any]:
    """Arrays of each split under the names of :func:`from_arrays`."""
    words = says.astype(object).map(str)
    if unknown := sorted(set(words) - set(SPLITS)):
        raise DataError(f"{name}: column {split_column!r} has {unknown[0]!r}; write {', '.join(SPLITS)}")
    rows = {split: (words == split).to_numpy() for split in SPLITS}
    for split in ("train", "test"):
        if not rows[split].any():
            raise DataError(f"{name}: column {split_column!r} has no row of {split}; give some, or leave the split column out")
    arrays = {"x_train": x[rows["train"]], "y_train": y[rows["train"]], "x_test": x[rows["test"]], "y_test": y[rows["test"]]}
    if rows["validation"].any():
        arrays |= {"x_validation": x[rows["validation"]], "y_validation": y[rows["validation"]]}
    return arrays
