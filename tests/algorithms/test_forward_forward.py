"""Forward-Forward: overlay, the exact first block, negatives, head, peers, pair loss."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import pytest
import torch
import torch.nn.functional as F
from local_reference import EXACT, IN_SHAPE, N_CLASSES, NETS, assert_same, batch_of, by_autograd, dense, stepped
from torch import Tensor

from bpfree.algorithms import ForwardForward, State, check_net, params, shape_of
from bpfree.algorithms.forward_forward import passes
from bpfree.algorithms.forward_forward.cost import moments
from bpfree.algorithms.forward_forward.overlay import NEUTRAL, labelled, neutral
from bpfree.errors import UsageError
from bpfree.nets import Chain, mlp
from bpfree.numerics.goodness import length_normalise
from bpfree.numerics.negatives import hard_labels, hybrid_images, wrong_labels
from bpfree.numerics.peers import PEER_MOMENTUM, PEER_START
from bpfree.testing.bench import RuleOnNet

of_ones = partial(ForwardForward, label_value=1)
"""The rule whose label pixels are 1, as in the references below."""

BATCH = batch_of(7)
VARIANTS = {
    "plain": of_ones(),
    "mean": of_ones(goodness="mean", goodness_blocks="all"),
    "symba": of_ones(loss="symba", goodness="mean", alpha=3.0),
    "symba-of-sums": of_ones(loss="symba", alpha=3.0),
    "peers": of_ones(peer_normalisation=2.0, threshold=0.2),
    "head": of_ones(inference="head"),
    "hard": of_ones(negatives="hard"),
    "hybrid": of_ones(negatives="hybrid", inference="head"),
}


def _softplus_loss(rule: ForwardForward, h: Tensor, n: int) -> Tensor:
    g = h.square().sum(1) if rule.goodness == "sum" else h.square().mean(1)
    if rule.loss == "symba":
        alpha = rule.alpha / (h.shape[1] if rule.goodness == "sum" else 1)
        return F.softplus(-alpha * (g[:n] - g[n:])).mean()
    units = h.shape[1] if rule.goodness == "sum" else 1
    margin = (g - rule.threshold * units) / (rule.temperature * units)
    loss = (F.softplus(-margin[:n]).sum() + F.softplus(margin[n:]).sum()) / (2 * n)
    mean = PEER_MOMENTUM * PEER_START + (1 - PEER_MOMENTUM) * h[:n].mean(0)
    return loss + rule.peer_normalisation * (mean - mean.mean()).square().mean()


def _reference(rule: ForwardForward, net: Chain, state: State) -> Tensor:
    """The sum of all local losses, every row painted and sent through by itself."""
    n, voting = len(BATCH.y), range(0 if rule.goodness_blocks == "all" else 1, len(net))
    reads = BATCH.x if rule.negatives == "hybrid" else neutral(BATCH.x, N_CLASSES)
    if rule.negatives == "hybrid":
        rows = torch.cat([BATCH.x, hybrid_images(BATCH.x, BATCH.key)])
    else:  # hard negatives of a head that is still 0 are drawn uniformly from the same stream
        head = torch.zeros(n, N_CLASSES)
        hard = rule.negatives == "hard"
        wrong = hard_labels(head, BATCH.y, BATCH.key) if hard else wrong_labels(BATCH.y, N_CLASSES, BATCH.key)
        rows = torch.cat([labelled(BATCH.x, labels, N_CLASSES) for labels in (BATCH.y, wrong)])
    total, seen = torch.zeros((), dtype=torch.float64), []
    for k, block in enumerate(net):
        rows, reads = (block(length_normalise(x.detach())) for x in (rows, reads))
        total = total + _softplus_loss(rule, block.features(rows), n)
        if k in voting:
            seen.append(block.features(length_normalise(reads.detach())))
    if rule.inference == "head" or rule.negatives == "hard":
        total = total + F.cross_entropy(torch.cat(seen, 1) @ state.head.t(), BATCH.y)
    return total


@pytest.mark.parametrize("maths", ["auto", "autograd"])
@pytest.mark.parametrize("kind", ["dense", "module"])
@pytest.mark.parametrize("variant", list(VARIANTS))
def test_gradient_is_that_of_the_local_losses(variant: str, kind: str, maths: str) -> None:
    rule = of_ones(**{**params(VARIANTS[variant]), "maths": maths})
    bench, gradients, losses = stepped(rule, NETS[kind](), BATCH)
    assert losses.shape == (len(bench.net),)
    assert_same(gradients, by_autograd(lambda net, state: _reference(rule, net, state), bench))


def test_gradient_on_convolutions() -> None:
    """Without BatchNorm, which would see positives, negatives and neutral rows in other company than here."""
    from bpfree.nets import ConvBlock

    def net() -> Chain:
        first = ConvBlock(IN_SHAPE, 4, pool="average")
        return Chain([first, ConvBlock(first.out_shape, 3, pool="max")], N_CLASSES).double()

    rule = of_ones(inference="head")
    bench, gradients, _ = stepped(rule, net(), BATCH)
    assert_same(gradients, by_autograd(lambda net, state: _reference(rule, net, state), bench))


def test_inputs_differ_in_the_label_pixels_alone() -> None:
    x, y = BATCH.x, BATCH.y
    wrong = wrong_labels(y, N_CLASSES, BATCH.key)
    positive, negative, blank = labelled(x, y, N_CLASSES), labelled(x, wrong, N_CLASSES), neutral(x, N_CLASSES)
    for image in (positive, negative, blank):
        assert image.shape == x.shape
        assert torch.equal(image.flatten(1)[:, N_CLASSES:], x.flatten(1)[:, N_CLASSES:])
    assert torch.equal(positive.flatten(1)[:, :N_CLASSES], F.one_hot(y, N_CLASSES).double())
    assert (blank.flatten(1)[:, :N_CLASSES] == NEUTRAL).all()
    assert (positive.flatten(1)[:, :N_CLASSES] != negative.flatten(1)[:, :N_CLASSES]).any(1).all()
    assert torch.equal(x, batch_of(7).x)  # painted in copies


@pytest.mark.parametrize("goodness", ["sum", "mean"])
@pytest.mark.parametrize("goodness_blocks", ["all", "all-but-first"])
def test_all_labels_in_one_pass_equal_a_loop_over_labels(goodness: str, goodness_blocks: str) -> None:
    rule = of_ones(goodness=goodness, goodness_blocks=goodness_blocks)
    bench = RuleOnNet.start(rule, dense())
    bench.steps([8, 8])
    x = bench.batch(5, 60).x
    columns = []
    for label in range(N_CLASSES):
        a, total = labelled(x, torch.full((5,), label), N_CLASSES), torch.zeros(5, dtype=torch.float64)
        for k, block in enumerate(bench.net):
            a = block(length_normalise(a))
            squares = a.square()
            if k > 0 or goodness_blocks == "all":
                total = total + (squares.sum(1) if goodness == "sum" else squares.mean(1))
        columns.append(total)
    scores = rule.scores(bench.net, bench.state, x, bench.last_phase)
    torch.testing.assert_close(scores, torch.stack(columns, 1), **EXACT)


def test_the_head_predicts_from_one_neutral_pass() -> None:
    bench = RuleOnNet.start(of_ones(inference="head", goodness_blocks="all"), dense())
    bench.steps([8, 8])
    x = bench.batch(5, 60).x
    a, seen = neutral(x, N_CLASSES), []
    for block in bench.net:
        a = length_normalise(block(length_normalise(a)))
        seen.append(a)
    expected = torch.cat(seen, 1) @ bench.state.head.t()
    torch.testing.assert_close(bench.algorithm.scores(bench.net, bench.state, x, bench.last_phase), expected, **EXACT)


def test_the_head_leaves_the_blocks_alone() -> None:
    plain, headed = (RuleOnNet.start(of_ones(inference=how), dense()) for how in ("goodness", "head"))
    for bench in (plain, headed):
        bench.steps([8, 8, 5])
    for (name, ours), (_, theirs) in zip(plain.net.named_parameters(), headed.net.named_parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, **EXACT, msg=name)
    assert headed.state.head.abs().max() > 0


def test_hard_negatives_follow_the_head_and_never_carry_the_true_label() -> None:
    bench = RuleOnNet.start(of_ones(negatives="hard"), dense())
    batch = bench.batch(200)
    with torch.no_grad():
        bench.state.head[1] += 40.0  # the neutral activity is positive, so class 1 is all but certain
        prepared = bench.algorithm.prepare(bench.net, bench.state, batch, bench.last_phase)
    assert (prepared.wrong != batch.y).all()
    assert (prepared.wrong[batch.y != 1] == 1).float().mean() > 0.7
    assert not bench.algorithm.traits(bench.net).local
    assert of_ones().traits(bench.net).local


def test_peer_normalisation_keeps_a_running_mean_of_positives() -> None:
    bench = RuleOnNet.start(of_ones(peer_normalisation=0.03), dense())
    batch = bench.batch(6)
    h = bench.net[0](length_normalise(labelled(batch.x, batch.y, N_CLASSES)))
    bench.step(batch)
    expected = PEER_MOMENTUM * PEER_START + (1 - PEER_MOMENTUM) * h.mean(0)
    torch.testing.assert_close(bench.state.slot(0).mean_activity, expected, **EXACT)


def test_what_cannot_be_trained_is_refused_with_the_cure() -> None:
    with pytest.raises(UsageError, match="inference=head"):
        of_ones(negatives="hybrid")
    hybrid = of_ones(negatives="hybrid", inference="head")
    with pytest.raises(UsageError, match="images"):
        check_net(hybrid, mlp(20, (5,), 3))
    with pytest.raises(UsageError, match="label pixels"):
        check_net(of_ones(), mlp((1, 1, 3), (5,), 3))
    check_net(hybrid, mlp((1, 1, 3), (5,), 3))  # no labels are painted


@pytest.mark.parametrize("maths", ["closed", "autograd"])
def test_labels_tried_one_at_a_time_score_the_same(maths: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """As all of them in one batch, which is as many as the processor's cache holds here."""
    rule = ForwardForward(goodness_blocks="all", maths=maths)
    bench = RuleOnNet.start(rule, dense(), seed=0)
    bench.net.eval()
    batch = batch_of(7)
    expected = rule.scores(bench.net, bench.state, batch.x.clone(), bench.last_phase)
    monkeypatch.setattr(passes, "ROWS_BYTES", 0)
    torch.testing.assert_close(rule.scores(bench.net, bench.state, batch.x.clone(), bench.last_phase), expected, **EXACT)


def test_moments_of_memory_by_hand() -> None:
    """Two dense blocks 12 -> 5 -> 4 on images of 12 pixels, batch of 3, 2 classes, inference by goodness."""
    gathered = shape_of(mlp((1, 3, 4), (5, 4), 2), 3)
    assert gathered is not None
    shape = replace(gathered, gathered=False)
    assert list(moments(shape, first_voting=1, by_head=False)) == [
        (0, 2 * 3 * 12),
        (5 * 12 + 5, 3 * (12 + 5 * 5)),
        (4 * 5 + 4, 2 * 3 * 5 + 4 * 3 * 4),
    ]
    assert list(moments(shape, first_voting=1, by_head=True)) == [
        (0, 72),
        (65, 111 + 15),
        (24, 15 + 78 + 12),
        (2 * 4, 27 + 3 * (4 + 2)),
    ]
    of_small_net = list(moments(gathered, first_voting=1, by_head=True))  # gradients of all blocks stay to the end
    assert [gradients for gradients, _ in of_small_net] == [0, 65, 65 + 24, 65 + 24 + 8]
