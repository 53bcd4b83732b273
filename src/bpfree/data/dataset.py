"""What every data set is once it is loaded: three splits of tensors, and batches pure in their arguments.

The examples are stored on the device as they came (uint8 pixels, float32 features) and are normalised and augmented there, batch
by batch: a set of 60,000 images takes 47 MB, and no data loader is needed. Every arm sees the same batches in the same order: the
order is drawn from (seed, pass), whatever is random inside a step from (seed, pass, batch).
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bpfree.data.augment import augment, check_augmentation
from bpfree.data.class_weights import ClassWeight, as_class_weight, weights_of
from bpfree.data.columns import Columns
from bpfree.data.labels import ClassNames
from bpfree.data.splits import digest, stratified_order
from bpfree.errors import DataError, DeviceError, UsageError, unknown_name
from bpfree.numerics.streams import stream_key

__all__ = ["SPLITS", "Batch", "Dataset", "Examples", "Normalisation", "TestSplitError"]

SPLITS = ("train", "validation", "test")


AHEAD_BYTES = 16 * 2**20
"""Of the batches that are made at once on a GPU."""


class TestSplitError(DataError):
    """The test split was requested in a view without it, which is for training and selection."""

    __test__ = False  # not a test class, whatever its name says to pytest


@dataclass(frozen=True, eq=False)
class Batch:
    """Some examples, ready for a step.

    Attributes:
        x: (n, \\*in_shape), floating, normalised; its memory is not shared, so an algorithm may write into it.
        y: (n,) int64, labels from 0 to n_classes - 1.
        key: 0-D int64 on the device, ``stream_key(seed, pass_index, batch_index)``: what is random inside a step is drawn from it
            by :mod:`bpfree.numerics.streams`.
        weight: (n,) floating, above 0: how many times each example counts in the losses, of which only the ratios matter; None:
            each counts once. Training batches of :meth:`Dataset.weighted` have it.
    """

    x: Tensor
    y: Tensor
    key: Tensor
    weight: Tensor | None = None


@dataclass(frozen=True, eq=False)
class Examples:
    """One split as it is stored: ``x`` (n, \\*in_shape) uint8 or float32, ``y`` (n,) int64."""

    x: Tensor
    y: Tensor


@dataclass(frozen=True, eq=False)
class Normalisation:
    """``(x - shift) * factor``: float64, in units of what is stored, broadcastable against a batch of it."""

    shift: Tensor
    factor: Tensor

    @classmethod
    def of(cls, mean: tuple[float, ...], std: tuple[float, ...], largest: float) -> Normalisation:
        """Of published constants: per channel, for values divided by ``largest`` (255 for pixels)."""
        shape = (len(mean), 1, 1)
        shift = torch.tensor(mean, dtype=torch.float64).reshape(shape) * largest
        return cls(shift, 1.0 / (torch.tensor(std, dtype=torch.float64).reshape(shape) * largest))


@dataclass(frozen=True, eq=False, kw_only=True, repr=False)
class Dataset:
    """A data set in three splits, on one device.

    Attributes:
        name: for records, such as ``"mnist"`` or ``"mnist[10000]"``.
        n_classes: labels in batches are 0 to n_classes - 1.
        in_shape: of one example: (channels, height, width), or (features,) for a table.
        split_digest: sha256 of contents and split, in hexadecimal; it is in every record, beside :attr:`data_digest`.
        note: one line for the report.
        splits: what is stored, by name; a view :meth:`without_test` has no ``"test"``.
        normalisation: applied to each batch, or None where the stored values are normalised already.
        prepared: the normalisation of the stored values, to apply to new examples; None where nothing was done to them.
        dtype: floating, of the batches.
        augmentation: of the training batches, ``"none"`` or ``"crop-flip"``.
        classes: labels as the user has them, in the order of their numbers; None where they are 0 to n_classes - 1.
        columns: how rows of a table become examples; None where the data were no table.
        class_weight: of the training batches: ``"balanced"``, a number for each class, or None, see :meth:`weighted`.
    """

    name: str
    n_classes: int
    in_shape: tuple[int, ...]
    split_digest: str
    note: str
    splits: Mapping[str, Examples]
    normalisation: Normalisation | None = None
    prepared: Normalisation | None = None
    dtype: torch.dtype = torch.float32
    augmentation: str = "none"
    class_weight: ClassWeight = None
    classes: ClassNames | None = None
    columns: Columns | None = None

    def __repr__(self) -> str:
        sizes = ", ".join(f"{split} {len(examples.y)}" for split, examples in self.splits.items())
        return f"Dataset({self.name}: {sizes}; {self.in_shape}, {self.n_classes} classes, on {self.device})"

    @property
    def device(self) -> torch.device:
        """Where the examples and the batches are."""
        return self.splits["train"].x.device

    @property
    def data_digest(self) -> str:
        """sha256 of what a run reads, in hexadecimal: contents, split, and how the values are normalised."""
        parts: list[str | NDArray[np.generic]] = [self.split_digest]
        for name, norm in (("normalisation", self.normalisation), ("prepared", self.prepared)):
            parts.append(name)
            if norm is not None:
                parts += [norm.shift.cpu().numpy(), norm.factor.cpu().numpy()]
        return digest(*parts)

    def n(self, split: str) -> int:
        """How many examples a split has.

        Raises:
            UnknownNameError: the split is not one of ``train``, ``validation``, ``test``.
            TestSplitError: see :meth:`without_test`.
        """
        return len(self._examples(split).y)

    def to(self, device: torch.device | str, dtype: torch.dtype = torch.float32) -> Dataset:
        """The same data on another device, giving batches of another floating type.

        Raises:
            DeviceError: there is no such device.
            UsageError: ``dtype`` is not floating.
        """
        if not dtype.is_floating_point:
            raise UsageError(f"batches are floating, got dtype {dtype}; choose float32, float64 or bfloat16")
        try:
            device = torch.empty(0, device=device).device  # "cuda" becomes "cuda:0"
        except (RuntimeError, AssertionError) as error:
            reason = str(error).splitlines()[0].rstrip(".")
            raise DeviceError(f"cannot use device {str(device)!r} ({reason}); choose --device cpu") from error
        norm = self.normalisation
        return dataclasses.replace(
            self,
            splits={k: Examples(e.x.to(device), e.y.to(device)) for k, e in self.splits.items()},
            normalisation=norm and Normalisation(norm.shift.to(device), norm.factor.to(device)),
            dtype=dtype,
        )

    def batches(self, split: str, size: int, *, pass_index: int = 0, seed: int = 0, shuffle: bool = True) -> Iterator[Batch]:
        """One pass over a split: every example once, the last batch as small as it comes (perhaps one).

        Pure in its arguments: the same call gives the same batches, in another process too.

        Args:
            split: ``"train"``, ``"validation"`` or ``"test"``.
            size: examples in a batch; no more than the training split has. An evaluation split that is smaller than ``size``
                comes as one batch.
            pass_index: of the pass, from 0; another pass has another order.
            seed: of the run.
            shuffle: false keeps the stored order.

        Raises:
            UsageError: ``size`` is not from 1 to the size of the training split, or the split is unknown.
            TestSplitError: see :meth:`without_test`.
        """
        examples = self._examples(split)
        if isinstance(size, bool) or not isinstance(size, int) or size < 1:
            raise UsageError(f"batch size must be a whole number from 1, got {size!r}; 128 is usual")
        if split == "train" and size > len(examples.y):
            raise UsageError(
                f"batch size {size} is larger than the training split of {self.name}, which has {len(examples.y)} examples; "
                f"choose --batch-size {len(examples.y)} or less"
            )
        return self._iterate(examples, split, size, pass_index, seed, shuffle)

    def without_test(self) -> Dataset:
        """A view without the test split, for the search and for training.

        The test examples are not in it at all; :meth:`n` and :meth:`batches` of ``"test"`` raise :class:`TestSplitError`. The
        measuring step alone holds the whole data set.
        """
        return dataclasses.replace(self, splits={k: e for k, e in self.splits.items() if k != "test"})

    def limited(self, n_train: int) -> Dataset:
        """The same data with fewer training examples, for ``--scale``; validation and test stay whole.

        They are the first ``n_train`` of one fixed stratified order, so a smaller set lies within a larger one.

        Raises:
            UsageError: ``n_train`` is below the number of classes or above the size of the training split.
        """
        train = self.splits["train"]
        total = len(train.y)
        if not self.n_classes <= n_train <= total:
            raise UsageError(
                f"cannot limit {self.name} to {n_train} training examples; choose from {self.n_classes} (one a class) to "
                f"{total} (all)"
            )
        if n_train == total:
            return self
        order = torch.from_numpy(stratified_order(train.y.cpu().numpy())[:n_train]).to(self.device)
        part = Examples(train.x.index_select(0, order), train.y.index_select(0, order))
        return dataclasses.replace(
            self,
            name=f"{self.name}[{n_train}]",
            splits={**self.splits, "train": part},
            split_digest=digest(self.split_digest, f"train[:{n_train}]"),
            note=f"{self.note} Limited to {n_train:,} of {total:,} training examples.",
        )

    def augmented(self, augmentation: str) -> Dataset:
        """The same data with its training batches augmented on the device; see :mod:`bpfree.data.augment`.

        The draw is keyed by (seed, pass, batch), so it is the same for every arm.

        Raises:
            UsageError: the augmentation is unknown, or the examples are not images.
        """
        check_augmentation(augmentation, self.in_shape, self.name)
        return dataclasses.replace(self, augmentation=augmentation)

    def weighted(self, class_weight: str | Sequence[float] | None) -> Dataset:
        """The same data, of which a training example of class c counts w_c times in the losses of every rule.

        The loss of a batch is Σ w_y l / Σ w_y over its examples, as in ``torch.nn.functional.cross_entropy(weight=)``.

        Args:
            class_weight: ``"balanced"`` for w_c = n / (K n_c), as scikit-learn's, of the training split as it is when batches
                are drawn; or w_c for each of the K classes, in the order of the labels, of which only the ratios matter; or
                None to leave weights out.

        Raises:
            UsageError: another word, another number of classes, or a weight that is not a finite number above 0.
        """
        return dataclasses.replace(self, class_weight=as_class_weight(class_weight, self.n_classes, self.name))

    def _examples(self, split: str) -> Examples:
        if split in self.splits:
            return self.splits[split]
        if split == "test":
            raise TestSplitError(
                f"the test split of {self.name} cannot be read here: it is read once a run, by the measuring step, after "
                "everything is chosen; choose by the split 'validation'"
            )
        raise unknown_name("split", split, SPLITS)

    def _iterate(self, examples: Examples, split: str, size: int, pass_index: int, seed: int, shuffle: bool) -> Iterator[Batch]:
        n = len(examples.y)
        starts = range(0, n, size)
        order = None
        if shuffle:
            # Drawn on the CPU, whose generator gives the same order on every machine, and moved once a pass.
            generator = torch.Generator().manual_seed(stream_key(seed, pass_index))
            order = torch.randperm(n, generator=generator).to(self.device)
        keys = torch.tensor([stream_key(seed, pass_index, k) for k in range(len(starts))]).to(self.device)
        work = torch.float64 if self.dtype == torch.float64 else torch.float32
        weights = weights_of(self.class_weight, examples.y, self.n_classes, work) if split == "train" else None
        n_ahead = _batches_ahead(self.device, size * math.prod(self.in_shape) * work.itemsize)
        first = 0
        while first < len(starts):
            last = first + n_ahead  # of one size: what is drawn for an example depends on its place in its batch
            if last >= len(starts):
                last = len(starts) - 1 if first < len(starts) - 1 else len(starts)
            start, stop = starts[first], min(starts[last - 1] + size, n)
            if order is None:
                x, y = examples.x[start:stop].clone(), examples.y[start:stop].clone()
            else:
                chosen = order[start:stop]
                x, y = examples.x.index_select(0, chosen), examples.y.index_select(0, chosen)
            if split == "train":
                x = augment(x, keys[first] if last == first + 1 else keys[first:last], self.augmentation)
            x = self._normalised(x, work)
            of_each = zip(x.split(size), y.split(size), keys[first:last].unbind(), strict=True)
            for of_x, of_y, key in of_each:
                yield Batch(of_x, of_y, key, None if weights is None else weights[of_y])
            first = last

    def _normalised(self, x: Tensor, work: torch.dtype) -> Tensor:
        """Stored values ``x``, a copy, as batches have them; computed in ``work``."""
        x, norm = x.to(work), self.normalisation
        if norm is not None:
            x = x.sub_(norm.shift.to(work)).mul_(norm.factor.to(work))
        return x.to(self.dtype)


def _batches_ahead(device: torch.device, batch_bytes: int) -> int:
    """Batches that are made at once: on a GPU, where a batch is some twenty small kernels that the host must launch, as many as
    fill :data:`AHEAD_BYTES`; elsewhere one, which stays in the cache."""
    return 1 if device.type == "cpu" else max(1, AHEAD_BYTES // batch_bytes)
