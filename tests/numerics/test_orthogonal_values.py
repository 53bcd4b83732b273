"""Semi-orthogonal matrices and kernels by hand: how far they are taken back before a step, what it costs, what is drawn."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from bpfree.meter import count_flops
from bpfree.numerics import orthogonal, orthogonal_conv
from bpfree.numerics.orthogonal import bjorck, defect, newton_schulz, rescue
from bpfree.numerics.orthogonal_conv import _projector, bjorck_kernel, orthogonal_kernel_

F64 = torch.float64


def diagonal(*values: float) -> torch.Tensor:
    return torch.diag(torch.tensor(values, dtype=F64))


def test_eight_products_estimate_the_largest_eigenvalue() -> None:
    """From (1, 1) the eighth product with diag(3, 2) is (3⁸, 2⁸) long, against (3⁷, 2⁷)."""
    gram, asked = diagonal(3.0, 2.0), []

    def product(v: torch.Tensor) -> torch.Tensor:
        asked.append(v)
        return gram @ v

    start = torch.ones(2, 1, dtype=F64)
    estimate = math.sqrt((3**16 + 2**16) / (3**14 + 2**14))
    assert float(rescue(product, start)) == pytest.approx(2 / estimate, rel=1e-14)
    assert len(asked) == 8
    assert float(rescue(product, start, bound=torch.tensor(2.5, dtype=F64))) == pytest.approx(0.8)
    assert float(rescue(lambda v: 0.5 * v, start)) == 1.0


@pytest.mark.parametrize("order", [(3.0, 1.0), (1.0, 3.0)])
def test_a_matrix_that_is_too_large_is_divided_before_its_first_step(order: tuple[float, float]) -> None:
    """s² = 9 is brought to 2: of the singular values √2 and √2 / 3, Björck's step makes √2 / 2 and 25 √2 / 54."""
    root = math.sqrt(2)
    expected = {3.0: root / 2, 1.0: 25 * root / 54}
    torch.testing.assert_close(bjorck(diagonal(*order)), diagonal(*(expected[s] for s in order)), rtol=1e-12, atol=1e-12)
    quintic = {s: (15 * t - 10 * t**3 + 3 * t**5) / 8 for s, t in ((3.0, root), (1.0, root / 3))}
    torch.testing.assert_close(newton_schulz(diagonal(*order)), diagonal(*(quintic[s] for s in order)), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("shape", [(7, 20), (20, 7)], ids=str)
def test_a_step_costs_what_its_shorter_side_does(shape: tuple[int, int]) -> None:
    """2 m² n multiply-adds (and m³ of the square of the Gram matrix), and eight products of it with a vector; m = 7, n = 20."""
    w = torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=F64)
    cubic, estimate = 2 * 7 * 7 * 20, 8 * 7 * 7
    for steps in (1, 3):
        assert count_flops(lambda steps=steps: bjorck(w, steps)) == 2 * (steps * cubic + estimate)
        assert count_flops(lambda steps=steps: newton_schulz(w, steps)) == 2 * (steps * (cubic + 7**3) + estimate)


def test_the_defect_of_a_matrix_that_is_not_square() -> None:
    """Columns of lengths 1 and 2 in three rows: (0² + 3²) / 2."""
    w = torch.tensor([[1.0, 0.0], [0.0, 2.0], [0.0, 0.0]], dtype=F64)
    assert float(defect(w)) == float(defect(w.t())) == pytest.approx(math.sqrt(9 / 2))
    assert (orthogonal.LARGEST_SQUARE, orthogonal.POWER_STEPS) == (2.0, 8)


KERNEL = [[[[1.0, 2.0], [0.0, 1.0]]], [[[0.0, 1.0], [3.0, 1.0]]]]
"""Two maps of one channel, edge 2: at stride 1 patches meet their neighbours, m = 1."""


