"""Mono-Forward on every kind of block, and the projection of the raw input that only a reproduction wants."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from local_reference import NETS, assert_same, batch_of, by_autograd, dense, stepped
from torch import Tensor

from bpfree.algorithms import MonoForward, State
from bpfree.nets import Chain
from bpfree.testing.bench import Bench

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
    plain, raw = Bench.start(MonoForward(), dense()), Bench.start(MonoForward(raw_projection=True), dense())
    for bench in (plain, raw):
        bench.steps([8, 8])
    for name, value in plain.parameters():
        assert torch.equal(value, dict(raw.parameters())[name])
    assert raw.algorithm.traits(raw.net).extra_parameters - plain.algorithm.traits(plain.net).extra_parameters == 3 * 60


def test_staged_it_is_a_phase_of_its_own() -> None:
    bench = Bench.start(MonoForward(schedule="staged", raw_projection=True), dense())
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
