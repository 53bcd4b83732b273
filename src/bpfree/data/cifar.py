"""``cifar10`` and ``cifar100``: 60,000 images of 32 x 32 colour pixels each (Krizhevsky 2009).

Read from ``DATA_DIR/cifar-10-batches-py`` and ``DATA_DIR/cifar-100-python`` (the official pickles), or from
``cifar-10-batches-bin`` and ``cifar-100-binary`` (the official binary version, which holds the same images in the same order), or
downloaded. A pickle is unpickled only after its sha256 was checked, and then by an unpickler that makes nothing but numpy arrays:
a file cannot run code.
"""

from __future__ import annotations

import pickle
import tarfile
import warnings
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch
from numpy.typing import NDArray

from bpfree.data.dataset import Dataset
from bpfree.data.files import check_sha256, fetch, locate, opened_checked, read_checked, write_whole
from bpfree.data.splits import digest, train_and_validation
from bpfree.data.stored import Examples, Normalisation
from bpfree.errors import DataError
from bpfree.rulesets import Split, standard_split

__all__ = ["SETS", "CifarSet", "load_cifar", "parse_binary", "parse_pickle"]

_SHAPE = (3, 32, 32)
_N_PIXELS = 3 * 32 * 32


@dataclass(frozen=True, kw_only=True)
class CifarSet:
    """One of the two sets.

    Attributes:
        n_classes: 10, or 100 (the fine labels).
        python, binary: names of the folders of the two official forms.
        train, test: files of the python form; the binary form appends ``.bin``.
        labels: key of the labels in the pickles.
        n_label_bytes: before each image in the binary form; the last of them is used.
        archive_sha256: of the official archive of the python form.
        sha256: of each file of either form.
        mean, std: per channel, of pixels divided by 255, as the papers' code has them (algorithms.md 1.2).
    """

    n_classes: int
    python: str
    binary: str
    train: tuple[str, ...]
    test: str
    labels: bytes
    n_label_bytes: int
    archive: str
    archive_sha256: str
    sha256: Mapping[str, str]
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    note: str


_MIRROR = "https://www.cs.toronto.edu/~kriz/"

SETS: dict[str, CifarSet] = {
    "cifar10": CifarSet(
        n_classes=10,
        python="cifar-10-batches-py",
        binary="cifar-10-batches-bin",
        train=tuple(f"data_batch_{k}" for k in range(1, 6)),
        test="test_batch",
        labels=b"labels",
        n_label_bytes=1,
        archive="cifar-10-python.tar.gz",
        archive_sha256="6d958be074577803d12ecdefd02955f39262c83c16fe9348329d7fe0b5c001ce",
        sha256={
            "data_batch_1": "54636561a3ce25bd3e19253c6b0d8538147b0ae398331ac4a2d86c6d987368cd",
            "data_batch_2": "766b2cef9fbc745cf056b3152224f7cf77163b330ea9a15f9392beb8b89bc5a8",
            "data_batch_3": "0f00d98ebfb30b3ec0ad19f9756dc2630b89003e10525f5e148445e82aa6a1f9",
            "data_batch_4": "3f7bb240661948b8f4d53e36ec720d8306f5668bd0071dcb4e6c947f78e9682b",
            "data_batch_5": "d91802434d8376bbaeeadf58a737e3a1b12ac839077e931237e0dcd43adcb154",
            "test_batch": "f53d8d457504f7cff4ea9e021afcf0e0ad8e24a91f3fc42091b8adef61157831",
            "data_batch_1.bin": "cee916563c9f80d84e3cc88e17fdc0941787f1244f00a67874d45b261883ada5",
            "data_batch_2.bin": "a591ca11fa1708a91ee40f54b3da4784ccd871ecf2137de63f51ada8b3fa57ed",
            "data_batch_3.bin": "bbe8596564c0f86427f876058170b84dac6670ddf06d79402899d93ceea26f67",
            "data_batch_4.bin": "014e562d6e23c72197cc727519169a60359f5eccd8945ad5a09d710285ff4e48",
            "data_batch_5.bin": "755304fc0b379caeae8c14f0dac912fbc7d6cd469eb67a1029a08a39453a9add",
            "test_batch.bin": "8e2eb146ae340b09e24670f29cabc6326dba54da8789dab6768acf480273f65b",
        },
        mean=(0.4914, 0.4822, 0.4465),
        std=(0.2023, 0.1994, 0.2010),
        note="CIFAR-10",
    ),
    "cifar100": CifarSet(
        n_classes=100,
        python="cifar-100-python",
        binary="cifar-100-binary",
        train=("train",),
        test="test",
        labels=b"fine_labels",
        n_label_bytes=2,
        archive="cifar-100-python.tar.gz",
        archive_sha256="85cd44d02ba6437773c5bbd22e183051d648de2e7d6b014e1ef29b855ba677a7",
        sha256={
            "train": "735e79b04f092ca3d2e6d07f368c0a7d70d48c48d28865950cc24454cf45129b",
            "test": "4b67687d9933c4db8f0831104447f15b93774f4f464bd0516f0f0f2ac83b7864",
            "train.bin": "f31298fc616915fa142368359df1c4ca2ae984d6915ca468b998a5ec6aeebf29",
            "test.bin": "d8b1e6b7b3bee4020055f0699b111f60b1af1e262aeb93a0b659061746f8224a",
        },
        mean=(0.5071, 0.4867, 0.4408),
        std=(0.2675, 0.2565, 0.2761),
        note="CIFAR-100 (fine labels)",
    ),
}


