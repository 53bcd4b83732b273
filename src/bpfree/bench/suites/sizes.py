"""Shapes and sizes of the data sets that suites use, so that a dry run needs no data."""

from __future__ import annotations

from dataclasses import dataclass, replace

from bpfree.bench.suites.scale import n_scaled
from bpfree.data import Dataset
from bpfree.rulesets import Ruleset, Split

__all__ = ["FROM_FOLDER", "KNOWN", "Size"]


@dataclass(frozen=True)
class Size:
    """``in_shape`` of one example, and how many there are."""

    in_shape: tuple[int, ...]
    n_classes: int
    n_train: int
    n_validation: int
    n_test: int

    @classmethod
    def of(cls, data: Dataset) -> Size:
        """Of a data set that is loaded."""
        return cls(data.in_shape, data.n_classes, data.n("train"), data.n("validation"), data.n("test"))

    def divided(self, split: Split) -> Size:
        """The same data set, with an official test set, under another split of its training file."""
        n = self.n_train + self.n_validation
        n_validation = split.n_validation(n)
        return replace(self, n_train=n - n_validation, n_validation=n_validation)

    def scaled(self, rules: Ruleset, batch_size: int) -> Size:
        """As :func:`bpfree.bench.suites.scale.scaled_data` makes them."""
        n_train = self.n_train if rules.train_examples is None else min(rules.train_examples, self.n_train)
        if rules.scale == 1.0:
            return Size(self.in_shape, self.n_classes, n_train, self.n_validation, self.n_test)
        return Size(
            self.in_shape,
            self.n_classes,
            n_scaled(n_train, rules.scale, self.n_classes, batch_size),
            n_scaled(self.n_validation, rules.scale, self.n_classes),
            n_scaled(self.n_test, rules.scale, self.n_classes),
        )


KNOWN = {
    "mnist": Size((1, 28, 28), 10, 50_000, 10_000, 10_000),
    "fashion-mnist": Size((1, 28, 28), 10, 54_000, 6_000, 10_000),
    "cifar10": Size((3, 32, 32), 10, 45_000, 5_000, 10_000),
    "cifar100": Size((3, 32, 32), 100, 45_000, 5_000, 10_000),
    "imagenet-64": Size((3, 64, 64), 1000, 1_231_167, 50_000, 50_000),
    "imagenet-224": Size((3, 224, 224), 1000, 1_231_167, 50_000, 50_000),
}
"""Under the standard splits; the loaded data set has the last word, and a test holds the two together.

ImageNet (ILSVRC 2012, Russakovsky et al., arXiv 1409.0575, table 2): 50,000 of its 1,281,167 training images validate, and its
validation images test."""

FROM_FOLDER = ("imagenet-64", "imagenet-224")
"""Data sets that are no names of a loader: the user's folder of images, in this size, is given by ``--dataset DIR``."""
