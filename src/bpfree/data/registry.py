"""Data sets by name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from bpfree.catalogue import other_datasets
from bpfree.data.axes import check_channels
from bpfree.data.cifar import load_cifar
from bpfree.data.dataset import Dataset
from bpfree.data.digits import load_digits
from bpfree.data.given import of_extension
from bpfree.data.idx import load_idx
from bpfree.data.image_folder import is_image_folder, load_image_folder
from bpfree.data.npy import load_folder, load_pair
from bpfree.data.npz import load_npz
from bpfree.data.reading import Reading
from bpfree.data.shards import load_shards
from bpfree.data.splits import check_seed
from bpfree.data.synthetic import load_synthetic, parse_synthetic
from bpfree.data.tables import from_table
from bpfree.errors import UsageError
from bpfree.rulesets import Split, standard_split
from bpfree.rulesets.splits import ARRAYS
from bpfree.sources import check_spec, file_kind

__all__ = ["check_name", "describe", "load", "names"]

_OFFICIAL: dict[str, Callable[[str, Path | str | None, bool, int, Split], Dataset]] = {
    "mnist": load_idx,
    "fashion-mnist": load_idx,
    "cifar10": load_cifar,
    "cifar100": load_cifar,
}


def names() -> tuple[str, ...]:
    """The registered names, the smallest data set first, then those of other packages, which are not imported for it."""
    return ("digits", "synthetic", *_OFFICIAL, *other_datasets())


def describe() -> dict[str, str]:
    """Name to one line of help, of the package's own."""
    return {
        "digits": "1,797 real handwritten digits of 8 x 8, embedded (scikit-learn): the default",
        "mnist": "70,000 handwritten digits of 28 x 28; from --data-dir, or downloaded and checked by sha256",
        "fashion-mnist": "70,000 pictures of clothing of 28 x 28; likewise",
        "cifar10": "60,000 colour pictures of 32 x 32 in 10 classes; likewise",
        "cifar100": "60,000 colour pictures of 32 x 32 in 100 classes; likewise",
        "synthetic": "a teacher network's labels, for scaling tests: synthetic:n=5000:inputs=64:classes=10",
        "FILE.npz": "your own: arrays x (examples first) and y (text or whole numbers); x_train, y_train, x_test, y_test; groups",
        "X.npy,Y.npy": "likewise, as a pair of files; or the path of a folder that holds x.npy and y.npy, x_train.npy, ...",
        "DIR": "a folder of images: train/CLASS/*.jpg or .png and val/CLASS/..., or CLASS/...; see --image-size",
        "SHARDS.tar": "shards of webdataset, 'shards-{000000..000009}.tar': .jpg, .png or .npy with .cls or .json",
        "FILE.csv": "your own table, or FILE.parquet, with --target-column COLUMN: numbers as they are, text one-hot",
    }


def check_name(spec: str | Path) -> None:
    """Refuse what cannot be the name or the file of a data set; nothing is read.

    Raises:
        UnknownNameError: there is no such data set.
        UsageError: options that the data set does not take, or a file of another kind.
    """
    others = other_datasets()
    check_spec(spec, [name for name in names() if name not in others], tuple(others))


def load(
    spec: str | Path,
    *,
    data_dir: Path | str | None = None,
    download: bool = True,
    split_seed: int = 0,
    split: Split | None = None,
    channels: str = "auto",
    data_in: str = "auto",
    image_size: int | None = None,
    skip_corrupt: bool = False,
) -> Dataset:
    """Load a data set onto the CPU.

    Args:
        spec: a name (see :func:`names`), ``synthetic:n=5000:inputs=64:classes=10``, the path of a
            ``.npz`` file, a pair ``x.npy,y.npy``, or the path of a folder of .npy files; for a table see
            :func:`bpfree.data.from_table`. A name may be an entry point of the group ``bpfree.datasets`` of another package.
        data_dir: folder that holds ``mnist/``, ``fashion-mnist/``, ``cifar-10-batches-py/``, ``cifar-100-python/``; by default
            the environment variable ``BPFREE_DATA``. What is not there is downloaded to the user's cache.
        download: false refuses to use the network.
        split_seed: of the splits that are drawn (by default all but MNIST's, and the official test splits).
        split: how it is divided; by default as under ``splits: standard`` of a ruleset.
        channels: of files whose examples have three axes, see :func:`bpfree.data.from_arrays`.
        data_in: whether examples of .npy files stay in them, see :data:`bpfree.data.storage.DATA_IN`.
        image_size, skip_corrupt: of folders of images and of shards, see :class:`bpfree.data.reading.Reading`.

    Raises:
        UnknownNameError: there is no such data set.
        UsageError: options that the data set does not take, or a file of another kind.
        DataError: the data is missing, corrupt or cannot be learned from.
        StorageError: the download cannot be written.
    """
    check_name(spec)
    check_seed(split_seed)
    text = str(spec)
    kind = file_kind(spec, names())
    reading = Reading(data_in, image_size, skip_corrupt)
    split = split or standard_split(text if kind is None else ARRAYS)
    if kind in _OF_FILES:
        return _OF_FILES[kind](text, reading, split_seed, split, channels)
    reading.check_plain(text)
    if data_in == "files":
        raise UsageError(f"{text} cannot stay in files: only .npy files, folders of images and shards can; leave it out")
    check_channels(channels)
    if kind == "table":  # refused: nobody said which column holds the labels
        return from_table(spec, None)
    name, _, options = text.partition(":")
    if name in other_datasets():
        return of_extension(other_datasets()[name], text, split_seed, split, channels)
    if channels != "auto":
        raise UsageError(f"channels {channels} was asked, but the order of channels in {text} is known; leave it out")
    if name == "synthetic":
        return load_synthetic(parse_synthetic(options), split_seed, split)
    if name == "digits":
        return load_digits(split_seed, split)
    return _OFFICIAL[name](name, data_dir, download, split_seed, split)


def _load_npz(text: str, reading: Reading, split_seed: int, split: Split, channels: str) -> Dataset:
    reading.check_plain(text)
    if reading.data_in == "files":
        raise UsageError(f"{text} cannot stay in a file, since it is compressed; write it as two .npy files")
    return load_npz(text, split_seed, split, channels)


def _load_pair(text: str, reading: Reading, split_seed: int, split: Split, channels: str) -> Dataset:
    reading.check_plain(text)
    return load_pair(text, split_seed, split, channels, reading.data_in)


def _load_folder(text: str, reading: Reading, split_seed: int, split: Split, channels: str) -> Dataset:
    if not is_image_folder(Path(text)):
        reading.check_plain(text)
        return load_folder(Path(text), split_seed, split, channels, reading.data_in)
    if channels != "auto":
        raise UsageError(f"channels {channels} was asked, but {text} holds images in files; leave it out")
    return load_image_folder(Path(text), reading, split_seed, split)


_OF_FILES: dict[str | None, Callable[[str, Reading, int, Split, str], Dataset]] = {
    "npz": _load_npz,
    "npy": _load_pair,
    "folder": _load_folder,
    "shards": load_shards,
}
