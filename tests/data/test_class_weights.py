"""Class weights of a data set: what they are, which batches have them, what is refused."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from bpfree.data import Dataset
from bpfree.data.stored import Examples
from bpfree.errors import UsageError
from bpfree.numerics.losses import cross_entropy, softmax_residual
from bpfree.numerics.sparsemax import sparsemax_loss, sparsemax_residual


@pytest.fixture
def data() -> Dataset:
    """Twelve training examples of three classes: 8, 3 and 1 of them."""
    part = Examples(torch.arange(12, dtype=torch.float32)[:, None], torch.tensor([0] * 8 + [1] * 3 + [2]))
    splits = {"train": part, "validation": part, "test": part}
    return Dataset(name="twelve", n_classes=3, in_shape=(1,), split_digest="", note="", splits=splits)


def by_class(data: Dataset) -> dict[int, float]:
    """The weight of each class, read from the batches of a pass; examples of a class must agree."""
    pairs = set()
    for batch in data.batches("train", 5, seed=3):
        assert batch.weight is not None
        assert batch.weight.shape == batch.y.shape
        pairs |= set(zip(batch.y.tolist(), batch.weight.tolist(), strict=True))
    assert len(pairs) == len({label for label, _ in pairs})
    return dict(pairs)


def test_balanced_is_n_over_k_n_c_of_the_training_split(data: Dataset) -> None:
    assert by_class(data.weighted("balanced")) == pytest.approx({0: 12 / 24, 1: 12 / 9, 2: 12 / 3})


def test_balanced_follows_a_smaller_training_split(data: Dataset) -> None:
    fewer = data.weighted("balanced").limited(6)
    y = fewer.splits["train"].y
    expected = {label: 6 / (3 * int((y == label).sum())) for label in range(3)}
    assert by_class(fewer) == pytest.approx(expected)
    assert by_class(data.limited(6).weighted("balanced")) == by_class(fewer)


@pytest.mark.parametrize("given", [[1, 2, 0.5], (1.0, 2.0, 0.5), np.array([1, 2, 0.5]), torch.tensor([1, 2, 0.5])])
def test_numbers_are_given_in_the_order_of_the_labels(data: Dataset, given: object) -> None:
    assert by_class(data.weighted(given)) == {0: 1.0, 1: 2.0, 2: 0.5}  # pyright: ignore[reportArgumentType]  # arrays are taken too


def test_only_training_batches_have_weights(data: Dataset) -> None:
    assert all(batch.weight is None for batch in data.batches("train", 5))
    weighted = data.weighted("balanced")
    assert all(batch.weight is None for split in ("validation", "test") for batch in weighted.batches(split, 5))
    assert all(batch.weight is None for batch in weighted.weighted(None).batches("train", 5))


def test_weights_are_as_wide_as_the_batches_need(data: Dataset) -> None:
    for dtype, expected in ((torch.float64, torch.float64), (torch.float32, torch.float32), (torch.bfloat16, torch.float32)):
        batch = next(data.weighted("balanced").to("cpu", dtype).batches("train", 5))
        assert batch.weight is not None
        assert batch.weight.dtype == expected


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("bald", "class_weight cannot be 'bald'; use 'balanced', or 3 numbers above 0"),
        ({0: 1.0, 1: 2.0, 2: 3.0}, "class_weight cannot be {0: 1.0, 1: 2.0, 2: 3.0}; use 'balanced', or 3 numbers above 0"),
        (2.0, "class_weight cannot be 2.0; use 'balanced', or 3 numbers above 0"),
        ([1, 2], "class_weight has 2 numbers and twelve has 3 classes; use 'balanced', or 3 numbers above 0"),
        ([1, -2, 1], "class_weight of class 1 is -2; use 'balanced', or 3 numbers above 0"),
        ([1, 1, 0], "class_weight of class 2 is 0; use 'balanced', or 3 numbers above 0"),
        ([float("nan"), 1, 1], "class_weight of class 0 is nan; use 'balanced', or 3 numbers above 0"),
        ([1, "2", 1], "class_weight of class 1 is '2'; use 'balanced', or 3 numbers above 0"),
    ],
)
def test_what_is_no_weight_is_refused_in_one_line(data: Dataset, given: object, message: str) -> None:
    with pytest.raises(UsageError) as refused:
        data.weighted(given)  # pyright: ignore[reportArgumentType]
    assert str(refused.value) == message


def scores_of(n: int) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    scores = torch.randn(n, 3, generator=generator, dtype=torch.float64)
    return scores, torch.arange(n) % 3, torch.tensor([0.2, 1.0, 5.0], dtype=torch.float64)


def test_the_weighted_loss_is_that_of_torch_and_its_residual_the_derivative() -> None:
    scores, y, weights = scores_of(7)
    leaf = scores.clone().requires_grad_()
    expected = F.cross_entropy(leaf, y, weight=weights)
    expected.backward()
    torch.testing.assert_close(cross_entropy(scores, y, weights[y]), expected.detach())
    torch.testing.assert_close(softmax_residual(scores, y, weights[y]), leaf.grad)
    narrow = softmax_residual(scores.bfloat16(), y, weights[y].float())
    assert narrow.dtype == torch.bfloat16
    torch.testing.assert_close(narrow.double(), leaf.grad, atol=0.02, rtol=0.02)


def test_the_weighted_sparsemax_residual_is_the_derivative_of_its_loss() -> None:
    scores, y, weights = scores_of(7)
    leaf = scores.clone().requires_grad_()
    each = torch.stack([sparsemax_loss(leaf[k : k + 1], y[k : k + 1]) for k in range(7)])
    expected = (weights[y] * each).sum() / weights[y].sum()
    expected.backward()
    torch.testing.assert_close(sparsemax_loss(scores, y, weights[y]), expected.detach())
    torch.testing.assert_close(sparsemax_residual(scores, y, weights[y]), leaf.grad)
