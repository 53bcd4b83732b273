"""Hessian products, trace and largest eigenvalue against the whole Hessian of the same function, written out."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from landscape_models import drawn, material, small_net
from torch import Tensor

from bpfree.analysis import Surface, curvature
from bpfree.errors import UsageError


@pytest.fixture(scope="module")
def known() -> tuple[Surface, Tensor]:
    """A surface and its whole Hessian (n, n), from a function of the vector that uses nothing of the surface."""
    examples, net = material(), small_net((3,), "tanh")
    surface = Surface(drawn(net), examples)
    shapes = [part.shape for part in surface.parts]

    def loss(vector: Tensor) -> Tensor:
        w, b, m, c = (
            piece.reshape(shape) for piece, shape in zip(vector.split([s.numel() for s in shapes]), shapes, strict=True)
        )
        return F.cross_entropy(torch.tanh(examples.x @ w.t() + b) @ m.t() + c, examples.y)

    whole = torch.autograd.functional.hessian(loss, surface.origin)
    assert isinstance(whole, Tensor)
    return surface, whole


def test_products_are_those_of_the_whole_hessian(known: tuple[Surface, Tensor]) -> None:
    surface, whole = known
    times = surface.hessian(surface.origin)
    for column in torch.eye(len(whole), dtype=torch.float64):
        torch.testing.assert_close(times(column), whole @ column, rtol=1e-9, atol=1e-12)


def test_trace_and_largest_eigenvalue(known: tuple[Surface, Tensor]) -> None:
    surface, whole = known
    seen = curvature(surface, surface.origin, probes=50)
    assert seen.largest == pytest.approx(float(torch.linalg.eigvalsh(whole)[-1]), rel=1e-3)
    off_diagonal = whole - torch.diag(whole.diagonal())
    sd = float((2 * off_diagonal.square().sum()).sqrt())  # of zᵀ H z over random signs
    assert seen.trace_error == pytest.approx(sd / 50**0.5, rel=0.35)
    assert abs(seen.trace - float(whole.trace())) < 3 * sd / 50**0.5
    assert curvature(surface, surface.origin, probes=50) == seen
    assert curvature(surface, surface.origin, probes=50, seed=1).trace != seen.trace


def test_fewer_than_two_probes_are_refused(known: tuple[Surface, Tensor]) -> None:
    with pytest.raises(UsageError, match="probes must be at least 2, got 1"):
        curvature(known[0], known[0].origin, probes=1)
