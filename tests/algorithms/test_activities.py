"""Backprop's tricks to save memory: checkpointing, and the update inside the sweep. Bit for bit the same training."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from bpfree.algorithms import Backprop
from bpfree.meter import count_flops, live_memory
from bpfree.nets import Chain, ConvBlock, DenseBlock, ModuleBlock, mlp
from bpfree.testing.bench import BLOCK_KINDS, RuleOnNet, chain

EVERY = (1, 2, 3, 4, 5, 7)


def noisy() -> Chain:
    """BatchNorm and dropout in blocks with and without closed form: what must not happen twice, and what must be drawn alike."""
    first = ConvBlock((1, 4, 4), 3, norm=True)
    normed = nn.Sequential(nn.Flatten(), nn.Linear(48, 12), nn.BatchNorm1d(12), nn.ReLU(), nn.Dropout(0.5))
    second = ModuleBlock(first.out_shape, normed)
    third = ModuleBlock((12,), nn.Sequential(nn.Linear(12, 12), nn.Dropout(0.3), nn.Tanh()))
    return Chain([first, second, third, DenseBlock((12,), 9), DenseBlock((9,), 8)], 4)


def states(bench: RuleOnNet) -> dict[str, torch.Tensor]:
    return {**bench.net.state_dict(), **bench.state.state_dict()}


def trained(rule: Backprop, net: Chain) -> tuple[RuleOnNet, list[float]]:
    bench = RuleOnNet.start(rule, net, seed=3)
    torch.manual_seed(11)
    return bench, [float(bench.step(bench.batch(n, n))) for n in (8, 8, 5)]


@pytest.mark.parametrize("update", ["after-sweep", "in-sweep"])
@pytest.mark.parametrize("every", EVERY)
@pytest.mark.parametrize("kind", [*BLOCK_KINDS, "noisy"])
def test_no_bit_changes(kind: str, every: int, update: str) -> None:
    def net() -> Chain:
        return noisy() if kind == "noisy" else chain(BLOCK_KINDS[kind], (3, 4), (9, 8, 7, 6, 5), 4)

    plain, plain_losses = trained(Backprop(lr=0.01, weight_decay=0.1), net())
    again, losses = trained(Backprop(lr=0.01, weight_decay=0.1, checkpoint_every=every, update=update), net())
    assert losses == plain_losses
    for name, value in states(plain).items():
        assert torch.equal(value, states(again)[name]), name


def test_the_random_numbers_of_the_caller_go_on_as_without() -> None:
    after = []
    for every in (0, 2):
        trained(Backprop(checkpoint_every=every), noisy())
        after.append(torch.rand(3))
    assert torch.equal(*after)


def test_memory_falls_and_only_the_earlier_segments_run_again() -> None:
    def cost(every: int) -> tuple[int, int]:
        bench = RuleOnNet.start(Backprop(checkpoint_every=every), mlp(64, (64,) * 16, 10))
        batch = bench.batch(256)
        flops = count_flops(lambda: bench.step(batch))
        return live_memory(lambda: bench.step(batch)).peak_bytes, flops

    (all_bytes, flops), (few_bytes, more_flops) = cost(0), cost(4)
    assert few_bytes < 0.6 * all_bytes
    assert more_flops - flops == 12 * 2 * 256 * 64 * 64


@pytest.mark.parametrize(("every", "passes"), [(0, 1.0), (1, 1.75), (2, 1.5), (3, 1.75), (4, 1.0), (9, 1.0)])
def test_traits_count_what_runs_again(every: int, passes: float) -> None:
    assert Backprop(checkpoint_every=every).traits(mlp(8, (8,) * 4, 3)).forward_passes == passes
