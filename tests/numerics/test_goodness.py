"""Goodness, its logistic loss, length normalisation."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from differences import central_differences, numbers
from torch.utils._python_dispatch import TorchDispatchMode

from bpfree import nets
from bpfree.algorithms.forward_forward.passes import class_goodness
from bpfree.numerics.goodness import (
    goodness,
    goodness_gradient,
    length_normalise,
    logistic_loss,
    logistic_residual,
    pair_loss,
    pair_residual,
    row_squares,
)
from bpfree.numerics.layout import by_pixels

KINDS = ("sum", "mean")


def test_goodness_by_hand() -> None:
    h = torch.tensor([[1.0, -2.0], [0.0, 3.0]])
    assert goodness(h).tolist() == [5.0, 9.0]
    assert goodness(h, "mean").tolist() == [2.5, 4.5]


def test_residual_is_the_derivative_of_the_mean_loss() -> None:
    g = numbers(8)
    expected = central_differences(lambda each: logistic_loss(each, 0.3), g)
    torch.testing.assert_close(logistic_residual(g, 0.3), expected, atol=1e-9, rtol=0)


@pytest.mark.parametrize("kind", KINDS)
def test_gradient_is_the_derivative_by_the_features(kind) -> None:
    h = numbers(6, 5)

    def loss(each: torch.Tensor) -> torch.Tensor:
        return logistic_loss(goodness(each, kind), 1.5)

    ours = goodness_gradient(h, logistic_residual(goodness(h, kind), 1.5), kind)
    torch.testing.assert_close(ours, central_differences(loss, h), atol=1e-9, rtol=0)


def test_positives_are_pulled_up_and_negatives_down() -> None:
    residual = logistic_residual(numbers(10), 0.0)
    assert (residual[:5] < 0).all()
    assert (residual[5:] > 0).all()


def test_at_the_threshold_every_row_costs_log_two() -> None:
    assert float(logistic_loss(torch.full((4,), 7.0), 7.0)) == pytest.approx(0.6931472)


def test_huge_goodness_neither_overflows_nor_vanishes() -> None:
    g = torch.tensor([-1e6, 1e6])
    assert logistic_loss(g, 0.0).isfinite()
    assert float(logistic_loss(g, 0.0)) == pytest.approx(1e6)
    assert logistic_residual(g, 0.0).isfinite().all()


def test_normalised_rows_have_the_length_of_the_root_of_their_size() -> None:
    x = length_normalise(numbers(4, 3, 5) * 100)
    torch.testing.assert_close(x.flatten(1).norm(dim=1), torch.full((4,), 15.0**0.5, dtype=torch.float64))


def test_normalising_keeps_the_direction_and_forgets_the_length() -> None:
    x = numbers(4, 6)
    torch.testing.assert_close(length_normalise(x * 3), length_normalise(x), atol=1e-7, rtol=0)
    assert (length_normalise(x) / x > 0).all()


def test_a_row_of_zeros_stays_zero() -> None:
    assert length_normalise(torch.zeros(2, 3)).tolist() == [[0.0] * 3] * 2


def copies_in(run: Callable[[], torch.Tensor]) -> tuple[torch.Tensor, list[tuple[int, ...]]]:
    """What it gives, and the shapes of image tensors that it copies."""
    copied: list[tuple[int, ...]] = []

    class Watch(TorchDispatchMode):
        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            if func in (torch.ops.aten.clone.default, torch.ops.aten.copy_.default) and args[0].dim() == 4:
                copied.append(tuple(args[0].shape))
            return func(*args, **(kwargs or {}))

    with Watch():
        return run(), copied


def test_squares_of_images_that_lie_pixel_after_pixel_are_summed_without_a_copy() -> None:
    images = numbers(3, 4, 5, 6)
    squares, copied = copies_in(lambda: row_squares(by_pixels(images)))
    assert copied == [(3, 4, 5, 6)], "the copy that by_pixels made"
    torch.testing.assert_close(squares, images.square().sum((1, 2, 3)), rtol=1e-13, atol=0)


def test_candidates_of_forward_forward_are_scored_without_copies_of_activity() -> None:
    """The goodness of a net whose activity lies pixel after pixel; the values are those of the default layout."""
    net = nets.build("cnn3:4-6-8", (3, 8, 8), 3).double().eval()
    x = numbers(5, 3, 8, 8)
    expected = class_goodness(net, x.clone(), range(3), "auto", None, "mean")
    net.to(memory_format=torch.channels_last)
    seen, copied = copies_in(lambda: class_goodness(net, by_pixels(x), range(3), "auto", None, "mean"))
    torch.testing.assert_close(seen, expected, rtol=1e-12, atol=0)
    assert [shape for shape in copied if shape[1] != 3] == []


def test_bfloat16_is_summed_in_float32() -> None:
    """4096 ones: a running sum in bfloat16 would stop growing at 256."""
    h = torch.ones(2, 4096, dtype=torch.bfloat16)
    assert goodness(h).tolist() == [4096.0, 4096.0]
    assert goodness(h).dtype == torch.float32
    assert goodness_gradient(h, torch.ones(2)).dtype == torch.bfloat16
    assert length_normalise(h).dtype == torch.bfloat16
    assert float(length_normalise(h)[0, 0]) == 1.0


def test_the_temperature_divides_the_distance_from_the_threshold() -> None:
    """Rows at 5 and 1 with threshold 3 and temperature 4: both are half a unit on their right side."""
    g = torch.tensor([5.0, 1.0])
    assert float(logistic_loss(g, 3.0, 4.0)) == pytest.approx(math.log(1 + math.exp(-0.5)))
    pull = 1 / (1 + math.exp(0.5)) / (2 * 4.0)
    assert logistic_residual(g, 3.0, 4.0).tolist() == pytest.approx([-pull, pull])


@pytest.mark.parametrize("n", [6, 7])
def test_a_temperature_may_be_a_tensor(n: int) -> None:
    """With the same bits; of an odd number of rows the middle one is negative."""
    g = numbers(n)
    by_number = logistic_loss(g, 0.3, 0.7), logistic_residual(g, 0.3, 0.7)
    temperature = torch.tensor(0.7, dtype=g.dtype)
    assert all(map(torch.equal, (logistic_loss(g, 0.3, temperature), logistic_residual(g, 0.3, temperature)), by_number))
    assert (by_number[1] < 0).tolist() == [True] * 3 + [False] * (n - 3)


def test_the_loss_of_pairs_by_hand() -> None:
    """Pairs 5 above 3 and 1 below 2, alpha 0.5: softplus(-1) and softplus(0.5)."""
    g = torch.tensor([5.0, 1.0, 3.0, 2.0])
    expected = (math.log(1 + math.exp(-1.0)) + math.log(1 + math.exp(0.5))) / 2
    assert float(pair_loss(g, 0.5)) == pytest.approx(expected)
    pulls = [0.5 / (1 + math.exp(1.0)) / 2, 0.5 / (1 + math.exp(-0.5)) / 2]
    assert pair_residual(g, 0.5).tolist() == pytest.approx([-pulls[0], -pulls[1], *pulls])
