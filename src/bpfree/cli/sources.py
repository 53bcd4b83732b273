"""From options to data: a name or a file, or a table with the columns that were named."""

from __future__ import annotations

from pathlib import Path

from bpfree.data import Source, Table, names
from bpfree.errors import UsageError
from bpfree.sources import file_kind

__all__ = ["source_of"]


def source_of(dataset: str, target_column: str | None, split_column: str | None) -> Source:
    """What is learned from.

    Raises:
        UsageError: columns were named of what is no table.
    """
    if file_kind(dataset, names()) == "table":
        return Table(Path(dataset), target_column, split_column)
    for option, column in (("--target-column", target_column), ("--split-column", split_column)):
        if column is not None:
            raise UsageError(f"{option} {column} was asked, but {dataset} is no .csv or .parquet file; leave it out")
    return dataset
