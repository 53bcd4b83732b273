"""From options to data: a name or a file, or a table with the columns that were named."""

from __future__ import annotations

from pathlib import Path

from bpfree.cli.options import CountOptions, DataOptions
from bpfree.data import Files, Reading, Source, Table, names
from bpfree.errors import UsageError
from bpfree.sources import file_kind

__all__ = ["reading_of", "source_of"]


def reading_of(options: DataOptions | CountOptions) -> Reading:
    """How files are read.

    Raises:
        UsageError: an option out of range.
    """
    return Reading(options.data_in, options.image_size, options.skip_corrupt)


def source_of(dataset: str, target_column: str | None, split_column: str | None, reading: Reading | None = None) -> Source:
    """What is learned from.

    Args:
        reading: of files; None for the defaults.

    Raises:
        UsageError: columns were named of what is no table.
    """
    if file_kind(dataset, names()) == "table":
        if reading is not None:
            reading.check_plain(dataset)
        return Table(Path(dataset), target_column, split_column)
    for option, column in (("--target-column", target_column), ("--split-column", split_column)):
        if column is not None:
            raise UsageError(f"{option} {column} was asked, but {dataset} is no .csv or .parquet file; leave it out")
    return dataset if reading is None or reading == Reading() else Files(dataset, reading)
