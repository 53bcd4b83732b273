"""Kernels with orthonormal operators: the operator's own matrix, built by convolving a basis, is what is looked at."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from bpfree.numerics.orthogonal import bjorck, orthogonal_
from bpfree.numerics.orthogonal_conv import bjorck_kernel, gram, kernel_defect, orthogonal_kernel_, overlap

WIDE = [
    (12, 3, 4, 2),
    (10, 12, 3, 2),
    (20, 24, 3, 1),
    (1, 1, 3, 1),
    (48, 3, 5, 4),
    (30, 3, 6, 4),
    (5, 5, 7, 2),
    (4, 3, 4, 3),
    (16, 1, 5, 4),
    (4, 1, 3, 2),
]
TALL = [(6, 1, 5, 1), (6, 3, 5, 1), (40, 3, 7, 3), (13, 3, 3, 2), (32, 3, 5, 2)]
"""(maps, channels, edge, stride)."""
IMAGE = (9, 10)


def drawn(shape: tuple[int, int, int, int], seed: int = 0) -> torch.Tensor:
    maps, channels, edge, stride = shape
    kernel = torch.full((maps, channels, edge, edge), torch.nan, dtype=torch.float64)
    return orthogonal_kernel_(kernel, stride, torch.Generator().manual_seed(seed))


def perturbed(shape: tuple[int, int, int, int], share: float) -> torch.Tensor:
    kernel = drawn(shape)
    noise = torch.randn(kernel.shape, generator=torch.Generator().manual_seed(1), dtype=kernel.dtype)
    return kernel + share * kernel.norm() / noise.norm() * noise


def operator(kernel: torch.Tensor, stride: int, image: tuple[int, int], *, periodic: bool = False) -> torch.Tensor:
    """The convolution as a matrix (outputs, inputs), without padding or on an image without borders."""
    channels, edge = kernel.shape[1:3]
    inputs = channels * image[0] * image[1]
    basis = torch.eye(inputs, dtype=kernel.dtype).reshape(inputs, channels, *image)
    if periodic:
        basis = F.pad(basis, (0, edge - stride, 0, edge - stride), mode="circular")
    return F.conv2d(basis, kernel, stride=stride).flatten(1).t()


def off_identity(gram_matrix: torch.Tensor) -> float:
    off = gram_matrix - torch.eye(len(gram_matrix), dtype=gram_matrix.dtype)
    return float(off.norm() / len(gram_matrix) ** 0.5)


@pytest.mark.parametrize("shape", WIDE, ids=str)
def test_a_drawn_operator_has_orthonormal_rows_on_any_image(shape: tuple[int, int, int, int]) -> None:
    a = operator(drawn(shape), shape[3], IMAGE)
    assert off_identity(a @ a.t()) < 1e-12
    assert float(kernel_defect(drawn(shape), shape[3])) < 1e-12


@pytest.mark.parametrize("shape", TALL, ids=str)
def test_a_drawn_kernel_with_more_maps_has_orthonormal_columns_on_a_periodic_image(shape: tuple[int, int, int, int]) -> None:
    stride = shape[3]
    a = operator(drawn(shape), stride, (4 * stride, 4 * stride), periodic=True)
    assert a.shape[0] > a.shape[1]
    assert off_identity(a.t() @ a) < 1e-12
    assert float(kernel_defect(drawn(shape), stride)) < 1e-12


@pytest.mark.parametrize("shape", [s for s in (*WIDE, *TALL) if s[1] * s[3] ** 2 > 1], ids=str)
def test_a_draw_uses_the_whole_kernel_and_its_generator(shape: tuple[int, int, int, int]) -> None:
    """Every row and column of it; single places stay empty where one channel has no other to turn into."""
    kernel = drawn(shape)
    energies = kernel.square().sum((0, 1))
    assert min(float(energies.sum(0).min()), float(energies.sum(1).min())) > 1e-3
    assert torch.equal(kernel, drawn(shape))
    assert not torch.equal(kernel, drawn(shape, seed=1))


@pytest.mark.parametrize("shape", [*WIDE, *TALL], ids=str)
def test_defect_is_the_operators_own(shape: tuple[int, int, int, int]) -> None:
    """On an image without borders, wide enough that no patch meets another twice."""
    stride, kernel = shape[3], perturbed(shape, 0.3)
    edge = stride * (2 * overlap(shape[2], stride) + 1)
    a = operator(kernel, stride, (edge, edge), periodic=True)
    smaller = a @ a.t() if a.shape[0] <= a.shape[1] else a.t() @ a
    assert float(kernel_defect(kernel, stride)) == pytest.approx(off_identity(smaller), rel=1e-10)


@pytest.mark.parametrize("shape", [(10, 12, 3, 2), (6, 3, 5, 1)], ids=["wide", "tall"])
def test_a_step_descends_on_the_defect(shape: tuple[int, int, int, int]) -> None:
    """K − ½ ∂(¼ ‖G − I‖²)/∂K, by autograd."""
    stride = shape[3]
    kernel = perturbed(shape, 0.1).requires_grad_()
    g = gram(kernel, stride)
    one = torch.zeros_like(g)
    one[:, :, g.shape[-1] // 2, g.shape[-1] // 2] = torch.eye(len(g), dtype=g.dtype)
    (slope,) = torch.autograd.grad(0.25 * (g - one).square().sum(), kernel)
    torch.testing.assert_close(bjorck_kernel(kernel.detach(), stride), kernel.detach() - 0.5 * slope, rtol=0, atol=1e-13)


@pytest.mark.parametrize("shape", [*WIDE, *TALL], ids=str)
def test_steps_return_from_a_perturbation_of_ten_per_cent(shape: tuple[int, int, int, int]) -> None:
    kernel, stride = perturbed(shape, 0.1), shape[3]
    defects = [float(kernel_defect(bjorck_kernel(kernel, stride, steps), stride)) for steps in (0, 1, 10, 50)]
    assert defects == sorted(defects, reverse=True)
    assert defects[0] > 0.04
    assert defects[2] < 0.015
    assert defects[3] < 0.005


@pytest.mark.parametrize("shape", [(10, 12, 3, 2), (6, 3, 5, 1), (20, 24, 3, 1)], ids=str)
def test_steps_return_from_any_scale_and_from_a_push_of_one_sign(shape: tuple[int, int, int, int]) -> None:
    kernel, stride = drawn(shape), shape[3]
    pushed = kernel + 4.0 * torch.ones_like(kernel) / (kernel.shape[0] * kernel[0].numel()) ** 0.5
    for far in (1e-3 * kernel, 50 * kernel, pushed):
        near = far
        for _ in range(40):
            near = bjorck_kernel(near, stride)
        assert float(kernel_defect(near, stride)) < 0.1  # a push may lead to another valley of the defect


def test_orthonormal_kernels_are_fixed_points() -> None:
    for shape in (*WIDE, *TALL):
        torch.testing.assert_close(bjorck_kernel(drawn(shape), shape[3]), drawn(shape), rtol=0, atol=1e-12)


def test_without_overlap_it_is_the_matrix_iteration() -> None:
    kernel = orthogonal_(torch.empty(9, 3 * 4, dtype=torch.float64), torch.Generator().manual_seed(0)).reshape(9, 3, 2, 2)
    kernel = kernel + 0.02 * torch.randn(kernel.shape, generator=torch.Generator().manual_seed(1), dtype=kernel.dtype)
    torch.testing.assert_close(bjorck_kernel(kernel, 2, 2).flatten(1), bjorck(kernel.flatten(1), 2), rtol=0, atol=1e-13)


def test_maps_of_one_direction_do_not_hide_from_the_rescue() -> None:
    """Three equal maps outweigh a single larger one: λ is 3 · 2.9², not 3²."""
    kernel = torch.zeros(4, 2, 3, 3, dtype=torch.float64)
    kernel[0, 0, 0, 0] = 3.0
    kernel[1:, 1, 1, 1] = 2.9
    assert bool(bjorck_kernel(kernel, 1, 20).isfinite().all())
    matrix = kernel.flatten(1)
    assert bool(bjorck(matrix, 20).isfinite().all())


def test_zero_stays_zero_and_finite() -> None:
    assert torch.equal(bjorck_kernel(torch.zeros(3, 2, 3, 3), 1, 2), torch.zeros(3, 2, 3, 3))
