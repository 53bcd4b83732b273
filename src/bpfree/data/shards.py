"""Shards of webdataset: tar archives whose members of one name are one example, ``0001.jpg`` and ``0001.cls``.

An example is ``.jpg``, ``.jpeg``, ``.png`` or ``.npy`` (never unpickled), its label ``.cls`` (a whole number or a word) or
``.json`` (a number, a word, or an object with ``label``). Other members are not read. The archives are read by webdataset from
front to back, once; after that the examples are in one mapped file, see :mod:`bpfree.data.unpack`.
"""

from __future__ import annotations

import io
import itertools
import json
import re
import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bpfree.data.array_kinds import Array
from bpfree.data.arrays import from_arrays
from bpfree.data.dataset import Dataset
from bpfree.data.pictures import ENDINGS, channels_of, decoded, need_pillow, of_shape, picture_shape
from bpfree.data.reading import Reading, with_skipped
from bpfree.data.unpack import Damage, Plan, Unpacked, key_of, unpacked
from bpfree.errors import DataError
from bpfree.extras import need
from bpfree.rulesets import Split
from bpfree.text import readable

__all__ = ["load_shards"]

_BROKEN = (tarfile.TarError, OSError, EOFError, ValueError)


def load_shards(spec: str, reading: Reading, split_seed: int = 0, split: Split | None = None, channels: str = "auto") -> Dataset:
    """Load ``shards-{000000..000009}.tar``, or ``train-{00..09}.tar,val-{0..1}.tar``, of which the second is the test set.

    Raises:
        UsageError: webdataset is not installed, or Pillow and a shard holds pictures.
        DataError: a shard is missing or damaged, an example without label or of another shape, or see :func:`from_arrays`.
        StorageError: the cache has too little space for the decoded examples.
    """
    need(f"the shards {readable(spec)}", ("webdataset", "braceexpand"), "stream")
    patterns = re.split(r",(?![^{]*\})", spec)
    made = [_unpacked(pattern, reading) for pattern in patterns]
    arrays: dict[str, Any] = {"x": made[0].x, "y": made[0].y}
    if len(made) > 1:
        arrays |= {"x_test": made[1].x, "y_test": made[1].y}
    data = from_arrays(
        **arrays,
        name=readable(Path(patterns[0]).name),
        split_seed=split_seed,
        split=split,
        channels="first" if made[0].pictures and channels == "auto" else channels,
        data_in=reading.data_in,
    )
    return with_skipped(data, [line for each in made for line in each.skipped])


def _paths(pattern: str) -> list[Path]:
    import braceexpand

    try:
        paths = [Path(each) for each in braceexpand.braceexpand(pattern)]
    except ValueError as error:
        raise DataError(f"{readable(pattern)} is no pattern of shards ({error}); use shards-{{000000..000009}}.tar") from error
    for path in paths:
        if not path.is_file():
            raise DataError(f"there is no shard {readable(str(path))}, one of {len(paths)} that {readable(pattern)} names")
    return paths


def _unpacked(pattern: str, reading: Reading) -> Unpacked:
    paths = _paths(pattern)
    key = key_of(paths, "shards", reading.image_size, reading.skip_corrupt)
    return unpacked(key, lambda: _plan(paths, reading), skip=reading.skip_corrupt)


@dataclass(frozen=True)
class Shard:
    """The examples of one archive, see :class:`bpfree.data.unpack.Chunk`."""

    path: Path
    n: int
    size: int | None
    dtype: str

    def read(self, shape: tuple[int, ...]) -> Iterator[Array | Damage]:
        """Each example."""
        for sample in itertools.islice(_samples(self.path), self.n):
            where = _where(self.path, sample)
            value = of_shape(_value(sample, where, shape, self.size), shape, where)
            if not isinstance(value, Damage) and (kind := value.dtype.newbyteorder("=").str) != self.dtype:
                value = Damage(
                    f"{where} is of type {kind}, and the first example of {self.dtype}; store all in one", corrupt=False
                )
            yield value


@dataclass
class _Seen:
    """What one look at a shard gave."""

    labels: list[int | str] = field(default_factory=list)
    first: dict[str, Any] | None = None
    damage: str | None = None


def _plan(paths: Sequence[Path], reading: Reading) -> Plan:
    seen = [_look(path) for path in paths]
    damages = [each.damage for each in seen if each.damage is not None]
    if damages and not reading.skip_corrupt:
        raise DataError(f"{damages[0]}; copy it again, or leave out what cannot be read with --skip-corrupt")
    firsts = [each.first for each in seen if each.first is not None]
    if not firsts:
        raise DataError(f"no example can be read, the first since {damages[0]}" if damages else f"the shard {paths[0]} is empty")
    shape, dtype, pictures = _kind(firsts, reading)
    chunks = [Shard(path, len(each.labels), reading.image_size, dtype) for path, each in zip(paths, seen, strict=True)]
    labels = _labels([label for each in seen for label in each.labels])
    return Plan(chunks, shape, dtype, labels, pictures, tuple(damages))