def test_a_step_of_a_kernel_by_loops() -> None:
    """G by its definition, its largest eigenvalue by eight products on an image of 4 x 4 without borders, then the step."""
    k = np.array(KERNEL)

    def at(o: int, u: int, v: int) -> float:
        return float(k[o, 0, u, v]) if 0 <= u < 2 and 0 <= v < 2 else 0.0

    places = [(o, i, j) for o in range(2) for i in range(4) for j in range(4)]
    ways = [(t, s) for t in (-1, 0, 1) for s in (-1, 0, 1)]
    g = {
        (o, q, t, s): sum(at(o, u, v) * at(q, u - t, v - s) for u in range(2) for v in range(2))
        for o in range(2) for q in range(2) for t, s in ways
    }  # fmt: skip
    operator = np.zeros((32, 32))
    for row, (o, i, j) in enumerate(places):
        for q in range(2):
            for t, s in ways:
                operator[row, places.index((q, (i + t) % 4, (j + s) % 4))] += g[o, q, t, s]
    lengths = [sum(g[o, q, t, s] ** 2 for q in range(2) for t, s in ways) for o in range(2)]
    top = lengths.index(max(lengths))
    start = np.array([g[top, o, i - 1, j - 1] if i < 3 and j < 3 else 0.0 for o, i, j in places])
    for _ in range(8):
        before, start = np.linalg.norm(start), operator @ (start / np.linalg.norm(start))
    assert before > 2
    square = 2 / np.linalg.norm(start)
    expected = [
        [1.5 * at(o, u, v) - 0.5 * square * sum(g[o, q, t, s] * at(q, u - t, v - s) for q in range(2) for t, s in ways)
         for u in range(2) for v in range(2)]
        for o in range(2)
    ]  # fmt: skip
    made = bjorck_kernel(torch.tensor(KERNEL, dtype=F64), 1)
    np.testing.assert_allclose(made.flatten(1).numpy(), math.sqrt(square) * np.array(expected), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    ("shape", "drawn"),
    [
        ((6, 3, 5, 1), [(6, 3), *[(6, 6)] * 8]),  # tall: turned on the side of its six maps, four times along each axis
        ((3, 6, 3, 1), [(3, 6), *[(6, 6)] * 4]),  # wide: on the side of its channels
        ((5, 2, 4, 2), [(5, 8), *[(8, 8)] * 2]),  # 2 x 2 x 2 channels; two whole strides
        ((13, 3, 3, 2), [(13, 12), (6, 6), (3, 3), (3, 3)]),  # the last tap reaches one of two columns: 3 x 2 x 1 places
        ((2, 1, 5, 2), [(2, 4), (4, 4), (2, 2), (2, 2), (2, 2), (1, 1), (1, 1)]),
        ((9, 1, 5, 2), [(9, 4), (9, 9), (2, 2), (9, 9), (1, 1), (1, 1)]),  # tall, but for the last taps
    ],
)
def test_what_is_drawn_for_a_kernel(
    shape: tuple[int, int, int, int], drawn: list[tuple[int, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[int, ...]] = []
    plain = orthogonal_conv.orthogonal_

    def noted(w: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        asked.append(tuple(w.shape))
        return plain(w, generator)

    turned: list[list[tuple[int, ...]]] = []
    einsum = torch.einsum
    monkeypatch.setattr(orthogonal_conv, "orthogonal_", noted)
    monkeypatch.setattr(torch, "einsum", lambda text, *args: turned.append([tuple(a.shape) for a in args]) or einsum(text, *args))
    maps, channels, edge, stride = shape
    orthogonal_kernel_(torch.empty(maps, channels, edge, edge, dtype=F64), stride, torch.Generator().manual_seed(0))
    assert asked == drawn
    strides = -(-edge // stride)  # that a patch reaches into
    assert len(turned) == 2 * (strides - 1)
    assert all((maps, channels * stride**2, strides, strides) in shapes for shapes in turned)


def test_a_square_kernel_turns_on_the_side_of_its_channels(monkeypatch: pytest.MonkeyPatch) -> None:
    """K = H (P + Q z) (P' + Q' z'): what meets the image unshifted is H P P', and Q' is orthogonal to P'."""
    projectors: list[torch.Tensor] = []
    monkeypatch.setattr(orthogonal_conv, "_projector", lambda *args: projectors.append(_projector(*args)) or projectors[-1])
    kernel = orthogonal_kernel_(torch.empty(4, 1, 4, 4, dtype=F64), 2, torch.Generator().manual_seed(0))
    unshifted = torch.nn.functional.pixel_unshuffle(kernel, 2)[:, :, 0, 0]
    assert len(projectors) == 2
    assert float(unshifted.norm()) > 0.1
    torch.testing.assert_close(unshifted @ projectors[1], torch.zeros(4, 4, dtype=F64), rtol=0, atol=1e-14)


def test_a_projector_has_half_the_rank_in_each_group_and_the_first_rounds_up() -> None:
    groups = [torch.tensor([0, 2, 4]), torch.tensor([1, 3, 5])]
    q = _projector(torch.empty(0, dtype=F64), 7, groups, torch.Generator().manual_seed(0))
    torch.testing.assert_close(q @ q, q)
    torch.testing.assert_close(q, q.t())
    ranks = [float(q[group][:, group].trace()) for group in groups]
    assert ranks == [pytest.approx(2.0), pytest.approx(1.0)]
    assert float(q.trace()) == pytest.approx(3.0)
    assert not q[groups[0]][:, groups[1]].any()
    assert not q[6].any()
