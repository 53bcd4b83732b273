"""Feedback alignment: backprop in the limit of exact feedback, random otherwise; the weights turn towards it."""

from __future__ import annotations

import pytest
import torch

from bpfree.algorithms import Backprop, FeedbackAlignment, Foton, check_net
from bpfree.errors import UsageError
from bpfree.nets import Chain, mlp
from bpfree.testing.bench import ForeignBlock, RuleOnNet, blobs

EXACT = {"rtol": 0.0, "atol": 1e-12}


def later_weights(net: Chain) -> list[torch.Tensor]:
    return [p.detach() for name, p in net.named_parameters() if name.endswith("weight")][1:]


def make(activation: str = "tanh") -> Chain:
    return mlp((2, 5), (9, 8, 7), 4, activation).double()


@pytest.mark.parametrize("maths", ["closed", "autograd"])
@pytest.mark.parametrize("activation", ["relu", "leaky-relu", "tanh", "identity"])
def test_feedback_of_the_weights_is_backprop(activation: str, maths: str) -> None:
    ours = RuleOnNet.start(FeedbackAlignment(maths=maths), make(activation))
    theirs = RuleOnNet.start(Backprop(lr=ours.algorithm.lr), make(activation))
    for k, n in enumerate((8, 8, 5, 1)):
        for buffer, weight in zip(ours.state.feedback(), later_weights(ours.net), strict=True):
            buffer.copy_(weight)
        torch.testing.assert_close(ours.step(ours.batch(n, k)), theirs.step(theirs.batch(n, k)), **EXACT)
        for mine, reference in zip(ours.net.parameters(), theirs.net.parameters(), strict=True):
            torch.testing.assert_close(mine, reference, **EXACT)


def test_random_feedback_is_not_backprop_and_stays_fixed() -> None:
    ours, theirs = RuleOnNet.start(FeedbackAlignment(lr=1e-2), make()), RuleOnNet.start(Backprop(lr=1e-2), make())
    before = [matrix.clone() for matrix in ours.state.feedback()]
    for bench in (ours, theirs):
        bench.steps([8, 8])
    assert not torch.allclose(ours.net[0].linear.weight, theirs.net[0].linear.weight)
    assert all(torch.equal(a, b) for a, b in zip(before, ours.state.feedback(), strict=True))


def test_weights_turn_towards_the_feedback() -> None:
    """The paper's observation: the angle between V and B_V falls below a right angle while the net learns."""
    data = blobs()
    bench = RuleOnNet.start(FeedbackAlignment(lr=1e-2, optimiser="sgd"), mlp(16, (30,), 4, "tanh"))

    def cosine() -> float:
        v, b = bench.net.output.weight.detach(), bench.state.feedback()[-1]
        return float((v * b).sum() / (v.norm() * b.norm()))

    before = cosine()
    for index in range(10):
        for batch in data.batches("train", 32, pass_index=index):
            bench.step(batch)
    assert abs(before) < 0.3
    assert cosine() > before + 0.3


def test_other_blocks_are_refused_with_the_cure() -> None:
    net = Chain([ForeignBlock((6,), 5)], 3)
    with pytest.raises(UsageError, match=r"block 0 .* direct-feedback-alignment, which takes any block"):
        check_net(FeedbackAlignment(), net)
    with pytest.raises(UsageError, match="block 0"):
        check_net(Foton(), net)
