"""What kind of data a text names: a registered name, or files of the user's own by their endings. Nothing is read."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from bpfree.errors import DataError, UsageError, unknown_name

__all__ = ["IMAGES", "SHARDS", "SUFFIXES", "TABLES", "check_file", "check_spec", "file_kind"]

TABLES = (".csv", ".parquet")
"""Endings of tables, which pandas reads."""

SHARDS = ".tar"
"""Ending of shards of webdataset."""

IMAGES = ".images"
"""With which the name of a data set ends that is a folder of images."""

SUFFIXES = (".npz", ".npy", *TABLES, SHARDS, IMAGES)
"""Endings of the names of data sets that are the user's own files."""

_UNREADABLE = (".pt", ".mat", ".h5", ".tsv", ".xlsx", ".pkl")

_READS = (
    "bpfree reads .npz, .csv and .parquet files, pairs of .npy, folders of images and .tar shards; "
    "np.savez('data.npz', x=x, y=y) writes one"
)

_PAIR = "give a pair, --dataset x.npy,y.npy, or a folder that holds x.npy and y.npy"

Kind = Literal["npz", "npy", "table", "shards", "folder"]


def file_kind(spec: str | Path, names: Sequence[str] = ()) -> Kind | None:
    """Of files: ``"npz"``, ``"npy"`` or ``"shards"`` (one, or several with commas between), ``"table"``, ``"folder"``; else None.

    Args:
        names: registered data sets; a text that is one of them names no folder.
    """
    text = str(spec).lower()
    if text.endswith(".npz"):
        return "npz"
    if text.endswith(TABLES):
        return "table"
    if text.endswith(".npy"):
        return "npy"
    if text.endswith(SHARDS):
        return "shards"
    if text and (isinstance(spec, Path) or spec not in names) and Path(spec).is_dir():
        return "folder"
    return None


def check_spec(spec: str | Path, names: Sequence[str], others: Sequence[str] = ()) -> None:
    """Refuse what cannot be the name or the files of a data set.

    Args:
        names: of bpfree's own data sets.
        others: of data sets of other packages, which read their options themselves.

    Raises:
        UnknownNameError: there is no such data set.
        UsageError: options that the data set does not take, files of another kind, or one .npy file.
    """
    text = str(spec)
    kind = file_kind(spec, names)
    if kind == "npy" and (text.count(",") != 1 or not all(part.lower().endswith(".npy") for part in text.split(","))):
        raise UsageError(f"{text} is not a pair of .npy files, the first of examples and the second of labels; {_PAIR}")
    if kind is not None:
        return
    name, colon, options = text.partition(":")
    if not isinstance(spec, Path) and name not in names and name in others:
        return
    if isinstance(spec, Path) or (name not in names and (Path(text).is_file() or text.lower().endswith(_UNREADABLE))):
        raise UsageError(f"cannot read {text}: {_READS}")
    if name not in names:
        raise unknown_name("data set", name, [*names, *others])
    if colon and name != "synthetic":
        raise UsageError(f"data set {name} takes no options, got {options!r}; only synthetic does")


def check_file(path: Path) -> None:
    """Refuse a file that is not there.

    Raises:
        DataError: with the cure.
    """
    if not path.is_file():
        cure = "" if path.suffix.lower() in TABLES else ", or write it with: " + _saving(path.suffix.lower())
        raise DataError(f"there is no file {path}; check the path{cure}")


def _saving(suffix: str) -> str:
    return "np.save('x.npy', x)" if suffix == ".npy" else "np.savez('data.npz', x=x, y=y)"
