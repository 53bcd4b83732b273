"""The Hessian of the loss at a point: its trace and its largest eigenvalue, from products H v alone.

The trace is Hutchinson's estimate, the mean of zᵀ H z over random signs z (Hutchinson 1990); its standard error is that of the
mean. The largest eigenvalue is found by scipy's Lanczos iterations (ARPACK). Both depend on the scale of the layers: a net of
ReLUs can be rescaled to any trace without computing anything else (Dinh et al. 2017, "Sharp minima can generalize for deep
nets"), so they compare nets of one architecture that were drawn and trained alike, and nothing beyond.

Products come from two backward passes of torch, so no further package is needed: ``curvlinops-for-pytorch``, whose operator gives
the same numbers (version 2.0.1, tried by hand: trace and largest eigenvalue of a small net are those of its whole Hessian to
1e-6, as ours are by the tests), would bring torchvision and eight packages more for what takes twenty lines here.
"""

from __future__ import annotations

import math
import statistics
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from scipy.sparse.linalg import LinearOperator, eigsh
from torch import Tensor

from bpfree.analysis.surface import Surface
from bpfree.errors import UsageError
from bpfree.numerics.streams import stream_key

__all__ = ["Curvature", "curvature"]

TOLERANCE = 1e-4
"""Relative, of the largest eigenvalue."""

LANCZOS_VECTORS = 20
"""Kept by ARPACK; with twelve, and a tolerance of 1e-3, it may stop at the second of two eigenvalues that lie close together."""


@dataclass(frozen=True)
class Curvature:
    """Trace and largest eigenvalue (nats over squared parameters).

    Attributes:
        trace_error: standard error of the estimate, over its probes.
        probes: random vectors.
    """

    trace: float
    trace_error: float
    largest: float
    probes: int


def curvature(surface: Surface, point: Tensor, *, probes: int = 20, seed: int = 0) -> Curvature:
    """Trace and largest eigenvalue of the Hessian at a point.

    Args:
        probes: random vectors of the trace, at least 2.

    Raises:
        UsageError: fewer than two probes, or autograd cannot differentiate the scores.
    """
    if probes < 2:
        raise UsageError(f"probes must be at least 2, got {probes}")
    times = surface.hessian(point)
    n = len(point)
    generator = torch.Generator().manual_seed(stream_key(seed, n))
    samples = []
    for _ in range(probes):
        signs = (torch.randint(0, 2, (n,), generator=generator) * 2 - 1).double().to(point.device)
        samples.append(float(signs @ times(signs)))
    error = statistics.stdev(samples) / math.sqrt(probes)

    def product(v: np.ndarray) -> np.ndarray:
        return times(torch.from_numpy(v.reshape(-1)).to(point.device)).cpu().numpy()

    start = torch.randn(n, generator=generator, dtype=torch.float64).numpy()
    operator: Any = LinearOperator((n, n), matvec=product, dtype=np.float64)  # pyright: ignore[reportCallIssue]  # scipy has no types
    solve: Any = eigsh  # likewise
    vectors = min(n, LANCZOS_VECTORS)
    (largest,) = solve(operator, k=1, which="LA", v0=start, tol=TOLERANCE, ncv=vectors, return_eigenvectors=False)
    return Curvature(statistics.fmean(samples), error, float(largest), probes)
