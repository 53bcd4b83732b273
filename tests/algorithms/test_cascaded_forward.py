"""Cascaded-Forward: predictors, the closed form, block training by direct feedback, phases, BatchNorm."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from local_reference import EXACT, NETS, assert_same, batch_of, by_autograd, conv, dense, maps, stepped
from torch import Tensor

from bpfree import Patience, fit, training
from bpfree.algorithms import CascadedForward, State
from bpfree.algorithms._closed_form import block_activity
from bpfree.data import Dataset, load
from bpfree.meter import count_flops
from bpfree.nets import Chain, build, mlp
from bpfree.numerics.sparsemax import sparsemax_loss
from bpfree.testing.bench import RuleOnNet

BATCH = batch_of(7)


def digits() -> Dataset:
    return load("digits").limited(300).without_test()


def digits_net(*widths: int) -> Chain:
    return mlp((1, 8, 8), widths, 10)


def frozen_features(net: Chain, x: Tensor) -> list[Tensor]:
    found = []
    for block in net:
        x = block_activity(block, x).detach()
        found.append(block.features(x))
    return found


@pytest.mark.parametrize("predictor", ["cross-entropy", "sparsemax"])
@pytest.mark.parametrize("kind", list(NETS))
def test_predictors_learn_from_one_pass_of_frozen_blocks(kind: str, predictor: str) -> None:
    criterion = F.cross_entropy if predictor == "cross-entropy" else sparsemax_loss

    def loss(net: Chain, state: State) -> Tensor:
        scores = [h @ state.slot(k).projection.t() for k, h in enumerate(frozen_features(net, BATCH.x))]
        return torch.stack([criterion(s, BATCH.y) for s in scores]).sum()

    rule = CascadedForward(predictor=predictor)
    net = NETS[kind]()
    phase = rule.phases(net)[-1]
    bench, gradients, losses = stepped(rule, net, BATCH, phase)
    assert losses.shape == (len(net),)
    assert_same(gradients, by_autograd(loss, bench))
    assert not any(name.startswith("net.") for name in gradients)


@pytest.mark.parametrize("maths", ["auto", "autograd"])
@pytest.mark.parametrize("kind", list(NETS))
def test_blocks_learn_by_direct_feedback(kind: str, maths: str) -> None:
    """Each block's gradient is the product of its own Jacobian with the error that its feedback brings."""

    def loss(net: Chain, state: State) -> Tensor:
        x, inner = BATCH.x, []
        for block in net:
            x = block(x.detach())
            inner.append(block.features(x))
        output = F.cross_entropy(net.output(inner[-1]), BATCH.y)
        probabilities = torch.softmax(net.output(inner[-1]).detach(), 1)
        error = (probabilities - F.one_hot(BATCH.y, net.n_classes)) / len(BATCH.y)
        local = [(h * (error @ state.slot(k).feedback)).sum() for k, h in enumerate(inner[:-1])]
        return torch.stack([*local, output]).sum()

    rule = CascadedForward(blocks="dfa", maths=maths)
    bench, gradients, _ = stepped(rule, NETS[kind](), BATCH)
    assert_same(gradients, by_autograd(loss, bench))
    assert not any("projection" in name for name in gradients)
    for k in range(len(bench.net) - 1):
        torch.testing.assert_close(bench.state.slot(k).feedback.norm(dim=1), torch.ones(3, dtype=torch.float64))


def test_ridge_after_one_pass_is_least_squares_with_that_ridge() -> None:
    data = digits().to("cpu", torch.float64)
    net = digits_net(20, 15).double()
    result = fit(CascadedForward(predictor="ridge", ridge=1e-2), net, data, Patience(3, max_passes=10), batch_size=37)
    assert result.passes == 1
    everything = next(iter(data.batches("train", data.n("train"), shuffle=False)))
    for k, h in enumerate(frozen_features(net, everything.x)):
        eye = (1e-2 * h.square().sum() / h.shape[1]).sqrt() * torch.eye(h.shape[1], dtype=torch.float64)
        target = torch.cat([F.one_hot(everything.y, 10).double(), torch.zeros(h.shape[1], 10, dtype=torch.float64)])
        expected = torch.linalg.lstsq(torch.cat([h, eye]), target).solution
        torch.testing.assert_close(result.state.slot(k).projection.t(), expected, rtol=0, atol=1e-6)


def test_ridge_is_solved_before_the_validation_of_its_pass() -> None:
    (progress,) = training(CascadedForward(predictor="ridge"), digits_net(60, 60), digits(), Patience(None, max_passes=9))
    assert progress.val_accuracy > 0.85


