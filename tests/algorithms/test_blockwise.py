"""Blockwise training: both ends of the dial are rules that are known, and in between a group is all that anything follows."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from local_reference import EXACT, NETS, assert_same, batch_of, by_autograd, stepped
from torch import Tensor

from bpfree.algorithms import Algorithm, Backprop, Blockwise, MonoForward, State, _gather
from bpfree.errors import UsageError
from bpfree.meter import live_memory
from bpfree.nets import Chain, mlp
from bpfree.testing.bench import RuleOnNet

CLOSED = ("dense", "conv", "maps")
OPTIMISERS = ({"weight_decay": 0.1}, {"optimiser": "sgd", "lr": 0.1, "momentum": 0.5})


def both(rule: Algorithm, twin: Algorithm, kind: str, options: dict[str, Any]) -> tuple[RuleOnNet, RuleOnNet]:
    """Two rules with the same optimiser from the same seed."""
    shared = {"lr": 0.01} | options
    return tuple(RuleOnNet.start(dataclasses.replace(each, **shared), NETS[kind](), seed=2) for each in (rule, twin))


@pytest.mark.parametrize("options", OPTIMISERS, ids=("adam", "sgd"))
@pytest.mark.parametrize("kind", list(NETS))
def test_with_a_reach_of_one_it_is_joint_mono_forward_bit_for_bit(kind: str, options: dict[str, Any]) -> None:
    ours, theirs = both(Blockwise(reach=1), MonoForward(), kind, options)
    for k, n in enumerate((8, 8, 5)):
        assert torch.equal(ours.step(batch_of(n, k)), theirs.step(batch_of(n, k)))
    mine, other = ours.tensors(), theirs.tensors()
    assert mine.keys() == other.keys()
    assert all(torch.equal(mine[name], other[name]) for name in mine)
    x = batch_of(4, 9).x
    assert torch.equal(*(each.algorithm.scores(each.net, each.state, x, each.last_phase) for each in (ours, theirs)))


@pytest.mark.parametrize("options", OPTIMISERS, ids=("adam", "sgd"))
@pytest.mark.parametrize("reach", [3, 7])
@pytest.mark.parametrize("kind", list(NETS))
def test_with_a_reach_of_the_depth_it_is_backprop_without_an_output_bias(kind: str, reach: int, options: dict[str, Any]) -> None:
    """Bit for bit in closed form; to rounding on blocks that need autograd."""
    ours, theirs = both(Blockwise(reach=reach), Backprop(), kind, options)
    exact = {"rtol": 0, "atol": 0} if kind in CLOSED else EXACT
    for k, n in enumerate((8, 8, 5)):
        torch.testing.assert_close(ours.step(batch_of(n, k)), theirs.step(batch_of(n, k)), **exact)
        theirs.net.output.bias.detach().zero_()
    torch.testing.assert_close(ours.net.state_dict(), theirs.net.state_dict(), **exact)


@pytest.mark.parametrize("maths", ["auto", "autograd"])
@pytest.mark.parametrize("kind", ["dense", "conv"])
def test_in_between_it_follows_the_loss_of_each_group_detached_from_the_others(kind: str, maths: str) -> None:
    """Three blocks, a reach of two: a group of two blocks, and one of the last alone."""

    def loss(net: Chain, state: State) -> Tensor:
        a = net[1](net[0](batch.x))
        first = F.cross_entropy(net[1].features(a) @ state.slot(1).projection.t(), batch.y)
        return first + F.cross_entropy(net[2].features(net[2](a.detach())) @ net.output.weight.t(), batch.y)

    batch = batch_of(7)
    bench, gradients, losses = stepped(Blockwise(reach=2, maths=maths), NETS[kind](), batch)
    assert losses.shape == (2,)
    assert_same(gradients, by_autograd(loss, bench))


def tensors_up_to(bench: RuleOnNet, k: int) -> list[Tensor]:
    """Parameters and slots of blocks 0 to ``k``."""
    modules = [*list(bench.net)[: k + 1], *list(bench.state.slots)[: k + 1]]
    return [tensor.detach() for module in modules for tensor in module.state_dict().values()]


def test_no_update_of_a_group_reads_a_later_one() -> None:
    """Scrambled blocks and heads behind block k leave the updates up to it bitwise unchanged only where k ends a group."""
    plain = RuleOnNet.start(Blockwise(reach=2), mlp(12, (9, 8, 7, 6, 5), 4))
    for k in range(4):
        benches = plain.copy(), plain.copy()
        for module in [*list(benches[1].net)[k + 1 :], *list(benches[1].state.slots)[k + 1 :]]:
            for tensor in module.state_dict().values():
                tensor.copy_(torch.rand(tensor.shape, generator=torch.Generator().manual_seed(3)) + 0.5)
        for bench in benches:
            bench.step(bench.batch(8))
        ours, theirs = (tensors_up_to(bench, k) for bench in benches)
        assert all(map(torch.equal, ours, theirs)) == (k in (1, 3))


def test_live_bytes_follow_the_reach_and_not_the_depth(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_gather, "GATHER_BYTES", 0)  # as on a net that is not small
    n, width = 64, 64
    one_activity = n * width * 4

    def peak(depth: int, reach: int) -> int:
        bench = RuleOnNet.start(Blockwise(reach=reach), mlp(width, (width,) * depth, 4))
        bench.steps([n])
        batch = bench.batch(n, 1)
        return live_memory(lambda: bench.step(batch)).peak_bytes

    assert abs(peak(32, 2) - peak(8, 2)) < one_activity
    for short, long in ((2, 4), (4, 8)):
        assert peak(32, long) - peak(32, short) > (long - short - 0.5) * one_activity


def test_heads_stand_at_the_borders_alone() -> None:
    net = mlp(12, (9, 8, 7, 6, 5), 4)
    rule = Blockwise(reach=2)
    bench = RuleOnNet.start(rule, net)
    assert [hasattr(slot, "projection") for slot in bench.state.slots] == [False, True, False, True, True]
    assert bench.state.slot(4).projection is bench.net.output.weight
    traits = rule.traits(net)
    assert (traits.extra_parameters, traits.gradient_path, traits.local) == (4 * (8 + 6), 3, False)
    assert traits.note == "3 groups of at most 2 blocks; no gradient crosses their borders"
    whole = Blockwise(reach=9).traits(net)
    assert (whole.extra_parameters, whole.gradient_path, whole.local) == (0, Backprop().traits(net).gradient_path, False)


def test_the_plain_net_predicts_alike() -> None:
    bench = RuleOnNet.start(Blockwise(), mlp(12, (9, 8, 7), 4))
    bench.steps([8, 8])
    x = bench.batch(5).x
    assert bench.net.output.bias.abs().max() == 0
    torch.testing.assert_close(bench.algorithm.scores(bench.net, bench.state, x, bench.last_phase), bench.net(x))


@pytest.mark.parametrize("reach", [0, -1, 1.5])
def test_a_reach_below_one_is_refused(reach: float) -> None:
    with pytest.raises(UsageError, match="blockwise: reach must be a whole number at least 1, got") as caught:
        Blockwise(reach=reach)  # pyright: ignore[reportArgumentType]
    assert "\n" not in str(caught.value)
