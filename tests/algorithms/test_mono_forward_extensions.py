"""Mono-Forward on every kind of block, and the projection of the raw input that only a reproduction wants."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from local_reference import NETS, assert_same, batch_of, by_autograd, dense, stepped
from torch import Tensor

from bpfree import Patience, fit
from bpfree.algorithms import MonoForward, State
from bpfree.data import load
from bpfree.nets import Chain, mlp
from bpfree.testing.bench import RuleOnNet
from bpfree.train import evaluate

BATCH = batch_of(7)


def _loss(net: Chain, state: State) -> Tensor:
    x, total = BATCH.x, torch.zeros((), dtype=torch.float64)
    for k, block in enumerate(net):
        x = block(x.detach())
        total = total + F.cross_entropy(block.features(x) @ state.slot(k).projection.t(), BATCH.y)
    return total


@pytest.mark.parametrize("maths", ["auto", "autograd"])
@pytest.mark.parametrize("kind", list(NETS))
def test_gradient_is_that_of_the_local_losses(kind: str, maths: str) -> None:
    bench, gradients, _ = stepped(MonoForward(maths=maths), NETS[kind](), BATCH)
    assert_same(gradients, by_autograd(_loss, bench))


def test_the_raw_projection_learns_by_its_own_cross_entropy() -> None:
    def loss(net: Chain, state: State) -> Tensor:
        return _loss(net, state) + F.cross_entropy(BATCH.x.flatten(1) @ state.raw.projection.t(), BATCH.y)

    bench, gradients, _ = stepped(MonoForward(raw_projection=True), dense(), BATCH)
    assert_same(gradients, by_autograd(loss, bench))


def test_the_raw_projection_changes_nothing_else() -> None:
    plain, raw = RuleOnNet.start(MonoForward(), dense()), RuleOnNet.start(MonoForward(raw_projection=True), dense())
    for bench in (plain, raw):
        bench.steps([8, 8])
    for name, value in plain.parameters():
        assert torch.equal(value, dict(raw.parameters())[name])
    assert raw.algorithm.traits(raw.net).extra_parameters - plain.algorithm.traits(plain.net).extra_parameters == 3 * 60


def test_staged_it_is_a_phase_of_its_own() -> None:
    bench = RuleOnNet.start(MonoForward(schedule="staged", raw_projection=True), dense())
    first = bench.phases[0]
    assert [phase.name for phase in bench.phases] == ["raw input", *(f"block {k} of 3" for k in (1, 2, 3))]
    before = bench.values()
    bench.step(bench.batch(8), first)
    changed = {name for name, value in bench.parameters() if not torch.equal(value, before[name])}
    assert changed == {"state.raw.projection"}
    assert bench.algorithm.scores(bench.net, bench.state, bench.batch(4).x, first).shape == (4, 3)
    before = bench.values()
    bench.step(bench.batch(8), bench.phases[1])
    assert torch.equal(bench.state.raw.projection, before["state.raw.projection"])


def test_best_prefix_is_the_block_whose_scores_are_best_on_validation() -> None:
    data = load("digits").limited(300)
    net = mlp(data.in_shape, (40, 20, 3), data.n_classes)  # three units cannot tell ten digits apart
    rule = MonoForward(readout="best-prefix", lr=3e-3)
    result = fit(rule, net, data.without_test(), Patience(None, max_passes=6))
    chosen = int(result.state.prefix.argmax())
    assert result.state.prefix.sum() == 1
    assert chosen < 2
    phase = rule.phases(net)[0]
    x, y = next((b.x, b.y) for b in data.batches("validation", 10000, shuffle=False))
    net.eval()
    accuracy = (rule.candidates(net, result.state, x, phase).argmax(2) == y).double().mean(1)
    assert accuracy.argmax() == chosen
    assert result.val_accuracy == pytest.approx(float(accuracy[chosen]))
    assert evaluate(rule, net, result.state, data, "validation", phase).accuracy == pytest.approx(result.val_accuracy)
    assert result.val_accuracy > evaluate(MonoForward(), net, result.state, data, "validation", phase).accuracy


def test_before_validation_has_chosen_the_last_block_is_read() -> None:
    bench = RuleOnNet.start(MonoForward(readout="best-prefix"), dense())
    x = bench.batch(4).x
    ours = bench.algorithm.scores(bench.net, bench.state, x, bench.last_phase)
    torch.testing.assert_close(ours, MonoForward().scores(bench.net, bench.state, x, bench.last_phase))
