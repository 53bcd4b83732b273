"""The data sets that need no download, held to the contract of a data set."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch

from bpfree.data import Batch, Dataset, from_arrays, load
from bpfree.testing import DatasetContract


def pixels() -> Dataset:
    random = np.random.RandomState(0)
    return from_arrays(random.randint(0, 256, (90, 3, 6, 5)).astype(np.uint8), np.arange(90) % 3, "pixels")


class TestShippedSets(DatasetContract):
    @pytest.fixture(
        params=[
            lambda: load("digits"),
            lambda: load("digits").limited(200),
            lambda: load("synthetic:n=400:inputs=12:classes=3"),
            pixels,
        ],
        ids=["digits", "digits-limited", "synthetic", "pixels"],
    )
    def data(self, request: pytest.FixtureRequest) -> Dataset:
        return request.param()


class _Broken(Dataset):
    def batches(self, split: str, size: int, **options: Any) -> Iterator[Batch]:
        for batch in super().batches(split, size, **options):
            yield self.spoil(batch)

    def spoil(self, batch: Batch) -> Batch:
        return batch


class _Noisy(_Broken):
    def spoil(self, batch: Batch) -> Batch:
        return dataclasses.replace(batch, x=batch.x + torch.randn(()))


class _Doubled(_Broken):
    def batches(self, split: str, size: int, **options: Any) -> Iterator[Batch]:
        for batch in super().batches(split, size, **options):
            yield dataclasses.replace(batch, x=batch.x[:1].expand_as(batch.x).clone())


class _Shared(_Broken):
    def batches(self, split: str, size: int, **options: Any) -> Iterator[Batch]:
        examples = self.splits[split]
        yield Batch(examples.x, examples.y, torch.tensor(0))


class _Open(_Broken):
    def without_test(self) -> Dataset:
        return self


@pytest.mark.parametrize(
    ("broken", "check"),
    [
        (_Noisy, "test_batches_are_pure_in_their_arguments"),
        (_Doubled, "test_a_pass_shows_every_example_once"),
        (_Shared, "test_a_batch_is_its_own_memory"),
        (_Open, "test_the_test_split_can_be_shut"),
        (_Broken, "test_batch_sizes_are_checked"),  # a generator complains at the first batch only
    ],
)
def test_the_contract_finds_a_broken_set(broken: type[Dataset], check: str) -> None:
    good = load("synthetic:n=400:inputs=12:classes=3")
    fields = {field.name: getattr(good, field.name) for field in dataclasses.fields(good)}
    with pytest.raises((AssertionError, pytest.fail.Exception)):
        getattr(TestShippedSets(), check)(broken(**fields))
