"""``mnist`` and ``fashion-mnist``: 70,000 images of 28 x 28 grey pixels each, in LeCun's IDX format (1998).

The official ``*-ubyte.gz`` files are read from ``DATA_DIR/mnist`` and ``DATA_DIR/fashion-mnist``, or downloaded.
"""

from __future__ import annotations

import gzip
import io
import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from bpfree.data.dataset import Dataset
from bpfree.data.files import fetch, locate, read_checked
from bpfree.data.splits import digest, train_and_validation
from bpfree.data.stored import Examples, Normalisation
from bpfree.errors import DataError
from bpfree.rulesets import Split, standard_split

__all__ = ["FAMILY", "IdxSet", "load_idx", "parse_idx"]

_TRAIN_X, _TRAIN_Y = "train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz"
_TEST_X, _TEST_Y = "t10k-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz"

_UBYTE = 0x08
"""The type code of unsigned bytes, third byte of the magic number; the fourth is the number of axes."""

_CHUNK = 2**20
"""Bytes that are unpacked at a time."""


@dataclass(frozen=True, kw_only=True)
class IdxSet:
    """One member of the family.

    Attributes:
        folders: names of its folder under the data root (bpfree's, then torchvision's).
        mirrors: addresses of the folder that holds the four files.
        sha256: of each file as it is distributed (compressed).
        mean, std: of the training pixels divided by 255, as the papers' code has them (algorithms.md 1.2).
        note: its name for the report.
    """

    folders: tuple[str, ...]
    mirrors: tuple[str, ...]
    sha256: Mapping[str, str]
    mean: float
    std: float
    note: str


FAMILY: dict[str, IdxSet] = {
    "mnist": IdxSet(
        folders=("mnist", "MNIST/raw"),
        mirrors=(
            "https://ossci-datasets.s3.amazonaws.com/mnist/",
            "https://storage.googleapis.com/cvdf-datasets/mnist/",
        ),
        sha256={
            _TRAIN_X: "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
            _TRAIN_Y: "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
            _TEST_X: "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
            _TEST_Y: "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
        },
        mean=0.1307,
        std=0.3081,
        note="MNIST",
    ),
    "fashion-mnist": IdxSet(
        folders=("fashion-mnist", "FashionMNIST/raw"),
        mirrors=("http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",),
        sha256={
            _TRAIN_X: "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
            _TRAIN_Y: "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
            _TEST_X: "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
            _TEST_Y: "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
        },
        mean=0.2860,
        std=0.3530,
        note="Fashion-MNIST",
    ),
}


def load_idx(name: str, data_dir: Path | str | None, download: bool, split_seed: int, split: Split | None = None) -> Dataset:
    """Load a member of the family: in_shape (1, 28, 28), 10 classes.

    Raises:
        DataError: a file is missing, is not the official one, or cannot be downloaded.
        StorageError: the download cannot be written.
    """
    member = FAMILY[name]

    def get(cache: Path) -> None:
        for file, sha256 in member.sha256.items():
            urls = tuple(mirror + file for mirror in member.mirrors)
            fetch(name, urls, sha256, cache / file, folders=member.folders)

    def complete(cache: Path) -> bool:
        return all((cache / file).is_file() for file in member.sha256)

    folder = locate(name, member.folders, data_dir, download, complete, get)
    x, y = _read_pair(folder, _TRAIN_X, _TRAIN_Y, member.sha256)
    x_test, y_test = _read_pair(folder, _TEST_X, _TEST_Y, member.sha256)
    split = split or standard_split(name)
    train, validation = train_and_validation(len(y), split, split_seed, name=name)
    return Dataset(
        name=name,
        n_classes=10,
        in_shape=x.shape[1:],
        split_digest=digest(x, y, train, validation, x_test, y_test),
        note=f"{member.note}: {split}.",
        splits={
            "train": Examples(torch.from_numpy(x[train]), torch.from_numpy(y[train])),
            "validation": Examples(torch.from_numpy(x[validation]), torch.from_numpy(y[validation])),
            "test": Examples(torch.from_numpy(x_test), torch.from_numpy(y_test)),
        },
        normalisation=Normalisation.of((member.mean,), (member.std,), 255.0),
    )


def _read_pair(folder: Path, images: str, labels: str, sha256: Mapping[str, str]) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    x = parse_idx(read_checked(folder, images, sha256), 3, str(folder / images))
    y = parse_idx(read_checked(folder, labels, sha256), 1, str(folder / labels))
    if len(x) != len(y):
        raise DataError(f"{folder}: {images} has {len(x)} images, {labels} has {len(y)} labels; get both files again")
    return x[:, None], y.astype(np.int64)


def parse_idx(content: bytes, n_axes: int, what: str) -> NDArray[np.uint8]:
    """Parse a gzipped IDX file of unsigned bytes.

    The format: two zero bytes, the type code, the number of axes, the length of each axis as a big-endian 32-bit integer, then
    the values.

    Args:
        content: the compressed file.
        n_axes: that it must have: 3 for images, 1 for labels.
        what: the file's name, for messages.

    Raises:
        DataError: it is not gzip, not such a file, or not as long as it says.
    """
    raw = bytearray()  # grows as it is unpacked, and the array is made of it: the pixels are in memory once
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(content)) as file:
            while chunk := file.read(_CHUNK):
                raw += chunk
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{what} cannot be unpacked ({error}); delete it and get it again") from error
    magic = bytes((0, 0, _UBYTE, n_axes))
    head = 4 + 4 * n_axes
    if raw[:4] != magic or len(raw) < head:
        raise DataError(
            f"{what} is not an IDX file of unsigned bytes with {n_axes} axes: it begins with {raw[:4].hex() or 'nothing'}, not "
            f"{magic.hex()}; get it again (or are images and labels exchanged?)"
        )
    shape = struct.unpack(f">{n_axes}I", raw[4:head])
    values = np.frombuffer(raw, np.uint8, offset=head)
    if values.size != int(np.prod(shape, dtype=object)):
        raise DataError(f"{what} holds {values.size} bytes where its head says {shape}; delete it and get it again")
    return values.reshape(shape)
