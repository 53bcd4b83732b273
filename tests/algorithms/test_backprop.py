"""Backprop, held against torch's own training loop."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from bpfree.algorithms import Backprop, check_net, maths_used
from bpfree.errors import UsageError
from bpfree.nets import mlp
from bpfree.testing.bench import BLOCK_KINDS, RuleOnNet, chain

CLOSE = {"atol": 1e-9, "rtol": 1e-9}


@pytest.mark.parametrize("kind", BLOCK_KINDS)
@pytest.mark.parametrize("optimiser", ["adam", "sgd"])
def test_steps_are_torchs(kind: str, optimiser: str) -> None:
    """``loss.backward(); optimizer.step()`` on the same net, mixed with blocks that have no closed form too."""
    rule = Backprop(lr=0.01, optimiser=optimiser, weight_decay=0.1 if optimiser == "adam" else 0.0)
    bench = RuleOnNet.start(rule, chain(BLOCK_KINDS[kind], (3, 4), (9, 7), 4).double())
    net = bench.copy().net
    if optimiser == "adam":
        theirs: torch.optim.Optimizer = torch.optim.AdamW(net.parameters(), lr=0.01, weight_decay=0.1)
    else:
        theirs = torch.optim.SGD(net.parameters(), lr=0.01, momentum=0.9)
    for index, n in enumerate((8, 8, 5, 1)):
        batch = bench.batch(n, index)
        theirs.zero_grad()
        loss = nn.functional.cross_entropy(net(batch.x), batch.y)
        loss.backward()
        theirs.step()
        torch.testing.assert_close(bench.step(batch), loss.detach().reshape(1), **CLOSE)
    for ours, other in zip(bench.net.parameters(), net.parameters(), strict=True):
        torch.testing.assert_close(ours.detach(), other.detach(), **CLOSE)


def test_scores_are_the_net() -> None:
    bench = RuleOnNet.start(Backprop(), mlp(12, (9, 7), 4))
    x = bench.batch(5).x
    assert torch.equal(bench.algorithm.scores(bench.net, bench.state, x, bench.last_phase), bench.net(x))


def test_closed_form_is_refused_where_there_is_none() -> None:
    with pytest.raises(UsageError, match=r"block 0 \(ForeignBlock\) has no closed form; use maths=auto"):
        check_net(Backprop(maths="closed"), chain(BLOCK_KINDS["foreign"], (12,), (9,), 4))


def test_the_record_says_how_it_was_computed() -> None:
    dense, foreign = BLOCK_KINDS["dense"], BLOCK_KINDS["foreign"]
    assert maths_used(Backprop(), chain(dense, (12,), (9, 7), 4)) == "closed"
    assert maths_used(Backprop(maths="autograd"), chain(dense, (12,), (9, 7), 4)) == "autograd"
    assert maths_used(Backprop(), chain(foreign, (12,), (9,), 4)) == "autograd"
    makers = iter((dense, foreign))
    assert maths_used(Backprop(), chain(lambda shape, width: next(makers)(shape, width), (12,), (9, 7), 4)) == "mixed"
