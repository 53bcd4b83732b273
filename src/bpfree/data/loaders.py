"""Batches that a user's loader gives: a ``DataLoader``, or anything that can be read again and again as pairs (x, y).

The values are taken as they come: nothing is standardised, augmented or shuffled here. One pass over both loaders comes first: it
counts examples and checks shapes and labels. What is random in a loader (the order of a ``DataLoader``, transforms that draw from
torch) is drawn from (seed, pass), so that every rule sees the same batches; a loader with its own ``generator`` draws from that.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from bpfree.data.batch import Batch
from bpfree.data.class_weights import weights_of
from bpfree.data.dataset import Dataset
from bpfree.data.splits import digest
from bpfree.data.stored import Examples
from bpfree.errors import DataError, UsageError
from bpfree.numerics.streams import stream_key

__all__ = ["Loaded", "Loader", "from_loaders", "is_loader"]

Loader = Iterable[Any]
"""Gives pairs (x, y), and the same number of them each time it is read."""

SAMPLE = 500
"""Examples of each split that stay in memory, to look at the trained net by."""

_NO_LOADERS = (str, bytes, Mapping, np.ndarray, Tensor, torch.utils.data.Dataset)
"""What can be read from the front too, but holds examples, names or columns."""


def is_loader(data: object) -> bool:
    """Whether ``data`` is meant as batches: a ``DataLoader``, or an iterable that is no array and no pair of arrays."""
    if isinstance(data, _NO_LOADERS) or hasattr(data, "columns") or not isinstance(data, Iterable):
        return False
    return not isinstance(data, Sequence) or (len(data) > 0 and isinstance(data[0], tuple | list))


@dataclass(frozen=True, eq=False, kw_only=True, repr=False)
class Loaded(Dataset):
    """Loaders as a data set: its splits hold a sample of each, its batches are those of the loaders.

    Attributes:
        loaders: by split.
        sizes: (batches, examples) of each, as they were counted.
        labels: (n,) of the training examples, for class weights.
        largest: examples in the largest training batch.
    """

    loaders: Mapping[str, Loader]
    sizes: Mapping[str, tuple[int, int]]
    labels: Tensor
    largest: int

    @property
    def fixed_batch_size(self) -> int | None:
        """That of the training loader."""
        return self.largest

    @property
    def varies(self) -> bool:
        """A loader may give other values of an example in each pass."""
        return True

    def n(self, split: str) -> int:
        """How many examples a split has."""
        self._examples(split)
        return self.sizes[split][1]

    def n_batches(self, split: str, size: int) -> int:
        """How many batches a pass has."""
        self._examples(split)
        return self.sizes[split][0]

    def stored(self) -> Dataset:
        """The sample, as a data set in memory."""
        fields = {field.name: getattr(self, field.name) for field in dataclasses.fields(Dataset)}
        return Dataset(**fields)

    def limited(self, n_train: int) -> Dataset:
        """Refused.

        Raises:
            UsageError: always.
        """
        raise UsageError(f"{self.name} cannot be limited to {n_train} examples here; give a shorter loader")

    def shared(self, rank: int, world: int) -> Dataset:
        """Refused.

        Raises:
            UsageError: always.
        """
        raise UsageError(f"{self.name} cannot be divided for rank {rank} of {world} here; divide it in the loader")

    def augmented(self, augmentation: str) -> Dataset:
        """Refused, unless it is ``"none"``.

        Raises:
            UsageError: any other augmentation.
        """
        if augmentation != "none":
            raise UsageError(f"the batches of {self.name} are taken as given; augment by {augmentation} in the loader")
        return self

    def batches(
        self, split: str, size: int = 0, *, pass_index: int = 0, seed: int = 0, shuffle: bool = True, first: int = 0
    ) -> Iterator[Batch]:
        """One pass over a loader.

        Args:
            size, shuffle: not read: they are those of the loader.
            first: batch to begin with; those before it are read and left out.
            pass_index, seed: decide what is drawn at random in the loader and in the steps.

        Raises:
            DataError: a batch of another kind or shape, or another number of them than the first time.
        """
        self._examples(split)
        work = torch.float64 if self.dtype == torch.float64 else torch.float32
        weights = weights_of(self.class_weight, self.labels, self.n_classes, work) if split == "train" else None
        weights = None if weights is None else weights.to(self.device)
        n_batches = n_examples = 0
        for k, raw in enumerate(_read(self.loaders[split], stream_key(seed, pass_index))):
            x, y = _pair(raw, self.in_shape, f"batch {k} of the {_NAMES[split]} loader")
            x = x.to(self.device, work, copy=True).to(self.dtype)
            y = y.to(self.device, torch.int64, copy=True)
            n_batches, n_examples = n_batches + 1, n_examples + len(y)
            if k < first:
                continue
            key = torch.tensor(stream_key(seed, pass_index, k)).to(self.device)
            yield Batch(x, y, key, None if weights is None else weights[y])
        if (n_batches, n_examples) != self.sizes[split]:
            raise DataError(
                f"the {_NAMES[split]} loader gave {n_examples} examples in {n_batches} batches, and {self.sizes[split][1]} in "
                f"{self.sizes[split][0]} when they were counted; give one that starts over each time it is read, with as many"
            )


_NAMES = {"train": "training", "validation": "validation"}


def from_loaders(
    train: Loader,
    validation: Loader,
    *,
    in_shape: tuple[int, ...] | None = None,
    n_classes: int | None = None,
    name: str = "loader",
) -> Loaded:
    """A data set of two loaders; each is read once, and what it gives is checked.

    Args:
        train, validation: give pairs (x, y): x (n, \\*in_shape) floating, or whole numbers that are no pixels; y (n,) whole
            numbers from 0 to K - 1.
        in_shape: of one example; by default that of the first batch.
        n_classes: K; by default the largest training label and 1.
        name: for messages.

    Raises:
        UsageError: no loader, or one that can be read only once.
        DataError: an empty loader, batches of another kind or of several shapes, values that are not finite, labels that are no
            whole numbers or out of range.
    """
    splits, sizes, labels, largest = {}, {}, {}, {}
    for split, loader in (("train", train), ("validation", validation)):
        _check_loader(loader, _NAMES[split])
        with _generators_unchanged(loader):
            seen = _Seen(f"the {_NAMES[split]} loader", in_shape, n_classes)
            for raw in _read(loader, stream_key(0, 0)):
                seen.take(raw)
        seen.check()
        in_shape = seen.in_shape
        labels[split] = torch.cat(seen.labels)
        sizes[split], largest[split] = (len(seen.labels), len(labels[split])), max(map(len, seen.labels))
        splits[split] = Examples(*(torch.cat(parts) for parts in zip(*seen.sample, strict=True)))
        if n_classes is None:
            n_classes = int(labels[split].max()) + 1
    assert in_shape is not None and n_classes is not None
    counts = [np.bincount(labels[split].numpy(), minlength=n_classes) for split in splits]
    return Loaded(
        name=name,
        n_classes=n_classes,
        in_shape=in_shape,
        split_digest=digest(name, repr(in_shape), *counts),
        note=f"{name}: batches as two loaders give them, {sizes['train'][1]:,} examples for training.",
        splits=splits,
        loaders={"train": train, "validation": validation},
        sizes=sizes,
        labels=labels["train"],
        largest=largest["train"],
    )


def _check_loader(loader: object, what: str) -> None:
    if isinstance(loader, Iterator):
        raise UsageError(
            f"the {what} loader is a {type(loader).__name__}, which can be read only once; give a DataLoader, a list of batches, "
            "or an object whose __iter__ starts over"
        )
    if not is_loader(loader):
        raise UsageError(
            f"the {what} loader must give batches (x, y), got a {type(loader).__name__}; use torch.utils.data.DataLoader("
            "dataset, batch_size=64)"
        )


class _Seen:
    """What a loader gave in its first pass."""

    def __init__(self, what: str, in_shape: tuple[int, ...] | None, n_classes: int | None) -> None:
        self.what, self.in_shape, self.n_classes = what, in_shape, n_classes
        self.labels: list[Tensor] = []
        self.sample: list[tuple[Tensor, Tensor]] = []
        self._n = 0

    def take(self, raw: object) -> None:
        """One batch."""
        where = f"batch {len(self.labels)} of {self.what}"
        x, y = _pair(raw, self.in_shape, where)
        self.in_shape = tuple(x.shape[1:])
        if not bool(x.isfinite().all()):
            raise DataError(f"{where} has NaN or infinite values; leave those examples out, or fill them in")
        least, most = int(y.min()), int(y.max())
        if least < 0 or (self.n_classes is not None and most >= self.n_classes):
            classes = "0 to K - 1" if self.n_classes is None else f"0 to {self.n_classes - 1}, as the net has {self.n_classes}"
            raise DataError(f"{where} has the label {least if least < 0 else most}, but labels go from {classes}; renumber them")
        self.labels.append(y.to("cpu", torch.int64, copy=True))
        if self._n < SAMPLE or len(y) > self._n:
            wide = torch.float64 if x.dtype == torch.float64 else torch.float32
            self.sample.append((x.to("cpu", wide, copy=True), self.labels[-1]))
            self._n += len(y)

    def check(self) -> None:
        """At the end."""
        if not self.labels:
            raise DataError(
                f"{self.what} gives no batches; give one with examples (drop_last leaves out a batch that is not full)"
            )


def _pair(raw: object, in_shape: tuple[int, ...] | None, where: str) -> tuple[Tensor, Tensor]:
    """A batch as two tensors, without a look at their values."""
    if not isinstance(raw, tuple | list) or len(raw) != 2:
        got = f"{len(raw)} parts" if isinstance(raw, tuple | list) else f"a {type(raw).__name__}"
        raise DataError(f"{where} is {got}, not a pair (x, y); let the loader give examples and labels")
    try:
        x, y = (torch.as_tensor(part) for part in raw)
    except (TypeError, ValueError, RuntimeError) as error:
        kinds = " and ".join(type(part).__name__ for part in raw)
        raise DataError(
            f"{where} holds {kinds}, which are no tensors or arrays of numbers; convert them in the loader"
        ) from error
    if x.dtype == torch.uint8 or x.is_complex():
        kind = str(x.dtype).removeprefix("torch.")
        raise DataError(f"{where} has examples of {kind}, and they are taken as given; scale them in the loader: x.float() / 255")
    if y.is_floating_point() or y.is_complex() or y.dtype == torch.bool:
        kind = str(y.dtype).removeprefix("torch.")
        raise DataError(f"{where} has labels of {kind}; give class numbers as integers: y.long() if they are whole numbers")
    if y.dim() != 1 or x.dim() < 2 or len(x) != len(y) or len(y) == 0:
        cure = "y.argmax(1) if it is one-hot" if y.dim() == 2 and y.shape[1] > 1 else "one label for each example"
        raise DataError(f"{where} has x of shape {tuple(x.shape)} and y of shape {tuple(y.shape)}; give {cure}")
    if in_shape is not None and tuple(x.shape[1:]) != tuple(in_shape):
        raise DataError(
            f"{where} has examples of shape {tuple(x.shape[1:])}, where the net or the batches before have {tuple(in_shape)}; "
            "give one shape (pad or resize in the loader)"
        )
    return x, y


def _read(loader: Loader, seed: int) -> Iterator[Any]:
    """The batches of a loader, which draws from torch's generator as if it had one of its own, seeded for the pass."""
    stream = _Stream(seed)
    with stream.active():
        batches = iter(loader)
    while True:
        with stream.active():
            try:
                batch = next(batches)
            except StopIteration:
                return
        yield batch


class _Stream:
    """A state of torch's generator that is put in its place for a while."""

    def __init__(self, seed: int) -> None:
        self._state = torch.Generator().manual_seed(seed).get_state()

    @contextmanager
    def active(self) -> Iterator[None]:
        outside = torch.get_rng_state()
        torch.set_rng_state(self._state)
        try:
            yield
        finally:
            self._state = torch.get_rng_state()
            torch.set_rng_state(outside)


@contextmanager
def _generators_unchanged(loader: object) -> Iterator[None]:
    """The loader's own generators afterwards as they were: counting does not change what training sees."""
    parts = [loader, loader.sampler, loader.batch_sampler] if isinstance(loader, DataLoader) else [loader]
    generators = [each for part in parts if isinstance(each := getattr(part, "generator", None), torch.Generator)]
    states = [generator.get_state() for generator in generators]
    try:
        yield
    finally:
        for generator, state in zip(generators, states, strict=True):
            generator.set_state(state)
