"""Folders of pictures in the layout of ImageNet: ``train/CLASS/*.jpg`` and ``val/CLASS/*.jpg``.

``val/`` is the test set, as for ImageNet, whose own test labels are not public; what validates is drawn from ``train/``. With a
folder ``test/`` beside them ``val/`` validates. A folder of classes alone is divided like arrays.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from bpfree.data.arrays import from_arrays
from bpfree.data.dataset import Dataset
from bpfree.data.pictures import ENDINGS, Pictures, channels_of, need_pillow, picture_shape
from bpfree.data.reading import Reading, with_skipped
from bpfree.data.unpack import Plan, Unpacked, key_of, unpacked
from bpfree.errors import DataError
from bpfree.rulesets import Split
from bpfree.text import readable

__all__ = ["is_image_folder", "load_image_folder"]

IN_A_CHUNK = 256
"""Pictures that a worker decodes at a time."""

LOOKED_AT = 64
"""Classes whose first picture says whether all are grey."""


def is_image_folder(folder: Path) -> bool:
    """Whether a folder holds folders and no .npy file."""
    with os.scandir(folder) as entries:
        inside = list(entries)
    return any(entry.is_dir() for entry in inside) and not any(entry.name.lower().endswith(".npy") for entry in inside)


def load_image_folder(folder: Path, reading: Reading, split_seed: int = 0, split: Split | None = None) -> Dataset:
    """Load a folder of pictures; it is named after the folder.

    Raises:
        UsageError: Pillow is not installed.
        DataError: a class without pictures, a picture that cannot be decoded or has another size, or see :func:`from_arrays`.
        StorageError: the cache has too little space for the decoded pictures.
    """
    need_pillow(f"the folder of images {readable(str(folder))}")
    name = f"{readable(folder.resolve().name)}.images"
    parts = {"train": folder / "train", "val": folder / "val", "test": folder / "test"}
    parts = {part: path for part, path in parts.items() if path.is_dir()}
    if "train" not in parts:
        if parts:
            held = " and ".join(parts)
            raise DataError(f"the folder {readable(str(folder))} has {held} but no train; name the training folder train")
        parts = {"": folder}
    files = {part: _files(path) for part, path in parts.items()}
    first = [paths[0] for paths in next(iter(files.values())).values()]
    channels = channels_of(first[:LOOKED_AT])
    shape = picture_shape(first, channels, reading.image_size)
    made = {part: _unpacked(of_classes, shape, channels, reading) for part, of_classes in files.items()}
    arrays = {}
    for part, unpacked_part in made.items():
        split_name = {"": "", "train": "_train", "val": "_validation" if "test" in made else "_test", "test": "_test"}[part]
        arrays |= {f"x{split_name}": unpacked_part.x, f"y{split_name}": unpacked_part.y}
    data = from_arrays(**arrays, name=name, split_seed=split_seed, split=split, channels="first", data_in=reading.data_in)
    return with_skipped(data, [line for each in made.values() for line in each.skipped])


def _files(folder: Path) -> dict[str, list[Path]]:
    """The pictures of every class, in a fixed order.

    Raises:
        DataError: there are no classes, or one has no pictures.
    """
    classes = sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
    if not classes:
        raise DataError(f"the folder {readable(str(folder))} has no folders of classes; sort the images into one folder a class")
    by_class = {}
    for path in classes:
        pictures = sorted(
            Path(entry.path)
            for entry in os.scandir(path)
            if entry.name.lower().rpartition(".")[2] in ENDINGS and not entry.name.startswith(".")
        )
        if not pictures:
            raise DataError(
                f"the class folder {readable(str(path))} has no .jpg, .jpeg or .png file; put images into it, or remove it"
            )
        by_class[path.name] = pictures
    return by_class


def _unpacked(files: dict[str, list[Path]], shape: tuple[int, ...] | None, channels: int, reading: Reading) -> Unpacked:
    paths = [path for of_class in files.values() for path in of_class]
    size = reading.image_size

    def plan() -> Plan:
        chunks = [Pictures(tuple(paths[start : start + IN_A_CHUNK]), size) for start in range(0, len(paths), IN_A_CHUNK)]
        labels = np.repeat(np.array(list(files)), [len(of_class) for of_class in files.values()])
        return Plan(chunks, shape or (channels, 1, 1), np.dtype(np.uint8).str, labels)

    return unpacked(key_of(paths, "images", shape, channels, size, reading.skip_corrupt), plan, skip=reading.skip_corrupt)
