"""Bits of tensors as whole numbers."""

from __future__ import annotations

import math

import pytest
import torch

from bpfree.numerics.whole import same_bits, whole_numbers


def test_numbers_of_a_known_pattern() -> None:
    assert whole_numbers(torch.tensor([1.0, -0.0])).tolist() == [0x3F800000, -(2**31)]
    assert whole_numbers(torch.tensor([1.0], dtype=torch.float64)).tolist() == [0x3FF0000000000000]
    assert whole_numbers(torch.tensor([1.0], dtype=torch.bfloat16)).tolist() == [0x3F80]
    assert whole_numbers(torch.tensor([True, False])).tolist() == [1, 0]
    assert whole_numbers(torch.tensor(3)).tolist() == [3]


def test_the_order_is_that_of_the_axes_whatever_the_memory() -> None:
    x = torch.arange(6).reshape(2, 3)
    assert whole_numbers(x.t()).tolist() == [0, 3, 1, 4, 2, 5]
    assert whole_numbers(torch.tensor([7]).expand(3)).tolist() == [7, 7, 7]
    assert whole_numbers(torch.arange(6)[::2]).tolist() == [0, 2, 4]


def test_nan_is_itself_and_zero_has_a_sign() -> None:
    x = torch.tensor([math.nan, 0.0])
    assert same_bits(x, x.clone())
    assert not same_bits(x, torch.tensor([math.nan, -0.0]))
    assert not same_bits(x, torch.tensor([0.0, 0.0]))


@pytest.mark.parametrize("other", [torch.zeros(2, 1), torch.zeros(2, dtype=torch.int32), torch.zeros(3)])
def test_another_shape_or_format_is_not_the_same(other: torch.Tensor) -> None:
    assert not same_bits(torch.zeros(2), other)
