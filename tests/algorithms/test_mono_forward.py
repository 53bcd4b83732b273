"""Mono-Forward, held against the paper's formulas written out plainly, and its two schedules."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from bpfree.algorithms import MonoForward
from bpfree.nets import Chain, mlp
from bpfree.testing.bench import RuleOnNet

CLOSE = {"atol": 1e-9, "rtol": 1e-9}


def autograd_step(net: Chain, heads: list[nn.Parameter], optimisers: list[torch.optim.Optimizer], batch, learning) -> Tensor:
    """All local losses with the activity detached between blocks, by autograd and torch.optim."""
    a, losses = batch.x, []
    for k in range(max(learning) + 1):
        h = net[k](a.detach())
        if k in learning:
            loss = nn.functional.cross_entropy(h.flatten(1) @ heads[k].t(), batch.y)
            optimisers[k].zero_grad()
            loss.backward()
            losses.append(loss.detach())
        a = h.detach()
    for k in learning:
        optimisers[k].step()
    return torch.stack(losses)


@pytest.mark.parametrize("schedule", ["joint", "staged"])
@pytest.mark.parametrize("activation", ["relu", "tanh"])
@pytest.mark.parametrize("optimiser", ["adam", "sgd"])
def test_steps_are_the_papers(schedule: str, activation: str, optimiser: str) -> None:
    """With SGD too, which sees the length of a gradient."""
    decay = 0.1 if optimiser == "adam" else 0.0
    rule = MonoForward(lr=0.01, weight_decay=decay, schedule=schedule, optimiser=optimiser)
    bench = RuleOnNet.start(rule, mlp((3, 4), (9, 7, 8), 4, activation).double())
    twin = bench.copy()
    heads = [twin.state.slot(k).projection for k in range(3)]
    make = {
        "adam": lambda parameters: torch.optim.AdamW(parameters, lr=0.01, weight_decay=decay),
        "sgd": lambda parameters: torch.optim.SGD(parameters, lr=0.01, momentum=0.9),
    }[optimiser]
    optimisers = [make([*twin.net[k].parameters(), heads[k]]) for k in range(3)]
    for phase in bench.phases:
        for index, n in enumerate((8, 5, 1)):
            batch = bench.batch(n, index + 10 * phase.index)
            expected = autograd_step(twin.net, heads, optimisers, batch, phase.learning)
            torch.testing.assert_close(bench.step(batch, phase), expected, **CLOSE)
    theirs = dict(twin.parameters())
    for name, value in bench.parameters():
        torch.testing.assert_close(value, theirs[name], **CLOSE)


def test_the_last_projection_is_the_output_and_its_bias_stays_zero() -> None:
    bench = RuleOnNet.start(MonoForward(), mlp(12, (9, 7), 4))
    bench.steps([8, 8])
    assert bench.state.slot(1).projection is bench.net.output.weight
    assert not bench.net.output.bias.any()
    x = bench.batch(5, 50).x
    torch.testing.assert_close(bench.net(x), bench.algorithm.scores(bench.net, bench.state, x, bench.last_phase))


def test_readouts() -> None:
    """``last`` is the last block's scores; ``sum`` adds those of the blocks before it."""
    x = RuleOnNet.start(MonoForward(), mlp(12, (9, 7), 4)).batch(5).x
    parts = {}
    for readout in ("last", "sum"):
        bench = RuleOnNet.start(MonoForward(readout=readout), mlp(12, (9, 7), 4))
        for block in bench.net:
            block.reset_parameters(torch.Generator().manual_seed(5))
        parts[readout] = bench.algorithm.scores(bench.net, bench.state, x, bench.last_phase)
    first = bench.net[0](x) @ bench.state.slot(0).projection.t()
    torch.testing.assert_close(parts["sum"], parts["last"] + first)


def test_a_stage_trains_its_block_alone() -> None:
    bench = RuleOnNet.start(MonoForward(schedule="staged"), mlp(12, (9, 7, 8), 4))
    assert [phase.learning for phase in bench.phases] == [(0,), (1,), (2,)]
    for phase in bench.phases:
        before = bench.values()
        bench.steps([8, 8], phase=phase)
        moved = {name for name, value in bench.values().items() if not torch.equal(value, before[name])}
        blocks = {name.split(".")[2] for name in moved if name.startswith(("net.blocks.", "state.slots."))}
        assert blocks == {str(phase.index)}
        assert ("net.output.weight" in moved) == (phase.index == 2)


def test_a_stage_can_be_read_out_before_the_next_begins() -> None:
    """After the first stage the scores are those of the first block, whatever the later ones hold."""
    bench = RuleOnNet.start(MonoForward(schedule="staged"), mlp(12, (9, 7), 4))
    x, phase = bench.batch(5, 50).x, bench.phases[0]
    bench.steps([8, 8], phase=phase)
    expected = bench.net[0](x) @ bench.state.slot(0).projection.t()
    torch.testing.assert_close(bench.algorithm.scores(bench.net, bench.state, x, phase), expected)


def test_with_one_block_joint_and_staged_are_the_same() -> None:
    """Test 6 of the specification; the third way, backprop without output bias, is the contract's theorem."""
    ends = []
    for schedule in ("joint", "staged"):
        bench = RuleOnNet.start(MonoForward(schedule=schedule), mlp(12, (9,), 4))
        bench.all_phases([8, 8, 5])
        ends.append(bench.values())
    assert ends[0].keys() == ends[1].keys()
    assert all(torch.equal(ends[0][name], ends[1][name]) for name in ends[0])


def test_projections_start_uniform_in_their_interval() -> None:
    bench = RuleOnNet.start(MonoForward(), mlp(12, (400, 7), 50))
    projection = bench.state.slot(0).projection.detach()
    assert projection.shape == (50, 400)
    assert float(projection.abs().max()) <= 400**-0.5
    assert float(projection.std()) == pytest.approx(400**-0.5 / 3**0.5, rel=0.02)


def test_extra_parameters_are_the_heads_that_are_not_the_output() -> None:
    traits = MonoForward().traits(mlp(12, (9, 7, 8), 4))
    assert traits.extra_parameters == 4 * (9 + 7)
    assert traits.note == "all blocks on every batch"
    assert MonoForward(schedule="staged").traits(mlp(12, (9,), 4)).note == "one block after another"
