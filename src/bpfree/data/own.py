"""Data that a user brings by a text (``module:function``) or as a function: what it returns becomes a data set."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from bpfree.data.arrays import from_arrays
from bpfree.data.dataset import Dataset
from bpfree.data.registry import check_name, load, names
from bpfree.data.tables import Table, from_table
from bpfree.errors import UsageError, unknown_name
from bpfree.functions import called, function_named, is_function_text, name_of
from bpfree.rulesets import Split

__all__ = ["Source", "function_of", "load_any"]

Source = str | Path | Dataset | Table | tuple[Any, Any] | Callable[[], Any]
"""A name, a file, ``module:function``, a data set, a table with its target, a pair (x, y), or a function that returns one
of the last three."""


def function_of(source: Source) -> tuple[Callable[[], Any], str] | None:
    """The function that makes the data, and its name; None where a name, a file or a data set was given.

    Raises:
        UsageError: there is no such module or function.
    """
    if isinstance(source, Dataset | Table | Path):
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
        return source
    if isinstance(source, Table):
        if channels != "auto":
            raise UsageError(f"channels {channels} was asked, but a table has no images; leave it out")
        return _of_table(source, None, split_seed, split)
    maker = function_of(source)
    if maker is None:
        assert isinstance(source, str | Path)
        check_name(source)
        return load(source, data_dir=data_dir, download=download, split_seed=split_seed, split=split, channels=channels)
    function, name = maker
    made = called(function, name)
    if isinstance(made, Dataset):
        return dataclasses.replace(made, name=name) if made.name == "arrays" else made
    if isinstance(made, Table):
        return _of_table(made, name, split_seed, split)
    if isinstance(made, Mapping):
        return from_arrays(**made, name=name, split_seed=split_seed, split=split, channels=channels)
    if isinstance(made, tuple) and len(made) == 2:
        return from_arrays(*made, name=name, split_seed=split_seed, split=split, channels=channels)
    raise UsageError(
        f"{name} must return a bpfree Dataset or Table, a pair (x, y), or the named arrays of bpfree.data.from_arrays, got a "
        f"{type(made).__name__}"
    )


def _of_table(table: Table, name: str | None, split_seed: int, split: Split | None) -> Dataset:
    return from_table(table.source, table.target, split_column=table.split_column, name=name, split_seed=split_seed, split=split)
