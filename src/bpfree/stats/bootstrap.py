"""The hierarchical bootstrap: how far a difference hangs on these seeds and on these test examples."""

from __future__ import annotations

import numpy as np

from bpfree.errors import UsageError
from bpfree.stats.intervals import LEVEL, Interval

__all__ = ["hierarchical_bootstrap"]

_CHUNK = 4_000_000
"""Weights drawn at a time; 32 MB."""


def hierarchical_bootstrap(
    correct_a: np.ndarray,
    correct_b: np.ndarray,
    *,
    n_resamples: int = 10_000,
    seed: int = 0,
    level: float = LEVEL,
) -> Interval:
    """Percentile interval of accuracy A - accuracy B over resampled seeds and resampled test examples.

    Seeds are drawn with replacement, both arms together (they are paired), and examples are drawn with
    replacement, the same for all seeds (they are one test set): a crossed, two-level bootstrap (Davison and
    Hinkley 1997, section 3.8; Owen 2007, "The pigeonhole bootstrap"). Examples on which the arms do the same
    in every seed are exchangeable, so that counts of the distinct patterns are drawn instead of single
    examples: the same distribution, much faster.

    With few seeds a percentile interval is too narrow; the paired t interval decides, and this one stands
    beside it.

    Args:
        correct_a: was the example classified correctly? booleans, (seeds, examples).
        correct_b: the same of the other arm: the same seeds and examples in the same order.
        n_resamples: draws.
        seed: of the draws.
        level: confidence.

    Raises:
        UsageError: shapes that differ, or nothing to draw from.
    """
    a, b = np.asarray(correct_a, dtype=bool), np.asarray(correct_b, dtype=bool)
    if a.shape != b.shape or a.ndim != 2 or a.size == 0:
        raise UsageError(f"both arms need the same (seeds, examples), at least 1 x 1; got {a.shape} and {b.shape}")
    if n_resamples < 1:
        raise UsageError(f"n_resamples must be at least 1, got {n_resamples}")
    n_seeds, n_examples = a.shape
    difference = a.astype(np.int8) - b.astype(np.int8)
    patterns, counts = np.unique(difference, axis=1, return_counts=True)
    rng = np.random.default_rng(seed)
    draws = np.empty(n_resamples)
    step = max(1, _CHUNK // counts.size)
    for start in range(0, n_resamples, step):
        size = min(step, n_resamples - start)
        of_seeds = rng.multinomial(n_seeds, np.full(n_seeds, 1 / n_seeds), size=size)
        of_examples = rng.multinomial(n_examples, counts / n_examples, size=size)
        draws[start : start + size] = np.einsum("rk,rk->r", of_seeds @ patterns.astype(np.float64), of_examples)
    draws /= n_seeds * n_examples
    low, high = np.quantile(draws, [(1 - level) / 2, (1 + level) / 2])
    reason = "one seed: the interval covers the test examples only" if n_seeds == 1 else None
    return Interval(mean=float(difference.mean()), low=float(low), high=float(high), level=level, n=n_seeds, reason=reason)
