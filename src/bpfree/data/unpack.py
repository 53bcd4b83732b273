"""Examples that are packed (pictures in files, members of archives), decoded once into one file that can be mapped.

It is done by worker processes before training, so that no measured second decodes anything, and every pass and every arm reads
the same values. The file is in the user's cache, under a key of what it was made of; it is as large as the decoded examples.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import math
import multiprocessing
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, Protocol

import numpy as np
import pooch
import torch.utils.data
from numpy.typing import NDArray

from bpfree.data.array_kinds import Array
from bpfree.data.mapping import note_map
from bpfree.errors import DataError, StorageError
from bpfree.files import writing
from bpfree.units import format_bytes

__all__ = ["Chunk", "Damage", "Plan", "Unpacked", "key_of", "unpacked"]

VERSION = 1
"""Of what is written."""

FEW = 1024
"""Up to so many examples are decoded in this process."""

MOST_WORKERS = 8

_ELSEWHERE = "choose another cache with XDG_CACHE_HOME"


class Damage(NamedTuple):
    """An example that cannot be used.

    Attributes:
        why: in one line, naming the file.
        corrupt: whether it may be skipped; false where the user must decide something.
    """

    why: str
    corrupt: bool = True


class Chunk(Protocol):
    """Some packed examples, which one worker decodes; it can be pickled."""

    @property
    def n(self) -> int:
        """How many there are."""
        ...

    def read(self, shape: tuple[int, ...]) -> Iterator[Array | Damage]:
        """Each example, of this shape, or why there is none."""
        ...


@dataclass(frozen=True)
class Plan:
    """What is to be decoded.

    Attributes:
        labels: (n,) of all examples, in the order of the chunks.
        pictures: whether the examples are decoded pictures, (channels, height, width).
        skipped: what was left out already, one line each.
        advice: the end of the sentence that refuses a corrupt example.
    """

    chunks: Sequence[Chunk]
    shape: tuple[int, ...]
    dtype: str
    labels: NDArray[Any]
    pictures: bool = True
    skipped: tuple[str, ...] = ()
    advice: str = "replace it, or leave such examples out with --skip-corrupt"


@dataclass(frozen=True)
class Unpacked:
    """Decoded examples.

    Attributes:
        x: (n, \\*shape), mapped.
        y: (n,) labels.
        pictures: as of the plan.
        skipped: what was left out, one line each.
    """

    x: Array
    y: NDArray[Any]
    pictures: bool
    skipped: tuple[str, ...]


@dataclass(frozen=True)
class _About:
    """What stands beside a file of decoded examples."""

    n: int
    shape: tuple[int, ...]
    dtype: str
    pictures: bool
    skipped: tuple[str, ...]


def key_of(files: Sequence[Path], *options: object) -> str:
    """Of files as they are (names, sizes, times of change) and how they are read."""
    sha = hashlib.sha256(f"{VERSION} {options}\n".encode())
    for file in files:
        stat = file.stat()
        sha.update(f"{file.absolute()}\0{stat.st_size} {stat.st_mtime_ns}\n".encode(errors="surrogateescape"))
    return sha.hexdigest()[:24]


def unpacked(key: str, plan: Callable[[], Plan], *, skip: bool) -> Unpacked:
    """The decoded examples under ``key``, from the cache or made now; another process that makes them is waited for.

    Args:
        plan: called if they are to be made.
        skip: leave corrupt examples out; otherwise the first is an error.

    Raises:
        DataError: a corrupt example, or one of another shape.
        StorageError: the cache cannot be written, or has too little space.
    """
    folder = Path(pooch.os_cache("bpfree")) / "unpacked" / key
    with writing(folder, _ELSEWHERE), _alone(folder.with_suffix(".lock")):
        if not (folder / "about.json").is_file():
            _make(folder, plan(), skip)
    try:
        about = _About(**json.loads((folder / "about.json").read_text(encoding="utf-8")))
        x = np.memmap(folder / "x.bin", about.dtype, "r", shape=(about.n, *about.shape))
        y = np.load(folder / "y.npy", allow_pickle=False)
    except (OSError, ValueError, TypeError) as error:
        raise DataError(f"the decoded examples in {folder} are damaged ({error}); delete that folder") from error
    return Unpacked(note_map(x, folder / "x.bin"), y, about.pictures, tuple(about.skipped))


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _make(folder: Path, plan: Plan, skip: bool) -> None:
    part = folder.with_suffix(".part")
    shutil.rmtree(part, ignore_errors=True)  # of a process that was killed
    part.mkdir()
    try:
        n, row_bytes = len(plan.labels), math.prod(plan.shape) * np.dtype(plan.dtype).itemsize
        free_bytes = shutil.disk_usage(part).free
        if n * row_bytes > free_bytes:
            raise StorageError(
                f"decoded, {n:,} examples take {format_bytes(n * row_bytes)}, and {format_bytes(free_bytes)} are free in "
                f"{folder.parent}; {_ELSEWHERE}, or take a smaller --image-size"
            )
        damaged = _fill(part / "x.bin", plan, row_bytes)
        if damaged and (not skip or any(not each.corrupt for each in damaged.values())):
            first = next(each for each in damaged.values() if not (skip and each.corrupt))
            raise DataError(f"{first.why}; {plan.advice}" if first.corrupt else first.why)
        usable = np.setdiff1d(np.arange(n), list(damaged))
        if not len(usable):
            raise DataError(f"no example can be read, the first since {next(iter(damaged.values())).why}")
        _close_gaps(part / "x.bin", usable, row_bytes)
        np.save(part / "y.npy", plan.labels[usable])
        skipped = (*plan.skipped, *(damaged[place].why for place in sorted(damaged)))
        about = _About(len(usable), plan.shape, plan.dtype, plan.pictures, skipped)
        (part / "about.json").write_text(json.dumps(asdict(about)), encoding="utf-8")
        part.rename(folder)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _fill(path: Path, plan: Plan, row_bytes: int) -> dict[int, Damage]:
    """Write every example in its place; those that cannot be used, by place."""
    starts = np.cumsum([0, *(chunk.n for chunk in plan.chunks)]).tolist()
    path.touch()
    n = starts[-1]
    alone = n <= FEW or multiprocessing.current_process().daemon  # which may have no children
    workers = 0 if alone else min(MOST_WORKERS, len(plan.chunks), os.cpu_count() or 1)
    filling = _Filling(path, plan, starts, row_bytes)
    damaged: dict[int, Damage] = {}
    for of_chunk in torch.utils.data.DataLoader(filling, batch_size=None, num_workers=workers, collate_fn=_as_it_is):
        if isinstance(of_chunk, str):
            raise StorageError(of_chunk)
        damaged.update(of_chunk)
    with path.open("r+b") as file:
        file.truncate(n * row_bytes)
    return damaged


def _as_it_is(value: Any) -> Any:
    return value


@dataclass(frozen=True)
class _Filling(torch.utils.data.Dataset[Any]):
    """Chunk after chunk: reading one writes its examples."""

    path: Path
    plan: Plan
    starts: list[int]
    row_bytes: int

    def __len__(self) -> int:
        return len(self.plan.chunks)

    def __getitem__(self, index: int) -> dict[int, Damage] | str:
        damaged: dict[int, Damage] = {}
        try:
            with self.path.open("r+b") as file:
                for place, value in enumerate(self.plan.chunks[index].read(self.plan.shape), self.starts[index]):
                    if isinstance(value, Damage):
                        damaged[place] = value
                        continue
                    file.seek(place * self.row_bytes)
                    file.write(np.ascontiguousarray(value, dtype=self.plan.dtype).data)
        except OSError as error:  # an exception of a worker would come with its whole stack
            return f"cannot write {self.path.parent}: {error.strerror or error}; {_ELSEWHERE}"
        return damaged


def _close_gaps(path: Path, usable: NDArray[np.int64], row_bytes: int) -> None:
    """Move the examples that are usable together, in their order."""
    if len(usable) == 0 or usable[-1] == len(usable) - 1:
        with path.open("r+b") as file:
            file.truncate(len(usable) * row_bytes)
        return
    with path.open("r+b") as file:
        for place, row in enumerate(usable.tolist()):
            if place != row:
                _move(file, row * row_bytes, place * row_bytes, row_bytes)
        file.truncate(len(usable) * row_bytes)


def _move(file: BinaryIO, source: int, target: int, n_bytes: int) -> None:
    file.seek(source)
    content = file.read(n_bytes)
    file.seek(target)
    file.write(content)
