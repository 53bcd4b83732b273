"""Deep supervision: backprop through Mono-Forward's heads, and what ties it to both."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from local_reference import EXACT, NETS, assert_same, batch_of, by_autograd, dense, stepped
from torch import Tensor

from bpfree.algorithms import Backprop, DeepSupervision, MonoForward, State
from bpfree.nets import Chain
from bpfree.testing.bench import RuleOnNet

BATCH = batch_of(7)


@pytest.mark.parametrize("maths", ["auto", "autograd"])
@pytest.mark.parametrize("kind", list(NETS))
def test_gradient_is_that_of_the_summed_losses(kind: str, maths: str) -> None:
    def loss(net: Chain, state: State) -> Tensor:
        x, total = BATCH.x, torch.zeros((), dtype=torch.float64)
        for k, block in enumerate(net):
            x = block(x)
            weight = 1.0 if k == len(net) - 1 else 0.3
            total = total + weight * F.cross_entropy(block.features(x) @ state.slot(k).projection.t(), BATCH.y)
        return total

    bench, gradients, losses = stepped(DeepSupervision(aux_weight=0.3, maths=maths), NETS[kind](), BATCH)
    assert losses.shape == (len(bench.net),)
    assert_same(gradients, by_autograd(loss, bench))


def test_without_auxiliary_weight_it_is_backprop() -> None:
    bench, gradients, _ = stepped(DeepSupervision(aux_weight=0.0), dense(), BATCH)
    _, backprop, _ = stepped(Backprop(), dense(), BATCH)
    del backprop["net.output.bias"]  # the last head has none
    assert_same(gradients, backprop)
    assert bench.net.output.bias.abs().max() == 0


def test_it_starts_as_mono_forward_does_and_differs_only_before_the_last_block() -> None:
    ours, supervised, losses = stepped(DeepSupervision(), dense(), BATCH)
    theirs, mono, mono_losses = stepped(MonoForward(), dense(), BATCH)
    for name, value in theirs.parameters():
        assert torch.equal(value, dict(ours.parameters())[name])
    torch.testing.assert_close(losses, mono_losses, **EXACT)
    for name in ("net.blocks.2.linear.weight", "net.output.weight", "state.slots.0.projection"):
        torch.testing.assert_close(supervised[name], mono[name], **EXACT)
    assert not torch.allclose(supervised["net.blocks.0.linear.weight"], mono["net.blocks.0.linear.weight"])


def test_with_readout_last_the_plain_net_predicts_alike() -> None:
    bench = RuleOnNet.start(DeepSupervision(), dense())
    bench.steps([8, 8])
    x = bench.batch(5).x
    assert torch.equal(bench.algorithm.scores(bench.net, bench.state, x, bench.last_phase), bench.net(x))


@pytest.mark.parametrize("maths", ["auto", "autograd"])
@pytest.mark.parametrize("kind", list(NETS))
def test_with_an_output_of_its_own_every_head_is_auxiliary(kind: str, maths: str) -> None:
    def loss(net: Chain, state: State) -> Tensor:
        x, total = BATCH.x, torch.zeros((), dtype=torch.float64)
        for k, block in enumerate(net):
            x = block(x)
            total = total + 0.3 * F.cross_entropy(block.features(x) @ state.slot(k).projection.t(), BATCH.y)
        return total + F.cross_entropy(net.output(net[-1].features(x)), BATCH.y)

    bench, gradients, losses = stepped(DeepSupervision(aux_weight=0.3, output="own", maths=maths), NETS[kind](), BATCH)
    assert_same(gradients, by_autograd(loss, bench))
    torch.testing.assert_close(losses, loss(bench.net, bench.state).reshape(1), **EXACT)


def test_with_an_output_of_its_own_and_no_auxiliary_weight_it_is_backprop_with_its_bias() -> None:
    _, gradients, _ = stepped(DeepSupervision(aux_weight=0.0, output="own"), dense(), BATCH)
    _, backprop, _ = stepped(Backprop(), dense(), BATCH)
    assert "net.output.bias" in gradients
    assert_same(gradients, backprop)


def test_with_an_output_of_its_own_the_output_is_read_and_the_heads_on_request() -> None:
    benches = [RuleOnNet.start(DeepSupervision(output="own", readout=readout), dense()) for readout in ("last", "sum")]
    last, every = (bench.algorithm.scores(bench.net, bench.state, BATCH.x, bench.last_phase) for bench in benches)
    x, heads = BATCH.x, 0.0
    for k, block in enumerate(benches[1].net):
        x = block(x)
        heads = heads + block.features(x) @ benches[1].state.slot(k).projection.t()
    assert torch.equal(last, benches[0].net(BATCH.x))
    torch.testing.assert_close(every, last + heads, **EXACT)
    assert benches[0].algorithm.traits(dense()).extra_parameters == 3 * (8 + 7 + 6)
