"""What a step costs in a phase that reads features computed once: the blocks below are not run again."""

from __future__ import annotations

from bpfree import data
from bpfree.bench import parse_arms
from bpfree.bench.cost_table import cost_rows

LOADED = data.load("synthetic:n=300:inputs=20").without_test()


def test_predictors_on_cached_features_cost_their_own_products_alone() -> None:
    """16 examples, 10 classes, blocks of 16 and 12 units: scores and gradients are two products with the features."""
    staged = "cascaded-forward:predictors=staged"
    rows = cost_rows(parse_arms(f"{staged}:cache_features=true,{staged}"), ["mlp:16-12"], LOADED, 16)
    first, second = 2 * 16 * 16 * 10, 2 * 16 * 12 * 10
    forward_1, forward_2 = 16 * 20 * 16, 16 * 16 * 12
    assert [row.by_phase for row in rows] == [(first, second), (forward_1 + first, forward_1 + forward_2 + second)]
