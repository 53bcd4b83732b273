"""Cost of Cascaded-Forward by phase, by hand."""

from __future__ import annotations

from bpfree.algorithms import CascadedForward, cost_of
from bpfree.nets import build

NET = build("mlp:16-12", (20,), 10)
MACS, FEATURES = (20 * 16, 16 * 12), (16, 12)


def test_a_phase_that_learns_nothing_has_no_moment_of_memory() -> None:
    """BatchNorm's statistics are gathered before predictors learn: the pass is counted, and no gradient is made."""
    net = build("cnn3:4-6-8", (1, 8, 8), 10)
    rule = CascadedForward()
    phases = [phase for phase in rule.phases(net) if not phase.learning]
    assert [phase.name for phase in phases] == ["statistics"]
    cost = cost_of(rule, net, 16, phases[0])
    assert cost is not None
    assert (cost.moments, cost.peak) == ((), None)
    assert cost.learn == 16 * 9 * (1 * 4 * 64 + 4 * 6 * 16 + 6 * 8 * 4)  # 3 x 3 kernels on 8 x 8, 4 x 4 and 2 x 2 places


def test_predictors_one_after_another() -> None:
    """A predictor reads its block: scores and gradients are two products of 16 examples, features and 10 classes."""
    rule = CascadedForward(predictors="staged")
    costs = [cost_of(rule, NET, 16, phase) for phase in rule.phases(NET)]
    assert [cost.learn for cost in costs if cost] == [
        16 * (MACS[0] + 2 * 10 * FEATURES[0]),
        16 * (sum(MACS) + 2 * 10 * FEATURES[1]),
    ]
    ridge = CascadedForward(predictor="ridge")
    (solved,) = (cost_of(ridge, NET, 16, phase) for phase in ridge.phases(NET))
    assert solved is not None
    assert solved.close == sum(d**3 / 6 + 10 * d**2 for d in FEATURES)
    assert solved.learn == 16 * (sum(MACS) + sum(d**2 + 2 * 10 * d for d in FEATURES))


def test_blocks_that_learn_by_feedback() -> None:
    """Forward and weight gradients of blocks and output, and the error brought to both blocks: 10 x (16 + 12)."""
    rule = CascadedForward(blocks="dfa", predictors="staged")
    blocks = cost_of(rule, NET, 16, rule.phases(NET)[0])
    assert blocks is not None
    assert blocks.learn == 16 * (2 * (sum(MACS) + 10 * 12) + 10 * sum(FEATURES))
