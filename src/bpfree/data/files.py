"""Official files: read from the data root, else from the cache, else downloaded; always checked.

No file is parsed before its sha256 is that of the official one.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import BinaryIO

import pooch

from bpfree.errors import DataError
from bpfree.files import refusal, write_atomic, writing

__all__ = ["check_sha256", "data_root", "fetch", "locate", "opened_checked", "read_checked", "write_whole"]


def data_root(data_dir: Path | str | None) -> Path | None:
    """The folder of the user's data sets: ``data_dir``, else what ``BPFREE_DATA`` says, else none.

    Raises:
        DataError: it is named but is not a directory.
    """
    option = "--data-dir" if data_dir else "BPFREE_DATA"
    named = data_dir or os.environ.get("BPFREE_DATA")
    if not named:
        return None
    root = Path(named).expanduser()
    if not root.is_dir():
        raise DataError(
            f"{option} says {root}, which is not a directory; name the folder that holds mnist/, fashion-mnist/, "
            "cifar-10-batches-py/ or cifar-100-python/"
        )
    return root


_ELSEWHERE = (
    "choose another cache with XDG_CACHE_HOME, or put the files in place by hand and name their folder with --data-dir DIR"
)
"""How a user stores the official files somewhere else."""


def _raise_if_disk(error: Exception, path: Path) -> None:
    if isinstance(error, PermissionError) and error.errno is None:  # pooch raises one of its own, without a number
        error = PermissionError(errno.EACCES, str(error))
    refused = refusal(error, path, _ELSEWHERE) if isinstance(error, OSError) else None
    if refused is not None:
        raise refused from error


def _cache_folder(name: str) -> Path:
    """Folder of the downloaded data set ``name``, in the user's cache."""
    return Path(pooch.os_cache("bpfree")) / name


def _find_folder(root: Path | None, folders: tuple[str, ...]) -> Path | None:
    """The first of ``folders`` that exists under ``root``."""
    if root is None:
        return None
    return next((root / folder for folder in folders if (root / folder).is_dir()), None)


def check_sha256(content: bytes, expected: str, what: str) -> bytes:
    """Return ``content`` if its sha256 is ``expected``.

    Raises:
        DataError: it is not; the message names ``what``, both sums and the cure.
    """
    _check_sum(hashlib.sha256(content).hexdigest(), len(content), expected, what)
    return content


def _check_sum(got: str, n_bytes: int, expected: str, what: str) -> None:
    if got != expected:
        raise DataError(
            f"{what} is not the official file: sha256 should be {expected}, is {got} ({n_bytes} bytes); it is cut off or "
            "damaged: delete it and get it again"
        )


def read_checked(folder: Path, file: str, sha256: Mapping[str, str]) -> bytes:
    """The bytes of ``folder/file``, whose checksum is ``sha256[file]``.

    Raises:
        DataError: the file is missing, cannot be read, or has another checksum.
    """
    with _readable(folder, file):
        content = (folder / file).read_bytes()
    return check_sha256(content, sha256[file], str(folder / file))


@contextlib.contextmanager
def opened_checked(folder: Path, file: str, sha256: Mapping[str, str]) -> Iterator[BinaryIO]:
    """The file of :func:`read_checked`, open at its start, for a reader that should not hold its bytes beside what it makes.

    Raises:
        DataError: as there.
    """
    with _readable(folder, file), (folder / file).open("rb") as stream:
        _check_sum(hashlib.file_digest(stream, "sha256").hexdigest(), stream.tell(), sha256[file], str(folder / file))
        stream.seek(0)
        yield stream


@contextlib.contextmanager
def _readable(folder: Path, file: str) -> Iterator[None]:
    path = folder / file
    try:
        yield
    except FileNotFoundError as error:
        raise DataError(f"{path} is missing; put {file} there, or move {folder} away to download the whole set") from error
    except OSError as error:
        raise DataError(f"cannot read {path} ({error.strerror}); check its permissions") from error


def fetch(name: str, urls: tuple[str, ...], sha256: str, target: Path, *, folders: tuple[str, ...]) -> Path:
    """Download one file into the cache, unless it is there already, from the first mirror that answers.

    Args:
        name: of the data set, for the message.
        urls: mirrors of the same file.
        sha256: of the file.
        target: where it goes.
        folders: names that the data set's folder may have under the data root, for the message.

    Raises:
        DataError: no mirror gave the official file; the message says where to put it by hand.
        StorageError: the cache cannot be written.
    """
    problem = ""
    for url in urls:
        try:
            pooch.retrieve(url, known_hash=f"sha256:{sha256}", fname=target.name, path=target.parent)
        except (OSError, ValueError) as error:  # the network's errors are OSErrors, a wrong sum a ValueError
            _raise_if_disk(error, target)
            problem = f"{type(error).__name__} from {url}"
        else:
            return target
    raise DataError(
        f"cannot download {name} ({problem}); without a network, put the official files in a folder {folders[0]}/ and name the "
        "folder above it with --data-dir DIR or BPFREE_DATA"
    )


def write_whole(path: Path, content: bytes) -> None:
    """Write a file of the cache so that a crash leaves all of it or nothing; its folder is made.

    Raises:
        StorageError: the cache cannot be written.
    """
    with writing(path, _ELSEWHERE):
        path.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(path, content, elsewhere=_ELSEWHERE)


def locate(
    name: str,
    folders: tuple[str, ...],
    data_dir: Path | str | None,
    download: bool,
    complete: Callable[[Path], bool],
    get: Callable[[Path], None],
) -> Path:
    """The folder of an official data set: under the data root, else the cache, which ``get`` fills.

    Args:
        name: of the data set.
        folders: names that its folder may have under the data root.
        data_dir: see :func:`data_root`.
        download: false forbids ``get``.
        complete: says whether the cache folder has all files.
        get: downloads them into the cache folder.

    Raises:
        DataError: it is nowhere and may not, or cannot, be downloaded.
    """
    root = data_root(data_dir)
    folder = _find_folder(root, folders)
    if folder is not None:
        return folder
    cache = _cache_folder(name)
    if not complete(cache):
        if not download:
            where = f"{root} nor in {cache}" if root else f"{cache}"
            raise DataError(
                f"{name} is not in {where}; put the official files in a folder {folders[0]}/ and name the folder above it with "
                "--data-dir DIR or BPFREE_DATA, or allow the download"
            )
        get(cache)
    return cache
