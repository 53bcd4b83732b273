"""Local similarity: its gradient on every kind of block, its coupling, its limits."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from local_reference import EXACT, NETS, assert_same, batch_of, by_autograd, dense, stepped
from torch import Tensor

from bpfree.algorithms import LocalSimilarity, MonoForward, State
from bpfree.nets import Chain
from bpfree.numerics.similarity import EPS, label_similarity

BATCH = batch_of(7)


def _correlation(x: Tensor) -> Tensor:
    centred = x - x.mean(1, keepdim=True)
    squares = centred.square().sum(1, keepdim=True)
    silent = squares == 0  # such a row has no direction, and no derivative either
    u = torch.where(silent, 0, centred / (torch.where(silent, 1, squares).sqrt() + EPS))
    return u @ u.t()


@pytest.mark.parametrize("maths", ["auto", "autograd"])
@pytest.mark.parametrize("similarity_map", ["learned", "none"])
@pytest.mark.parametrize("kind", list(NETS))
def test_gradient_is_that_of_the_local_losses(kind: str, similarity_map: str, maths: str) -> None:
    def loss(net: Chain, state: State) -> Tensor:
        x, total = BATCH.x, torch.zeros((), dtype=torch.float64)
        target = label_similarity(BATCH.y, net.n_classes, torch.float64)
        for k, block in enumerate(net):
            x = block(x.detach())
            h = block.features(x)
            maps = x.dim() == 4 and x[0, 0].numel() > 1
            mapped = x if maps else h
            if similarity_map == "learned":
                u = state.slot(k).similarity
                mapped = F.conv2d(x, u, padding=1) if maps else h @ u.t()
            if maps:
                mapped = mapped.flatten(2).std(2)
            total = total + 0.2 * F.cross_entropy(h @ state.slot(k).projection.t(), BATCH.y)
            total = total + 0.8 * F.mse_loss(_correlation(mapped), target)
        return total

    rule = LocalSimilarity(beta=0.8, similarity_map=similarity_map, maths=maths)
    bench, gradients, losses = stepped(rule, NETS[kind](), BATCH)
    torch.testing.assert_close(losses.sum(), loss(bench.copy().net, bench.state).detach(), **EXACT)
    assert_same(gradients, by_autograd(loss, bench))


def test_without_similarity_it_is_mono_forward() -> None:
    _, ours, _ = stepped(LocalSimilarity(beta=0.0, similarity_map="none"), dense(), BATCH)
    _, theirs, _ = stepped(MonoForward(), dense(), BATCH)
    assert_same(ours, theirs)


def test_it_says_that_examples_are_coupled() -> None:
    assert "couples the examples" in LocalSimilarity().traits(dense()).note


def test_dropout_masks_what_the_next_block_reads() -> None:
    """The first block learns as without; the second from an input of which some entries are 0 and the others larger."""
    _, plain, _ = stepped(LocalSimilarity(), dense(), BATCH)
    bench, masked, _ = stepped(LocalSimilarity(dropout=0.5), dense(), BATCH)
    _, again, _ = stepped(LocalSimilarity(dropout=0.5), dense(), BATCH)
    first = [name for name in plain if "blocks.0." in name or name.startswith("state.slots.0.")]
    assert first
    assert all(torch.equal(masked[name], plain[name]) for name in first)
    assert not torch.equal(masked["net.blocks.1.linear.weight"], plain["net.blocks.1.linear.weight"])
    assert all(torch.equal(masked[name], again[name]) for name in masked)
    rule = LocalSimilarity(dropout=0.5)
    passed, _ = rule.block_step(bench.net[0], bench.state.slot(0), rule.enter(bench.net, BATCH), BATCH.y, learn=False)
    a = bench.net[0](BATCH.x)
    kept = passed.x != 0
    torch.testing.assert_close(passed.x[kept], 2 * a[kept], **EXACT)
    assert 0 < (~kept & (a != 0)).sum() < (a != 0).sum()