def _look(path: Path) -> _Seen:
    """Labels of all examples, and the first example.

    Raises:
        DataError: an example without a label, or a label without an example.
    """
    seen = _Seen()
    incomplete: DataError | None = None  # of the example before
    reason = "" if _has_end(path) else "it has no end: it is cut off"
    try:
        for sample in _samples(path):
            if incomplete is not None:
                raise incomplete
            where = _where(path, sample)
            try:
                _member(sample, where)
                seen.labels.append(_label(sample, where))
            except DataError as error:
                incomplete = error
                continue
            seen.first = seen.first or sample
    except _BROKEN as error:
        if isinstance(error, DataError):
            raise
        reason = (str(error.args[0] if error.args else error).splitlines() or [type(error).__name__])[0].partition(" @ ")[0]
    if incomplete is not None and not reason:
        raise incomplete
    if reason:
        seen.damage = f"the shard {readable(str(path))} is damaged after {len(seen.labels)} examples ({reason})"
    return seen


def _has_end(path: Path) -> bool:
    """Whether an archive ends with a block of zeros; where one is cut off between two members, nothing else tells."""
    size = path.stat().st_size
    if size < tarfile.BLOCKSIZE or size % tarfile.BLOCKSIZE:
        return False
    with path.open("rb") as file:
        file.seek(size - tarfile.BLOCKSIZE)
        return not any(file.read())


def _samples(path: Path) -> Iterator[dict[str, Any]]:
    """Members of one name together, as bytes by their ending; nothing is decoded."""
    from webdataset import tariterators

    with path.open("rb") as stream:
        files = tariterators.tar_file_expander([{"url": str(path), "stream": stream}])
        yield from tariterators.group_by_keys(files)


def _where(path: Path, sample: dict[str, Any]) -> str:
    return readable(f"{sample['__key__']} in the shard {path}")


def _member(sample: dict[str, Any], where: str) -> str:
    """The ending of the member that is the example."""
    endings = [ending for ending in (*ENDINGS, "npy") if ending in sample]
    if not endings:
        held = ", ".join(sorted(key for key in sample if not key.startswith("__"))) or "nothing"
        raise DataError(f"{where} has no example (.jpg, .jpeg, .png or .npy), only: {held}; write one of them")
    return endings[0]


def _label(sample: dict[str, Any], where: str) -> int | str:
    if "cls" in sample:
        text = sample["cls"].decode("utf-8", "replace").strip()
    elif "json" in sample:
        try:
            value = json.loads(sample["json"])
        except ValueError as error:
            raise DataError(f"{where} has a .json that cannot be read ({error}); write the label as .cls") from error
        value = value.get("label") if isinstance(value, dict) else value
        text = str(value) if isinstance(value, int | str) and not isinstance(value, bool) else ""
    else:
        text = ""
    if not text:
        raise DataError(f"{where} has no label; write it as a member .cls, or as label in .json")
    return int(text) if re.fullmatch(r"[+-]?\d{1,18}", text) else text


def _labels(labels: list[int | str]) -> NDArray[Any]:
    return np.array(labels if all(isinstance(label, int) for label in labels) else [str(label) for label in labels])


def _kind(firsts: Sequence[dict[str, Any]], reading: Reading) -> tuple[tuple[int, ...], str, bool]:
    """Shape and type of all examples, by the first of each shard, and whether they are pictures."""
    where = "the first example of the shards"
    ending = _member(firsts[0], where)
    if ending != "npy":
        need_pillow("shards with images")
        pictures = [first[ending] for first in firsts if ending in first]
        channels = channels_of(pictures)
        return picture_shape(pictures, channels, reading.image_size) or (channels, 1, 1), np.dtype(np.uint8).str, True
    reading.check_no_size(where)
    for first in firsts:
        value = _array(first.get("npy", b""), where)
        if not isinstance(value, Damage):
            return value.shape, value.dtype.newbyteorder("=").str, False
    raise DataError(f"{where} cannot be read as .npy; write it with numpy.save")


def _value(sample: dict[str, Any], where: str, shape: tuple[int, ...], size: int | None) -> Array | Damage:
    ending = _member(sample, where)
    return _array(sample["npy"], where) if ending == "npy" else decoded(sample[ending], where, shape[0], size)


def _array(content: bytes, where: str) -> Array | Damage:
    try:
        return np.load(io.BytesIO(content), allow_pickle=False)
    except (ValueError, OSError, EOFError) as error:
        reason = "it holds Python objects, which are never unpickled" if "allow_pickle" in str(error) else "it is no .npy file"
        return Damage(f"{where} cannot be decoded ({reason})")
