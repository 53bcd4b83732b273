"""The user's folder of images, for a suite whose data no loader has by name."""

from __future__ import annotations

from pathlib import Path

from bpfree import data as datasets
from bpfree.bench.suites.sizes import KNOWN
from bpfree.data import Dataset
from bpfree.errors import DataError
from bpfree.rulesets import Split

__all__ = ["images_of"]

PARTS = ("train", "val")


def images_of(name: str, folder: Path | None, split: Split, split_seed: int) -> Dataset:
    """Load the images that stand for a data set of a suite.

    Args:
        name: in the suite, such as ``"imagenet-64"``; its shape and classes are asked of the folder.
        folder: with ``train/`` and ``val/``, each with a folder for each class.

    Raises:
        DataError: no folder was given, it does not hold images of that shape, or it cannot be read.
    """
    shape, n_classes = KNOWN[name].in_shape, KNOWN[name].n_classes
    asked = f"{name} is a folder of images of {shape[1]} x {shape[2]} with {' and '.join(f'{part}/' for part in PARTS)}"
    if folder is None:
        raise DataError(f"{asked}, one folder a class in each; give --dataset DIR, or --dry-run, which needs none")
    for part in PARTS:
        if not any(entry.is_dir() for entry in (folder / part).glob("*")):
            raise DataError(f"{asked}, and {folder / part} holds no folder of a class; give --dataset DIR of such a folder")
    loaded = datasets.load_any(str(folder), split=split, split_seed=split_seed)
    if (loaded.in_shape, loaded.n_classes) != (shape, n_classes):
        raise DataError(
            f"{asked} and {n_classes:,} classes, and {folder} has images of {' x '.join(map(str, loaded.in_shape))} and "
            f"{loaded.n_classes:,} classes; choose rows by --datasets, or give another --dataset DIR"
        )
    return loaded