def test_close_solves_once_for_what_was_gathered() -> None:
    bench = RuleOnNet.start(CascadedForward(predictor="ridge"), dense())
    bench.steps([8, 8])
    assert bench.state.slot(0).projection.abs().max() == 0
    bench.algorithm.close(bench.net, bench.state, bench.last_phase)
    solved = bench.state.slot(0).projection.clone()
    assert solved.abs().max() > 0
    bench.algorithm.close(bench.net, bench.state, bench.last_phase)
    assert torch.equal(bench.state.slot(0).projection, solved)


@pytest.mark.parametrize(
    ("rule", "kind", "names", "limits"),
    [
        (CascadedForward(), "dense", ["all predictors"], [None]),
        (CascadedForward(), "conv", ["statistics", "all predictors"], [1, None]),
        (CascadedForward(predictor="ridge"), "conv", ["statistics", "all predictors"], [1, 1]),
        (CascadedForward(blocks="dfa"), "conv", ["blocks", "all predictors"], [None, None]),
        (
            CascadedForward(blocks="dfa", block_passes=5, predictors="staged"),
            "conv",
            ["blocks", *(f"predictor {k} of 3" for k in (1, 2, 3))],
            [5, None, None, None],
        ),
    ],
    ids=str,
)
def test_phases(rule: CascadedForward, kind: str, names: list[str], limits: list[int | None]) -> None:
    phases = rule.phases(NETS[kind]())
    assert [phase.name for phase in phases] == names
    assert [phase.max_passes for phase in phases] == limits


def test_a_phase_that_needs_few_passes_leaves_the_rest_to_the_next() -> None:
    rule = CascadedForward(blocks="dfa", block_passes=1)
    passes = [p.phase.name for p in training(rule, digits_net(10, 10), digits(), Patience(None, max_passes=4))]
    assert passes == ["blocks", *["all predictors"] * 3]


def test_running_statistics_come_from_the_training_data_and_stay() -> None:
    bench = RuleOnNet.start(CascadedForward(), maps())
    statistics, predictors = bench.phases
    norm = bench.net[0].norm
    before = norm.running_mean.clone()
    bench.step(bench.batch(16), statistics)
    assert not torch.equal(norm.running_mean, before)
    assert all(value.abs().max() == 0 for name, value in bench.parameters() if "projection" in name)
    kept = {name: value.clone() for name, value in bench.net.state_dict().items()}
    bench.steps([16, 8, 1], phase=predictors)
    bench.algorithm.scores(bench.net, bench.state, bench.batch(9).x, predictors)  # the net is in training mode
    assert bench.net.training
    for name, value in bench.net.state_dict().items():
        assert torch.equal(value, kept[name]), name


def test_joint_and_staged_predictors_are_the_same_convex_problems() -> None:
    """The first predictor learns the same from the same batches, whether the others learn beside it or not."""
    joint, staged = RuleOnNet.start(CascadedForward(), dense()), RuleOnNet.start(CascadedForward(predictors="staged"), dense())
    joint.steps([8, 8, 5])
    staged.steps([8, 8, 5], phase=staged.phases[0])
    assert torch.equal(joint.state.slot(0).projection, staged.state.slot(0).projection)
    assert staged.state.slot(1).projection.abs().max() == 0


@pytest.mark.parametrize("predictor", ["cross-entropy", "sparsemax"])
def test_scores_are_the_log_of_the_mean_probability_or_the_sum_of_logits(predictor: str) -> None:
    bench = RuleOnNet.start(CascadedForward(predictor=predictor), dense())
    bench.steps([8] * 4)
    x = bench.batch(6, 70).x
    scores = bench.algorithm.scores(bench.net, bench.state, x, bench.last_phase)
    torch.testing.assert_close(scores.exp().sum(1), torch.ones(6, dtype=torch.float64), **EXACT)
    logits = [h @ bench.state.slot(k).projection.t() for k, h in enumerate(frozen_features(bench.net, x))]
    by_sum = CascadedForward(predictor=predictor, combine="logits")
    torch.testing.assert_close(by_sum.scores(bench.net, bench.state, x, bench.last_phase), sum(logits))


def test_while_blocks_learn_the_net_itself_predicts() -> None:
    bench = RuleOnNet.start(CascadedForward(blocks="dfa"), conv())
    bench.steps([8, 8], phase=bench.phases[0])
    bench.net.eval()
    x = bench.batch(4).x
    torch.testing.assert_close(bench.algorithm.scores(bench.net, bench.state, x, bench.phases[0]), bench.net(x), **EXACT)


def test_a_block_pass_costs_no_backward_sweep() -> None:
    """Forward and weight gradients only: at most 0.75 of backprop on the net of the paper."""
    from bpfree.algorithms import Backprop

    def cost(rule: CascadedForward | Backprop) -> int:
        bench = RuleOnNet.start(rule, build("cnn3", (1, 28, 28), 10))
        return count_flops(lambda: bench.step(bench.batch(2), bench.phases[0]))

    assert cost(CascadedForward(blocks="dfa")) <= 0.75 * cost(Backprop())
