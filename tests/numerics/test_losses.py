"""Cross-entropy and its residual."""

from __future__ import annotations

import math

import pytest
import torch
from differences import central_differences, numbers

from bpfree.numerics.losses import at_least_float32, cross_entropy, loss_and_residual, one_hot, softmax_residual


def test_residual_is_the_derivative_of_the_mean_loss() -> None:
    scores, y = numbers(7, 4), torch.tensor([0, 1, 2, 3, 3, 0, 2])
    expected = central_differences(lambda s: cross_entropy(s, y), scores)
    torch.testing.assert_close(softmax_residual(scores, y), expected, atol=1e-9, rtol=0)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
@pytest.mark.parametrize("weighted", [False, True])
def test_loss_and_residual_of_the_same_scores(dtype: torch.dtype, weighted: bool) -> None:
    scores, y = numbers(7, 4).to(dtype), torch.tensor([0, 1, 2, 3, 3, 0, 2])
    weight = torch.linspace(0.5, 2, 7) if weighted else None
    loss, residual = loss_and_residual(scores.t().contiguous().t(), y, weight)  # as class_scores gives them
    assert loss == cross_entropy(scores, y, weight)
    assert residual.dtype == dtype
    torch.testing.assert_close(residual, softmax_residual(scores, y, weight))


@pytest.mark.parametrize("n_classes", [2, 10, 32, 33])
def test_scores_that_lie_class_after_class_give_such_a_residual(n_classes: int) -> None:
    """As `class_scores` gives them, of few classes: the softmax is taken down the classes, and the loss stays the same."""
    y = torch.arange(40) % n_classes
    rows = numbers(40, n_classes)
    rows[:, 0] += 30  # far from equal, so that every class counts
    loss, residual = loss_and_residual(rows.t().contiguous().t(), y)
    assert residual.stride() == ((1, 40) if n_classes <= 32 else (n_classes, 1))
    by_rows = loss_and_residual(rows, y)
    assert by_rows[1].stride() == (n_classes, 1)
    torch.testing.assert_close((loss, residual), by_rows, atol=1e-12, rtol=1e-12)
    leaf = rows.clone().requires_grad_()
    torch.nn.functional.cross_entropy(leaf, y).backward()
    torch.testing.assert_close(residual, leaf.grad, atol=1e-15, rtol=1e-12)


def test_residual_rows_sum_to_zero_and_the_label_is_pulled_up() -> None:
    y = torch.tensor([2, 0, 1])
    residual = softmax_residual(numbers(3, 3), y)
    torch.testing.assert_close(residual.sum(1), torch.zeros(3, dtype=torch.float64), atol=1e-15, rtol=0)
    assert (residual.gather(1, y.unsqueeze(1)) < 0).all()


def test_the_mean_is_over_the_rows_that_are_there() -> None:
    scores, y = numbers(5, 3), torch.tensor([0, 1, 2, 0, 1])
    whole = softmax_residual(scores, y)
    torch.testing.assert_close(whole[:2] * 5 / 2, softmax_residual(scores[:2], y[:2]))
    by_hand = torch.stack([cross_entropy(scores[k : k + 1], y[k : k + 1]) for k in range(5)]).mean()
    torch.testing.assert_close(cross_entropy(scores, y), by_hand)


def test_equal_scores_cost_the_logarithm_of_the_classes() -> None:
    assert float(cross_entropy(torch.zeros(4, 10), torch.arange(4))) == pytest.approx(math.log(10))


@pytest.mark.parametrize("size", [1e4, -1e4])
def test_huge_scores_neither_overflow_nor_vanish(size: float) -> None:
    scores = torch.tensor([[size, 0.0, 0.0]])
    assert cross_entropy(scores, torch.tensor([0])).isfinite()
    assert softmax_residual(scores, torch.tensor([0])).isfinite().all()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32, torch.float64])
def test_number_formats(dtype: torch.dtype) -> None:
    """The loss is at least float32; the residual comes back in the format of the scores, summed in float32."""
    scores = numbers(6, 4).to(dtype)
    y = torch.tensor([0, 1, 2, 3, 0, 1])
    assert cross_entropy(scores, y).dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
    residual = softmax_residual(scores, y)
    assert residual.dtype == dtype
    torch.testing.assert_close(residual.double(), softmax_residual(scores.double(), y), atol=2e-3, rtol=2e-2)
    assert at_least_float32(scores).dtype == (dtype if dtype.itemsize >= 4 else torch.float32)


def test_one_hot() -> None:
    assert one_hot(torch.tensor([2, 0]), 3, torch.float32).tolist() == [[0, 0, 1], [1, 0, 0]]
