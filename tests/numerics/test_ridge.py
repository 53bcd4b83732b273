"""Ridge regression from sums over batches."""

from __future__ import annotations

import torch

from bpfree.numerics.ridge import gather_, ridge_solution


def _problem(n: int, d: int, c: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return (
        torch.randn(n, d, dtype=torch.float64, generator=generator),
        torch.randn(n, c, dtype=torch.float64, generator=generator),
    )


def _sums(h: torch.Tensor, t: torch.Tensor, size: int, dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor]:
    gram, cross = torch.zeros(h.shape[1], h.shape[1], dtype=dtype), torch.zeros(h.shape[1], t.shape[1], dtype=dtype)
    for k in range(0, len(h), size):
        gather_(gram, cross, h[k : k + size], t[k : k + size])
    return gram, cross


def test_equals_least_squares_on_the_augmented_system() -> None:
    for n, d in ((60, 12), (8, 20)):  # more examples than features, and fewer
        h, t = _problem(n, d, 3)
        ridge = 1e-2 * h.square().sum() / d
        augmented = torch.cat([h, ridge.sqrt() * torch.eye(d, dtype=torch.float64)])
        expected = torch.linalg.lstsq(augmented, torch.cat([t, torch.zeros(d, 3, dtype=torch.float64)])).solution
        gram, cross = _sums(h, t, 7, torch.float64)
        torch.testing.assert_close(ridge_solution(gram, cross, 1e-2), expected, rtol=0, atol=1e-8)
        gram, cross = _sums(h.float(), t.float(), 7, torch.float32)
        torch.testing.assert_close(ridge_solution(gram, cross, 1e-2), expected, rtol=1e-3, atol=1e-4)


def test_batches_and_repetition_do_not_matter() -> None:
    h, t = _problem(40, 6, 2)
    once = ridge_solution(*_sums(h, t, 40, torch.float64), 1e-3)
    torch.testing.assert_close(ridge_solution(*_sums(h, t, 3, torch.float64), 1e-3), once)
    torch.testing.assert_close(ridge_solution(*_sums(h.repeat(3, 1), t.repeat(3, 1), 11, torch.float64), 1e-3), once)
    torch.testing.assert_close(ridge_solution(*_sums(5 * h, t, 9, torch.float64), 1e-3), once / 5)


def test_features_that_are_all_zero() -> None:
    assert ridge_solution(torch.zeros(4, 4), torch.zeros(4, 2), 1e-3).abs().max() == 0
