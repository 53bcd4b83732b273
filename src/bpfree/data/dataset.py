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
from bpfree.data.batch import Batch
from bpfree.data.class_weights import ClassWeight, as_class_weight, weights_of
from bpfree.data.columns import Columns
from bpfree.data.labels import ClassNames
from bpfree.data.order import batches_ahead, grouped, pass_order
from bpfree.data.splits import digest, stratified_order
from bpfree.data.stored import Examples, Normalisation
from bpfree.errors import DataError, DeviceError, UsageError, unknown_name
from bpfree.numerics.streams import stream_key, stream_keys

__all__ = ["SPLITS", "Dataset", "TestSplitError"]

SPLITS = ("train", "validation", "test")


class TestSplitError(DataError):
    """The test split was requested in a view without it, which is for training and selection."""

    __test__ = False  # not a test class, whatever its name says to pytest


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
        skipped: what was left out of the files as corrupt, one line each.
        part: (rank, world) of a training split that several processes share, see :meth:`shared`.
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
    skipped: tuple[str, ...] = ()
    part: tuple[int, int] = (0, 1)

    def __repr__(self) -> str:
        sizes = ", ".join(f"{split} {self.n(split)}" for split in self.splits)
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
        n, (rank, world) = len(self._labels(split)), self.part
        return n if world == 1 or split != "train" else len(range(rank, n, world))

    def n_batches(self, split: str, size: int) -> int:
        """How many batches of ``size`` examples a pass has, the last one perhaps smaller.

        Raises:
            UnknownNameError, TestSplitError: as :meth:`n`.
        """
        return math.ceil(self.n(split) / size)

    @property
    def fixed_batch_size(self) -> int | None:
        """Examples in a batch where the data decide that; None where the caller of :meth:`batches` does."""
        return None

    @property
    def varies(self) -> bool:
        """Whether the values of a training example may differ from pass to pass, so that no feature of it can be stored."""
        return self.augmentation != "none"

    def stored(self) -> Dataset:
        """The examples that are in memory: here all."""
        return self

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

    def batches(
        self, split: str, size: int, *, pass_index: int = 0, seed: int = 0, shuffle: bool = True, first: int = 0
    ) -> Iterator[Batch]:
        """One pass over a split: every example once, the last batch as small as it comes (perhaps one).

        Pure in its arguments: the same call gives the same batches, in another process too.

        Args:
            split: ``"train"``, ``"validation"`` or ``"test"``.
            size: examples in a batch; no more than the training split has. An evaluation split that is smaller than ``size``
                comes as one batch.
            pass_index: of the pass, from 0; another pass has another order.
            seed: of the run.
            shuffle: false keeps the stored order.
            first: batch to begin with, from 0: those before it are not read.

        Raises:
            UsageError: ``size`` is not from 1 to the size of the training split, or the split is unknown.
            TestSplitError: see :meth:`without_test`.
        """
        n = self.n(split)
        if isinstance(size, bool) or not isinstance(size, int) or size < 1:
            raise UsageError(f"batch size must be a whole number from 1, got {size!r}; 128 is usual")
        if split == "train" and size > n:
            raise UsageError(
                f"batch size {size} is larger than the training split of {self.name}, which has {n} examples; "
                f"choose --batch-size {n} or less"
            )
        return self._iterate(split, size, pass_index, seed, shuffle, first)

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
        self.check_limit(n_train, total)
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

    def check_limit(self, n_train: int, total: int) -> None:
        """Refuse a number of training examples that :meth:`limited` cannot choose from ``total``.

        Raises:
            UsageError: see :meth:`limited`.
        """
        if not self.n_classes <= n_train <= total:
            raise UsageError(
                f"cannot limit {self.name} to {n_train} training examples; choose from {self.n_classes} (one a class) to "
                f"{total} (all)"
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

    def shared(self, rank: int, world: int) -> Dataset:
        """The part of one process of several that train together: every ``world``-th example of each pass's order.

        Together the parts are the training split, without overlap; their sizes differ by one at most. With batches of B / world
        examples, the batches of number k of all parts are the batch of number k of B examples that one process would read. The
        evaluation splits stay whole.

        Raises:
            UsageError: ``rank`` is not from 0 to world - 1, or there are fewer examples than processes.
        """
        if not 0 <= rank < world <= len(self._labels("train")):
            raise UsageError(
                f"rank {rank} of {world} processes cannot share {self.name}, which has {len(self._labels('train'))} training "
                "examples; ranks go from 0, and each needs an example"
            )
        return dataclasses.replace(self, part=(rank, world))

    def _labels(self, split: str) -> Tensor:
        """(n,) of a whole split."""
        return self._examples(split).y

    def _examples(self, split: str) -> Examples:
        if split in self.splits:
            return self.splits[split]
        if split == "test":
            raise TestSplitError(
                f"the test split of {self.name} cannot be read here: it is read once a run, by the measuring step, after "
                "everything is chosen; choose by the split 'validation'"
            )
        raise unknown_name("split", split, SPLITS)

    def _iterate(self, split: str, size: int, pass_index: int, seed: int, shuffle: bool, begin: int) -> Iterator[Batch]:
        labels, n = self._labels(split), self.n(split)
        starts = range(0, n, size)
        part = self.part if split == "train" else (0, 1)
        order = pass_order(len(labels), stream_key(seed, pass_index), part, shuffle=shuffle)
        keys = stream_keys((seed, pass_index), len(starts)).to(self.device)
        work = torch.float64 if self.dtype == torch.float64 else torch.float32
        weights = weights_of(self.class_weight, labels, self.n_classes, work) if split == "train" else None
        weights = None if weights is None else weights.to(self.device)
        ahead = batches_ahead(self.device, size * math.prod(self.in_shape) * work.itemsize)
        drawn = split == "train" and self.augmentation != "none"
        groups = grouped(len(starts), begin, ahead, of_one_size=drawn)
        places = [slice(starts[first], min(starts[last - 1] + size, n)) for first, last in groups]
        for (first, last), (x, y) in zip(groups, self._read(split, order, places), strict=True):
            if drawn:
                x = augment(x, keys[first] if last == first + 1 else keys[first:last], self.augmentation)
            x = self._normalised(x, work)
            # The batches are not views for autograd, which would count writes to one of them as writes to all.
            of_each = zip(torch.unsafe_split(x, size), torch.unsafe_split(y, size), keys[first:last].unbind(), strict=True)
            for of_x, of_y, key in of_each:
                yield Batch(of_x, of_y, key, None if weights is None else weights[of_y])

    def _read(self, split: str, order: Tensor | None, places: Sequence[slice]) -> Iterator[tuple[Tensor, Tensor]]:
        """Copies of stored examples and their labels, on the device: for each of ``places``, those of the order that it names."""
        examples = self._examples(split)
        order = None if order is None else order.to(self.device)
        for place in places:
            if order is None:
                yield examples.x[place].clone(), examples.y[place].clone()
            else:
                chosen = order[place]
                yield examples.x.index_select(0, chosen), examples.y.index_select(0, chosen)

    def _normalised(self, x: Tensor, work: torch.dtype) -> Tensor:
        """Stored values ``x``, a copy, as batches have them; computed in ``work``."""
        x, norm = x.to(work), self.normalisation
        if norm is not None:
            x = x.sub_(norm.shift.to(work)).mul_(norm.factor.to(work))
        return x.to(self.dtype)
