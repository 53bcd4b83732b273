"""``digits``: 1,797 handwritten digits of 8 x 8 pixels, which come with scikit-learn; seconds to train.

They are the test part of the UCI set *Optical Recognition of Handwritten Digits* (Alpaydin and Kaynak, 1998); pixels are counts
from 0 to 16. Stratified splits, by default 60/20/20, by scikit-learn's ``train_test_split``.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from bpfree.data.dataset import Dataset
from bpfree.data.splits import digest, stratified_shares
from bpfree.data.stored import Examples, Normalisation
from bpfree.rulesets import Split, standard_split

__all__ = ["load_digits"]

_LARGEST = 16.0
"""The largest count of a pixel (4 x 4 binary pixels of the original scan)."""


def load_digits(split_seed: int = 0, split: Split | None = None) -> Dataset:
    """Load ``digits``: in_shape (1, 8, 8), 10 classes, by default 1,077 / 360 / 360 examples.

    Counts are divided by 16 and standardised by one mean and one deviation, those of all pixels of the training split.
    """
    from sklearn import datasets, model_selection  # deferred: it takes a second, and only this set needs it

    bunch: Any = datasets.load_digits()
    x = np.asarray(bunch.images, dtype=np.uint8)[:, None]  # (n, 1, 8, 8)
    y = np.asarray(bunch.target, dtype=np.int64)
    of_validation, of_test = stratified_shares(split or standard_split("digits"), name="digits")
    rest, test = model_selection.train_test_split(np.arange(len(y)), test_size=of_test, stratify=y, random_state=split_seed)
    train, validation = model_selection.train_test_split(
        rest, test_size=of_validation / (1 - of_test), stratify=y[rest], random_state=split_seed
    )
    indices = {"train": np.sort(train), "validation": np.sort(validation), "test": np.sort(test)}
    seen = x[indices["train"]] / _LARGEST
    return Dataset(
        name="digits",
        n_classes=10,
        in_shape=(1, 8, 8),
        split_digest=digest(x, y, *indices.values()),
        note=(
            f"digits is small: {len(train):,} training and {len(test)} test images of 8 x 8 pixels, so one test image is "
            f"{100 / len(test):.2f} points of accuracy. For the next size: bpfree compare --dataset mnist"
        ),
        splits={k: Examples(torch.from_numpy(x[i]), torch.from_numpy(y[i])) for k, i in indices.items()},
        normalisation=Normalisation.of((float(seen.mean()),), (float(seen.std()),), _LARGEST),
    )
