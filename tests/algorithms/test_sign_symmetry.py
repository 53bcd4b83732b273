"""Sign-symmetric feedback: signs always the weights', magnitudes by variant."""

from __future__ import annotations

import pytest
import torch

from bpfree.algorithms import Backprop, SignSymmetry
from bpfree.nets import mlp
from bpfree.testing.bench import RuleOnNet


@pytest.mark.parametrize("variant", ["usf", "brsf", "frsf"])
def test_signs_are_the_current_weights(variant: str) -> None:
    bench = RuleOnNet.start(SignSymmetry(variant=variant, lr=0.1), mlp(6, (5, 4), 3).double())
    for k in range(3):
        matrices = [bench.algorithm.matrix(bench.net, bench.state, bench.batch(8, k), j) for j in (1, 2)]
        weights = [bench.net[1].linear.weight, bench.net.output.weight]
        assert len(matrices) == 2
        for matrix, weight in zip(matrices, weights, strict=True):
            assert torch.equal(matrix.sign(), weight.sign())
        bench.steps([8], first=k)


def test_magnitudes_by_variant() -> None:
    sizes = {}
    for variant in ("usf", "brsf", "frsf"):
        bench = RuleOnNet.start(SignSymmetry(variant=variant, feedback_scale=3.0), mlp(6, (5, 4), 3).double())
        rule: SignSymmetry = bench.algorithm
        sizes[variant] = [rule.matrix(bench.net, bench.state, bench.batch(8, k), 1).abs() for k in (0, 0, 1)]
    assert torch.allclose(sizes["usf"][0], torch.full((4, 5), 3.0 * (2 / 9) ** 0.5, dtype=torch.float64))
    assert torch.equal(sizes["brsf"][0], sizes["brsf"][1])  # the same batch draws the same
    assert not torch.equal(sizes["brsf"][0], sizes["brsf"][2])
    assert torch.equal(sizes["frsf"][0], sizes["frsf"][2])
    assert len(sizes["frsf"][0].unique()) > 10


def test_where_all_weights_have_that_size_it_is_backprop() -> None:
    """Weights of ±√(2 / (i + o)) are their own uniform sign-concordant feedback."""
    plain = {"optimiser": "sgd", "lr": 0.1, "momentum": 0.0}
    ours, theirs = (
        RuleOnNet.start(rule, mlp(6, (5, 4), 3, "tanh").double()) for rule in (SignSymmetry(**plain), Backprop(**plain))
    )
    for bench in (ours, theirs):
        for weight in (bench.net[1].linear.weight, bench.net.output.weight):
            weight.detach().sign_().mul_((2 / sum(weight.shape)) ** 0.5)
        bench.steps([8])
    for mine, other in zip(ours.net.parameters(), theirs.net.parameters(), strict=True):
        torch.testing.assert_close(mine, other, rtol=0, atol=1e-12)
