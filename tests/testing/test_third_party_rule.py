"""A rule outside the package, in one file: its periodic work is counted, its alignment is right, it passes the kit."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from third_party_rule import Renewing

from bpfree.algorithms import Algorithm, Backprop, cost_of, step
from bpfree.analysis import alignment
from bpfree.bench.counting import apart_flops, step_flops
from bpfree.nets import Chain, DenseBlock, ModuleBlock
from bpfree.testing import AlgorithmContract
from bpfree.testing.bench import RuleOnNet

N = 16


def net() -> Chain:
    """12 inputs, 8 dense units, 6 units in a module of the user, 4 classes."""
    module = torch.nn.Sequential(torch.nn.Linear(8, 6), torch.nn.GELU())
    return Chain([DenseBlock((12,), 8), ModuleBlock((8,), module)], 4)


def flops_of_learn() -> int:
    """Two products for the first block, which needs no derivative by its input; three for the module and the output."""
    return 2 * N * (2 * 12 * 8 + 3 * 8 * 6 + 3 * 6 * 4)


FLOPS_OF_A_RENEWAL = 2 * (8 * 8 * 12 + 8 * 12 * 8)
"""W Wᵀ is 8 x 12 by 12 x 8, its product with W 8 x 8 by 8 x 12; the module's weight is left alone."""


@pytest.mark.parametrize("every", [1, 10])
def test_periodic_work_is_charged_by_its_share(every: int) -> None:
    bench = RuleOnNet.start(Renewing(renew_every=every), net())
    counted = step_flops(bench.algorithm, bench.net, bench.state, bench.batch(N), bench.last_phase)
    assert counted == round(flops_of_learn() + FLOPS_OF_A_RENEWAL / every)
    assert counted == {1: 13_056 + 3_072, 10: 13_056 + 307}[every]
    assert apart_flops(bench.algorithm, bench.net, bench.state, bench.batch(N)) is None


def test_the_renewal_is_done_every_tenth_step_and_not_before() -> None:
    bench, plain = RuleOnNet.start(Renewing(), net()), RuleOnNet.start(Backprop(lr=1e-3), net())
    plain.net.load_state_dict(bench.net.state_dict())
    for number in range(1, 12):
        for each in (bench, plain):
            step(each.algorithm, each.net, each.state, each.batch(N, number), each.last_phase)
        same = torch.equal(bench.net.output.weight, plain.net.output.weight)
        renewed = not torch.equal(bench.net[0].linear.weight, plain.net[0].linear.weight)  # pyright: ignore
        assert (same, renewed) == ((number <= 10), number >= 10)


@pytest.mark.parametrize("steps", [0, 9])
@pytest.mark.parametrize("every", [1, 10])
def test_it_is_aligned_with_backprop_whatever_is_due(steps: int, every: int) -> None:
    bench = RuleOnNet.start(Renewing(renew_every=every, lr=0.01), net())
    bench.steps([8] * steps)
    found = alignment(bench.algorithm, bench.net, bench.state, bench.batch(N, 50))
    assert found.cosine == pytest.approx([1.0] * 3, abs=1e-12)
    assert found.norm_ratio == pytest.approx([1.0] * 3, abs=1e-12)


def test_a_net_with_a_module_has_no_formula() -> None:
    rule = Renewing()
    assert cost_of(rule, net(), N, rule.phases(net())[0]) is None


class TestRenewing(AlgorithmContract):
    exceptions = {"test_golden_trajectory": "its numbers are nobody's"}

    @pytest.fixture
    def algorithm(self) -> Algorithm:
        return Renewing()


class WrongCost(Renewing):
    def cost(self, shape, phase):
        honest = super().cost(shape, phase)
        return dataclasses.replace(honest, learn=1.05 * (honest.learn or 0))


class ForgetsItsUpkeep(Renewing):
    def cost(self, shape, phase):
        return dataclasses.replace(super().cost(shape, phase), upkeep={"renewal": 0.0})


@pytest.mark.parametrize("rule", [WrongCost(), ForgetsItsUpkeep(renew_every=1)], ids=["step", "upkeep"])
def test_the_kit_finds_a_wrong_formula(rule: Algorithm) -> None:
    with pytest.raises(AssertionError, match="a step in phase"):
        AlgorithmContract().test_cost_equals_the_count(rule)
