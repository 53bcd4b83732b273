"""The contract of a data set: batches that are pure, labels that are whole, a test split that stays shut."""

from __future__ import annotations

import re
from typing import ClassVar

import pytest
import torch

from bpfree.data import Batch, Dataset, TestSplitError
from bpfree.errors import UsageError
from bpfree.numerics.streams import stream_key

__all__ = ["DatasetContract"]

SPLITS = ("train", "validation", "test")


def _same(ours: list[Batch], theirs: list[Batch]) -> bool:
    return len(ours) == len(theirs) and all(
        torch.equal(a.x, b.x) and torch.equal(a.y, b.y) and torch.equal(a.key, b.key) for a, b in zip(ours, theirs, strict=True)
    )


class DatasetContract:
    """Every check of a data set; subclass it and give it a fixture ``data``.

    Augmented data differ between passes: check the set without its augmentation.
    """

    batch_size: ClassVar[int] = 32
    """Of the training batches that are drawn."""

    @pytest.fixture
    def data(self) -> Dataset:
        """The set to check."""
        raise NotImplementedError("give your contract class a fixture `data` that returns the data set")

    def _train(self, data: Dataset, pass_index: int = 0, seed: int = 0) -> list[Batch]:
        size = min(self.batch_size, data.n("train"))
        return list(data.batches("train", size, pass_index=pass_index, seed=seed))

    def test_batches_are_pure_in_their_arguments(self, data: Dataset) -> None:
        """The same call gives the same batches; another pass or seed gives another order."""
        first = self._train(data, 1, 2)
        torch.rand(3)  # moves the generator that a careless set would draw from
        assert _same(first, self._train(data, 1, 2))
        assert not _same(first, self._train(data, 2, 2))
        assert not _same(first, self._train(data, 1, 3))

    def test_a_pass_shows_every_example_once(self, data: Dataset) -> None:
        """Counted by label, and by a sum over the inputs of each example."""
        for split in SPLITS:
            size = min(self.batch_size, data.n("train"))
            shuffled = list(data.batches(split, size, seed=1))
            stored = list(data.batches(split, size, shuffle=False))
            assert sum(len(batch.y) for batch in shuffled) == data.n(split)
            labels = [torch.cat([batch.y for batch in batches]) for batches in (shuffled, stored)]
            assert torch.equal(labels[0].bincount(), labels[1].bincount())
            sums = [torch.cat([b.x.double().flatten(1).sum(1) for b in batches]) for batches in (shuffled, stored)]
            torch.testing.assert_close(sums[0].sort().values, sums[1].sort().values)

    def test_batches_have_shape_and_type(self, data: Dataset) -> None:
        """Floating, finite, of ``in_shape``; labels int64 from 0 to n_classes - 1; keys from (seed, pass, batch)."""
        for split in SPLITS:
            for k, batch in enumerate(data.batches(split, min(self.batch_size, data.n("train")), pass_index=3, seed=5)):
                assert batch.x.shape == (len(batch.y), *data.in_shape)
                assert batch.x.dtype == data.dtype
                assert batch.x.isfinite().all()
                assert batch.y.dtype == torch.int64
                assert 0 <= int(batch.y.min()) <= int(batch.y.max()) < data.n_classes
                assert int(batch.key) == stream_key(5, 3, k)

    def test_other_number_formats(self, data: Dataset) -> None:
        """``to`` gives batches of another floating type with the same contents."""
        wide = next(data.to("cpu", torch.float64).batches("train", 1, seed=1))
        plain = next(data.batches("train", 1, seed=1))
        assert wide.x.dtype == torch.float64
        torch.testing.assert_close(wide.x.to(plain.x.dtype), plain.x, rtol=1e-2, atol=1e-2)

    def test_every_class_is_in_every_split(self, data: Dataset) -> None:
        """A class that is not trained, or not validated, makes the accuracy a riddle."""
        for split in SPLITS:
            seen = torch.cat([batch.y for batch in data.batches(split, data.n("train"), shuffle=False)])
            assert len(seen.unique()) == data.n_classes, f"{split} lacks a class"

    def test_a_batch_is_its_own_memory(self, data: Dataset) -> None:
        """A rule may paint into a batch; the set does not feel it."""
        for shuffle in (True, False):
            for split in SPLITS:
                size = min(self.batch_size, data.n("train"))
                before = [Batch(b.x.clone(), b.y.clone(), b.key.clone()) for b in data.batches(split, size, shuffle=shuffle)]
                for batch in data.batches(split, size, shuffle=shuffle):
                    batch.x.fill_(7.0)
                    batch.y.fill_(0)
                assert _same(before, list(data.batches(split, size, shuffle=shuffle)))

    def test_the_test_split_can_be_shut(self, data: Dataset) -> None:
        """A view :meth:`without_test` has no way to the test examples, and is otherwise the same set."""
        view = data.without_test()
        for ask in (lambda: view.n("test"), lambda: view.batches("test", 1)):
            with pytest.raises(TestSplitError):
                ask()
        assert _same(self._train(view), self._train(data))
        assert view.split_digest == data.split_digest

    def test_batch_sizes_are_checked(self, data: Dataset) -> None:
        """0 and more than there is are refused at the call, not at the first batch."""
        for size in (0, -1, data.n("train") + 1):
            with pytest.raises(UsageError):
                data.batches("train", size)

    def test_it_says_what_it_is(self, data: Dataset) -> None:
        """A name, a line for the report, and a digest that belongs to the contents."""
        assert data.name.strip()
        assert data.note.strip()
        assert re.fullmatch(r"[0-9a-f]{64}", data.split_digest)
        assert data.limited(data.n_classes).split_digest != data.split_digest or data.n("train") == data.n_classes
