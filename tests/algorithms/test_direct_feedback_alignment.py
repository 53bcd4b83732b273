"""Direct feedback alignment and DRTP against formulas written out, and against feedback alignment."""

from __future__ import annotations

import pytest
import torch

from bpfree.algorithms import DirectFeedbackAlignment, FeedbackAlignment
from bpfree.nets import mlp
from bpfree.testing.bench import RuleOnNet


@pytest.mark.parametrize("optimiser", ["adam", "sgd"])
@pytest.mark.parametrize("feedback", ["uniform", "normal", "orthogonal"])
def test_one_hidden_block_is_feedback_alignment(optimiser: str, feedback: str) -> None:
    """From the same seed, bit for bit in the draws and to rounding over five steps."""
    params = {"optimiser": optimiser, "feedback": feedback, "lr": 0.02}
    direct = RuleOnNet.start(DirectFeedbackAlignment(**params), mlp((2, 5), (9,), 4).double())
    swept = RuleOnNet.start(FeedbackAlignment(**params), mlp((2, 5), (9,), 4).double())
    assert torch.equal(direct.state.slot(0).feedback, swept.state.feedback()[0])
    for k, n in enumerate((8, 8, 5, 1, 8)):
        direct.step(direct.batch(n, k))
        swept.step(swept.batch(n, k))
    for mine, other in zip(direct.net.parameters(), swept.net.parameters(), strict=True):
        torch.testing.assert_close(mine, other, rtol=0, atol=1e-12)


@pytest.mark.parametrize("target", ["error", "labels"])
def test_update_is_the_formula(target: str) -> None:
    rule = DirectFeedbackAlignment(target=target, optimiser="sgd", momentum=0.0, lr=1.0)
    bench = RuleOnNet.start(rule, mlp(6, (5, 4), 3, "tanh").double())
    before = [p.detach().clone() for p in bench.net.parameters()]
    examples = bench.batch(7)
    w1, _, w2, _, v, _ = before
    a1 = torch.tanh(examples.x @ w1.t())
    a2 = torch.tanh(a1 @ w2.t())
    y = torch.nn.functional.one_hot(examples.y, 3).double()
    residual = (torch.softmax(a2 @ v.t(), 1) - y) / 7
    signal = residual if target == "error" else -y / 7
    dz1, dz2 = ((signal @ bench.state.slot(k).feedback) * (1 - a * a) for k, a in enumerate((a1, a2)))
    expected = [dz1.t() @ examples.x, dz1.sum(0), dz2.t() @ a1, dz2.sum(0), residual.t() @ a2, residual.sum(0)]
    bench.step(examples)
    for old, new, gradient in zip(before, bench.net.parameters(), expected, strict=True):
        torch.testing.assert_close(old - new.detach(), gradient, rtol=0, atol=1e-12)


def test_drtp_does_not_wait_for_the_output() -> None:
    """Hidden updates are the same whatever the output layer holds; those of DFA are not."""
    for target, same in (("labels", True), ("error", False)):
        ends = []
        for fill in (0.0, 1.0):
            bench = RuleOnNet.start(DirectFeedbackAlignment(target=target), mlp(6, (5, 4), 3))
            bench.net.output.weight.detach().fill_(fill).mul_(torch.arange(3.0)[:, None])
            bench.steps([8])
            ends.append(bench.net[1].linear.weight.detach().clone())
        assert torch.equal(*ends) is same
