"""Data that a user brings by a text (``module:function``) or as a function: what it returns becomes a data set."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bpfree.data.dataset import Dataset
from bpfree.data.given import dataset_of, of_table, resident
from bpfree.data.reading import Files
from bpfree.data.registry import check_name, load, names
from bpfree.data.tables import Table
from bpfree.errors import UsageError, unknown_name
from bpfree.functions import called, function_named, is_function_text, name_of
from bpfree.rulesets import Split

__all__ = ["Source", "function_of", "load_any"]

Source = str | Path | Files | Dataset | Table | tuple[Any, Any] | Callable[[], Any]
"""A name, a file, files with how they are read, ``module:function``, a data set, a table with its target, a pair (x, y), or a
function that returns one of the last three."""


def function_of(source: Source) -> tuple[Callable[[], Any], str] | None:
    """The function that makes the data, and its name; None where a name, a file or a data set was given.

    Raises:
        UsageError: there is no such module or function.
    """
    if isinstance(source, Dataset | Table | Files | Path):
        return None
    if isinstance(source, tuple):
        return (lambda: source), "arrays"
    if not isinstance(source, str):
        if not callable(source):
            raise UsageError(
                "data must be a name, a file, a Dataset, a Table, a pair (x, y) or a function that returns one, got a "
                f"{type(source).__name__}"
            )
        return source, name_of(source)
    if not is_function_text(source) or source.partition(":")[0] in names():
        return None
    try:
        return function_named(source), source
    except UsageError as error:
        if str(error).startswith("there is no module"):
            unknown = unknown_name("data set", source.partition(":")[0], names())
            raise UsageError(f"{unknown} Or, for data of your own: {error}") from None
        raise


def load_any(
    source: Source,
    *,
    data_dir: Path | str | None = None,
    download: bool = True,
    split_seed: int = 0,
    split: Split | None = None,
    channels: str = "auto",
) -> Dataset:
    """As :func:`bpfree.data.load`, for whatever a user gives as data; a function is called.

    A data set comes with its own splits: ``split`` and ``split_seed`` divide pairs of arrays only.

    Raises:
        UsageError: as :func:`bpfree.data.load`; or a function that is missing, raises, or returns something else.
        DataError: arrays that cannot be learned from.
    """
    if isinstance(source, Dataset):
        return resident(source)
    if isinstance(source, Table):
        if channels != "auto":
            raise UsageError(f"channels {channels} was asked, but a table has no images; leave it out")
        return of_table(source, None, split_seed, split)
    maker = function_of(source)
    if maker is None:
        assert isinstance(source, str | Path | Files)
        files = source if isinstance(source, Files) else Files(source)
        check_name(files.spec)
        options = dataclasses.asdict(files.reading)
        return load(
            files.spec, data_dir=data_dir, download=download, split_seed=split_seed, split=split, channels=channels, **options
        )
    function, name = maker
    return dataset_of(called(function, name), name, split_seed, split, channels)
