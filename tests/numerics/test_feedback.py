"""Random feedback and its composition."""

from __future__ import annotations

import pytest
import torch

from bpfree.numerics.feedback import DISTRIBUTIONS, compose, random_feedback


@pytest.mark.parametrize("distribution", DISTRIBUTIONS)
@pytest.mark.parametrize("shape", [(40, 60), (60, 40)], ids=str)
def test_moments(distribution: str, shape: tuple[int, int]) -> None:
    like = torch.zeros(1, dtype=torch.float64)
    b = random_feedback(shape, distribution, 0.3, torch.Generator().manual_seed(0), like=like)
    assert b.dtype == torch.float64
    assert float(b.square().mean().sqrt()) == pytest.approx(0.3, rel=0.05)
    assert abs(float(b.mean())) < 0.03


def test_uniform_is_bounded_and_orthogonal_has_equal_rows() -> None:
    like = torch.zeros(1, dtype=torch.float64)
    b = random_feedback((10, 200), "uniform", 1.0, torch.Generator().manual_seed(0), like=like)
    assert float(b.abs().max()) <= 3**0.5
    b = random_feedback((10, 200), "orthogonal", 1.0, torch.Generator().manual_seed(0), like=like)
    assert torch.allclose(b @ b.t(), 200 * torch.eye(10, dtype=b.dtype), atol=1e-9)


def test_the_same_generator_gives_the_same_matrix() -> None:
    first, second = (
        random_feedback((3, 4), "normal", 1.0, torch.Generator().manual_seed(5), like=torch.zeros(1)) for _ in range(2)
    )
    assert torch.equal(first, second)


def test_compose_is_the_chain_of_products() -> None:
    generator = torch.Generator().manual_seed(0)
    first, second, last = (torch.randn(shape, generator=generator, dtype=torch.float64) for shape in ((6, 8), (5, 6), (3, 5)))
    assert torch.allclose(compose([first, second, last]), last @ second @ first)
    assert compose([last]) is last
