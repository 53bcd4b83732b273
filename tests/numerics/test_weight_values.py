"""Weights of examples, by hand: an example of weight 2 counts as two examples, and only the ratios matter."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from bpfree.numerics.goodness import length_normalise, logistic, logistic_loss, logistic_residual, pair_loss, pair_residual
from bpfree.numerics.local import affine_gradients
from bpfree.numerics.losses import cross_entropy, loss_and_residual, softmax_residual, weighted_mean, weighted_rows
from bpfree.numerics.similarity import EPS, label_similarity, similarity_loss_and_gradient
from bpfree.numerics.sparsemax import sparsemax_loss, sparsemax_residual

F64 = torch.float64
WEIGHT = torch.tensor([1.0, 2.0, 6.0], dtype=F64)


def test_means_and_rows() -> None:
    """The mean of 1, 2 and 6 is 3, their median 2."""
    assert float(weighted_mean(torch.tensor([10.0, 20.0, 30.0]), WEIGHT)) == pytest.approx((10 + 40 + 180) / 9)
    assert float(weighted_mean(torch.tensor([1.0, 2.0, 6.0]), None)) == 3.0
    for shape in ((3,), (3, 2), (3, 2, 2)):
        rows = torch.full(shape, 9.0)
        assert weighted_rows(rows, None) is rows
        weighted = weighted_rows(rows, WEIGHT)
        assert (weighted.shape, weighted.dtype) == (shape, torch.float32)
        assert [float(row.max()) for row in weighted] == [float(row.min()) for row in weighted] == [3.0, 6.0, 18.0]
    assert weighted_rows(torch.ones(3, 2, dtype=torch.bfloat16), WEIGHT).dtype == torch.bfloat16


SCORES = torch.tensor([[1.0, 0.0, -1.0], [0.5, 2.0, 0.0], [0.0, 0.0, 1.0]], dtype=F64)
LABELS = torch.tensor([0, 2, 1])
REPEATED = [0, 1, 1, *[2] * 6]
"""Each example as often as its weight says."""


@pytest.mark.parametrize(
    ("loss", "residual"), [(cross_entropy, softmax_residual), (sparsemax_loss, sparsemax_residual)], ids=["softmax", "sparsemax"]
)
@pytest.mark.parametrize("scale", [1.0, 7.0])
def test_a_weight_is_a_number_of_repetitions(loss: Any, residual: Any, scale: float) -> None:
    many, labels = SCORES[REPEATED], LABELS[REPEATED]
    assert float(loss(SCORES, LABELS, scale * WEIGHT)) == pytest.approx(float(loss(many, labels)))
    summed = torch.zeros_like(SCORES).index_add_(0, torch.tensor(REPEATED), residual(many, labels))
    torch.testing.assert_close(residual(SCORES, LABELS, scale * WEIGHT), summed)
    if loss is cross_entropy:
        both = loss_and_residual(SCORES, LABELS, scale * WEIGHT)
        assert float(both[0]) == pytest.approx(float(loss(many, labels)))
        torch.testing.assert_close(both[1], summed)


def test_a_label_of_more_than_a_hundred_counts_and_the_one_that_torch_passes_over_does_not() -> None:
    scores = torch.arange(2 * 102, dtype=F64).reshape(2, 102).cos()
    for labels in (torch.tensor([100, 99]), torch.tensor([101, 98])):
        loss, residual = loss_and_residual(scores, labels)
        expected = sum(math.log(float(row.exp().sum())) - float(row[k]) for row, k in zip(scores, labels, strict=True)) / 2
        assert float(loss) == pytest.approx(expected)
        torch.testing.assert_close(residual, softmax_residual(scores, labels))
    ignored = torch.tensor([3, -100])
    assert float(loss_and_residual(scores, ignored)[0]) == pytest.approx(float(cross_entropy(scores[:1], ignored[:1])))


def test_weighted_rows_of_goodness_and_of_pairs() -> None:
    """Two pairs of weights 1 and 3: rows 0 and 2, and rows 1 and 3."""
    g = torch.tensor([1.0, 2.0, 0.5, 3.0], dtype=F64)
    w = torch.tensor([1.0, 3.0, 1.0, 3.0], dtype=F64)
    many = [0, 1, 1, 1, 2, 3, 3, 3]
    loss, residual = logistic(g, 1.5, 2.0, w)
    assert float(loss) == pytest.approx(float(logistic_loss(g[many], 1.5, 2.0)))
    summed = torch.zeros(4, dtype=F64).index_add_(0, torch.tensor(many), logistic_residual(g[many], 1.5, 2.0))
    torch.testing.assert_close(residual, summed)
    assert float(logistic(g, 1.5)[0]) == float(logistic_loss(g, 1.5, 1.0))
    assert float(pair_loss(g, 0.5, w[:2])) == pytest.approx(float(pair_loss(g[many], 0.5)))
    summed = torch.zeros(4, dtype=F64).index_add_(0, torch.tensor(many), pair_residual(g[many], 0.5))
    torch.testing.assert_close(pair_residual(g, 0.5, w[:2]), summed)


def test_pairs_of_examples_count_by_the_product_of_their_weights() -> None:
    x = torch.randn(3, 5, dtype=F64, generator=torch.Generator().manual_seed(0))
    target = label_similarity(LABELS, 3, F64)
    loss, gradient = similarity_loss_and_gradient(x, target, 5 * WEIGHT)
    many, summed = similarity_loss_and_gradient(x[REPEATED], target[REPEATED][:, REPEATED])
    assert float(loss) == pytest.approx(float(many))
    torch.testing.assert_close(gradient, torch.zeros_like(x).index_add_(0, torch.tensor(REPEATED), summed))


def test_similarity_of_rows_that_are_as_short_as_what_is_added_to_their_length() -> None:
    """The loss of U = (x - mean) / (length + 1e-8), by autograd; one row is 1e-8 long, one 0.3."""
    rows = torch.tensor([[1.0, -1.0, 2.0], [1e-8, 0.0, 0.0], [0.1, 0.3, 0.4]], dtype=F64)
    target = label_similarity(LABELS, 3, F64)

    def loss_of(x: Tensor) -> Tensor:
        centred = x - x.mean(1, keepdim=True)
        u = centred / (centred.norm(dim=1, keepdim=True) + 1e-8)
        return (u @ u.t() - target).square().sum() / 9

    leaf = rows.clone().requires_grad_()
    (expected,) = torch.autograd.grad(loss_of(leaf), leaf)
    loss, gradient = similarity_loss_and_gradient(rows, target)
    assert EPS == 1e-8
    assert float(loss) == pytest.approx(float(loss_of(rows)), rel=1e-12)
    torch.testing.assert_close(gradient, expected, rtol=1e-9, atol=0)


def test_lengths_can_be_differentiated() -> None:
    x = torch.tensor([[3.0, 4.0], [1.0, -1.0]], dtype=F64, requires_grad=True)
    (slope,) = torch.autograd.grad(length_normalise(x)[0, 0], x)
    rms = math.sqrt(12.5)
    assert slope.tolist() == [pytest.approx([1 / rms - 3 * 3 / (2 * rms**3), -3 * 4 / (2 * rms**3)], rel=1e-6), [0.0, 0.0]]


def test_gradients_are_added_to_those_of_other_rows() -> None:
    x, dz = torch.tensor([[1.0, 2.0]], dtype=F64), torch.tensor([[1.0, 10.0, 3.0]], dtype=F64)
    weight, into = torch.ones(3, 2, dtype=F64), [torch.full((3, 2), 100.0, dtype=F64), torch.full((3,), 7.0, dtype=F64)]
    gradients, by_input = affine_gradients(x, dz, weight, bias=True, need_input=False, into=into)
    assert by_input is None
    assert all(one is other for one, other in zip(gradients, into, strict=True))
    assert into[0].tolist() == [[101.0, 102.0], [110.0, 120.0], [103.0, 106.0]]
    assert into[1].tolist() == [8.0, 17.0, 10.0]
