"""Splits: disjoint, complete, stratified, the same for the same seed; digests that tell sets apart."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bpfree.data.splits import digest, random_split, stratified_order, stratified_split
from bpfree.errors import DataError, UsageError

class_sizes = st.lists(st.integers(3, 40), min_size=2, max_size=8)


def labels_of(sizes: list[int], seed: int = 0) -> np.ndarray:
    return np.random.RandomState(seed).permutation(np.repeat(np.arange(len(sizes)), sizes))


@given(sizes=class_sizes, seed=st.integers(0, 2**32 - 1))
@settings(deadline=None)
def test_stratified_split_is_a_partition_with_every_class_everywhere(sizes, seed):
    y = labels_of(sizes)
    split = stratified_split(y, (0.15, 0.15), seed, name="t")
    assert list(split) == ["train", "validation", "test"]
    together = np.concatenate(list(split.values()))
    assert sorted(together) == list(range(len(y))), "disjoint and complete"
    for indices in split.values():
        assert set(y[indices]) == set(range(len(sizes)))
        assert (np.diff(indices) > 0).all()
    for label, size in enumerate(sizes):
        n_test = int((y[split["test"]] == label).sum())
        assert n_test == max(1, round(0.15 * size))
    again = stratified_split(y, (0.15, 0.15), seed, name="t")
    assert all(np.array_equal(split[k], again[k]) for k in split)


@pytest.mark.parametrize(("n", "said"), [(1, "1 example"), (2, "2 examples")])
def test_too_few_of_a_class(n, said):
    with pytest.raises(DataError, match=rf"mine: class 2 has {said}, and at least 3 .* leave that class out"):
        stratified_split(labels_of([9, 9, n]), (0.15, 0.15), 0, name="mine")


@pytest.mark.parametrize("seed", [-1, 2**32])
def test_a_seed_that_numpy_does_not_take(seed):
    with pytest.raises(UsageError, match=r"from 0 to 2\*\*32 - 1, got"):
        stratified_split(labels_of([5, 5]), (0.15, 0.15), seed, name="t")


@given(n=st.integers(1, 200), part=st.floats(0, 1), seed=st.integers(0, 1000))
def test_random_split_is_a_partition(n, part, seed):
    n_validation = int(part * n)
    train, validation = random_split(n, n_validation, seed)
    assert len(validation) == n_validation
    assert sorted([*train, *validation]) == list(range(n))


def test_random_split_is_pinned():
    """These numbers must never change: records of other versions hang on them."""
    assert random_split(20, 4, 0)[1].tolist() == [1, 8, 18, 19]
    assert random_split(20, 4, 1)[1].tolist() == [3, 6, 10, 16]


@given(sizes=class_sizes)
def test_stratified_order_keeps_proportions(sizes):
    y = labels_of(sizes)
    order = stratified_order(y)
    assert sorted(order) == list(range(len(y)))
    assert set(y[order[: len(sizes)]]) == set(range(len(sizes))), "one of each class first"
    for n in range(len(sizes), len(y) + 1):
        counts = np.bincount(y[order[:n]], minlength=len(sizes))
        wanted = n * np.array(sizes) / len(y)
        assert np.abs(counts - wanted).max() <= 0.5 * len(sizes) + 1


def test_digest_tells_contents_types_shapes_and_order_apart():
    x = np.arange(6, dtype=np.uint8)
    made = {
        digest(x),
        digest(x[::-1]),
        digest(x.reshape(2, 3)),
        digest(x.astype(np.int8)),
        digest(x, x),
        digest("a", "b"),
        digest("ab"),
        digest(),
        digest(np.empty((0, 2))),
    }
    assert len(made) == 9
    assert all(len(d) == 64 for d in made)


def test_digest_does_not_hang_on_memory_layout_or_byte_order():
    x = np.arange(6, dtype=np.int32).reshape(2, 3)
    assert digest(x) == digest(np.asfortranarray(x)) == digest(x.astype(">i4"))


def test_the_parts_of_a_stratified_split_have_their_sizes():
    """20, 10 and 3 of a class: 15 % are 3, 2 (1.5 rounded to even) and at least 1; the rest trains."""
    y = labels_of([20, 10, 3])
    split = stratified_split(y, (0.15, 0.15), 5, name="t")
    sizes = {name: np.bincount(y[indices]).tolist() for name, indices in split.items()}
    assert sizes == {"train": [14, 6, 1], "validation": [3, 2, 1], "test": [3, 2, 1]}


def test_a_stratified_split_is_pinned():
    """These numbers must never change: records of other versions depend on them."""
    split = stratified_split(np.arange(20) % 2, (0.2, 0.3), 0, name="t")
    assert {name: indices.tolist() for name, indices in split.items()} == {
        "train": [0, 1, 6, 9, 10, 12, 13, 14, 15, 17],
        "validation": [4, 7, 11, 16],
        "test": [2, 3, 5, 8, 18, 19],
    }