def load_cifar(name: str, data_dir: Path | str | None, download: bool, split_seed: int, split: Split | None = None) -> Dataset:
    """Load CIFAR-10 or CIFAR-100: in_shape (3, 32, 32), 45,000 / 5,000 / 10,000 examples.

    Raises:
        DataError: a file is missing, is not the official one, or cannot be downloaded.
        StorageError: the download cannot be written.
    """
    member = SETS[name]

    def get(cache: Path) -> None:
        _download(name, member, cache)

    def complete(cache: Path) -> bool:
        return all((cache / file).is_file() for file in (*member.train, member.test))

    folder = locate(name, (member.python, member.binary), data_dir, download, complete, get)
    x, y = _joined([_read(folder, file, member) for file in member.train])
    x_test, y_test = _read(folder, member.test, member)
    split = split or standard_split(name)
    train, validation = train_and_validation(len(y), split, split_seed, name=name)
    return Dataset(
        name=name,
        n_classes=member.n_classes,
        in_shape=_SHAPE,
        split_digest=digest(x, y, train, validation, x_test, y_test),
        note=f"{member.note}: {split}.",
        splits={
            "train": Examples(torch.from_numpy(x[train]), torch.from_numpy(y[train])),
            "validation": Examples(torch.from_numpy(x[validation]), torch.from_numpy(y[validation])),
            "test": Examples(torch.from_numpy(x_test), torch.from_numpy(y_test)),
        },
        normalisation=Normalisation.of(member.mean, member.std, 255.0),
    )


def _download(name: str, member: CifarSet, cache: Path) -> None:
    """Fetch the archive, unpack the files that are read, and delete the archive (170 MB)."""
    archive = fetch(
        name,
        (_MIRROR + member.archive,),
        member.archive_sha256,
        cache / member.archive,
        folders=(member.python,),
    )
    try:
        with tarfile.open(archive) as tar:
            for file in (*member.train, member.test):
                stream = tar.extractfile(f"{member.python}/{file}")  # by name: no path of the archive is ever used
                content = stream.read() if stream else b""
                write_whole(cache / file, check_sha256(content, member.sha256[file], f"{file} in {archive}"))
    except (tarfile.TarError, KeyError, EOFError, zlib.error) as error:
        raise DataError(f"{archive} cannot be unpacked ({error}); delete it and get it again") from error
    archive.unlink(missing_ok=True)  # another process may have deleted it


def _read(folder: Path, file: str, member: CifarSet) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    if folder.name == member.binary:
        file = f"{file}.bin"
        content = read_checked(folder, file, member.sha256)
        return parse_binary(content, member.n_label_bytes, str(folder / file))
    with opened_checked(folder, file, member.sha256) as stream:
        return parse_pickle(stream, member.labels, str(folder / file))


def _joined(parts: list[tuple[NDArray[np.uint8], NDArray[np.int64]]]) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """One array of the images and one of the labels of all files; on return the parts are not held any more."""
    if len(parts) == 1:
        return parts[0]
    pixels, labels = zip(*parts, strict=True)
    return np.concatenate(pixels), np.concatenate(labels)


def parse_binary(content: bytes, n_label_bytes: int, what: str) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Parse the binary form: each image is ``n_label_bytes`` labels (the fine one last), then its pixels.

    Returns:
        (n, 3, 32, 32) pixels, (n,) labels.

    Raises:
        DataError: the length is not a whole number of images.
    """
    length = n_label_bytes + _N_PIXELS
    if not content or len(content) % length:
        raise DataError(f"{what} has {len(content)} bytes, not a multiple of {length}; get it again")
    rows = np.frombuffer(content, np.uint8).reshape(-1, length)
    x = rows[:, n_label_bytes:].reshape(-1, *_SHAPE).copy()
    return x, rows[:, n_label_bytes - 1].astype(np.int64)


def parse_pickle(stream: BinaryIO, labels: bytes, what: str) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Parse the python form: a pickled dict with ``b"data"``, (n, 3072) uint8, and a list of labels.

    Args:
        stream: the file, at its start; its bytes are not held beside the array that is made of them.
        labels: key of the labels.
        what: the file's name, for messages.

    Returns:
        (n, 3, 32, 32) pixels, (n,) labels.

    Raises:
        DataError: it is something else, or asks for anything but a numpy array.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # numpy deprecates how it was itself pickled in 2009
            entries: Any = _ArraysOnly(stream, encoding="bytes").load()
        pixels, numbers = entries[b"data"], np.asarray(entries[labels], dtype=np.int64)
    except (
        pickle.UnpicklingError,
        EOFError,
        ValueError,
        TypeError,
        KeyError,
        IndexError,
        AttributeError,
    ) as error:
        raise DataError(f"{what} is not a batch of CIFAR images ({error}); delete it and get it again") from error
    if not isinstance(pixels, np.ndarray) or pixels.dtype != np.uint8 or pixels.shape != (len(numbers), _N_PIXELS):
        raise DataError(f"{what} does not hold one row of {_N_PIXELS} bytes for each label; delete it and get it again")
    return np.require(pixels, requirements=("C", "W")).reshape(-1, *_SHAPE), numbers


_RECONSTRUCT = np.empty(0).__reduce__()[0]  # numpy's function, wherever this version of numpy has it

_ADMITTED: dict[tuple[str, str], Any] = {
    ("numpy.core.multiarray", "_reconstruct"): _RECONSTRUCT,
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
}
"""All that the official files name, as ``pickletools`` lists it."""


class _ArraysOnly(pickle.Unpickler):
    """An unpickler that makes numpy arrays and plain containers, and nothing else."""

    def find_class(self, module_name: str, global_name: str, /) -> Any:
        try:
            return _ADMITTED[module_name, global_name]
        except KeyError:
            raise pickle.UnpicklingError(f"it asks for {module_name}.{global_name}") from None
