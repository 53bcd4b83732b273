"""The hierarchical bootstrap: how much a difference depends on these seeds and on these test examples."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from bpfree.errors import UsageError
from bpfree.stats.intervals import LEVEL, Interval

__all__ = ["bootstrap_by_seed", "hierarchical_bootstrap"]

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

    Seeds are drawn with replacement, both arms together (they are paired), and examples are drawn with replacement, the same
    for all seeds (they are one test set): a crossed, two-level bootstrap (Davison and Hinkley 1997, section 3.8; Owen 2007,
    "The pigeonhole bootstrap"). Examples with the same pattern of differences over the seeds are exchangeable, so counts of the
    distinct patterns are drawn instead of single examples: the same distribution, much faster.

    With few seeds a percentile interval is too narrow. It is a second opinion beside the paired t interval, which decides.

    Args:
        correct_a: whether each example was classified correctly: booleans, (seeds, examples).
        correct_b: the same of the other arm, for the same seeds and examples in the same order.
        n_resamples: number of draws.
        seed: of the draws.
        level: confidence.

    Returns:
        The interval of the difference, a fraction; ``n`` is the number of seeds.

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


def bootstrap_by_seed(
    correct_a: Mapping[int, np.ndarray],
    correct_b: Mapping[int, np.ndarray],
    *,
    n_resamples: int = 10_000,
    seed: int = 0,
    level: float = LEVEL,
) -> Interval:
    """:func:`hierarchical_bootstrap` of two arms whose runs are given by seed; seeds that only one arm has are left out.

    Args:
        correct_a, correct_b: by seed (or study), booleans of shape (examples,): one test set, in one order. Records hold them
            packed; see :func:`bpfree.bits.unpack_correct`.
        n_resamples, seed, level: as in :func:`hierarchical_bootstrap`.

    Raises:
        UsageError: the arms share no seed, or runs have different numbers of test examples.
    """
    seeds = sorted(correct_a.keys() & correct_b.keys())
    if not seeds:
        raise UsageError(f"the arms share no seed: {sorted(correct_a)} and {sorted(correct_b)}; run both with the same seeds")
    rows = [np.asarray(arm[s], dtype=bool) for arm in (correct_a, correct_b) for s in seeds]
    if len({row.shape for row in rows}) > 1 or rows[0].ndim != 1:
        shapes = sorted({row.shape for row in rows})
        raise UsageError(f"every run needs one boolean for each example of one test set, got arrays of shapes {shapes}")
    a, b = np.stack(rows[: len(seeds)]), np.stack(rows[len(seeds) :])
    return hierarchical_bootstrap(a, b, n_resamples=n_resamples, seed=seed, level=level)
