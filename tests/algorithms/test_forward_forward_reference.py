"""Forward-Forward, held against the paper's formulas written out plainly: rows stacked, autograd, torch.optim."""

from __future__ import annotations

import dataclasses
from functools import partial
from typing import Literal

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm

from bpfree.algorithms import ForwardForward, Hyper, Optimiser, check_net
from bpfree.algorithms.forward_forward.loss import local_loss
from bpfree.algorithms.forward_forward.overlay import labelled
from bpfree.algorithms.forward_forward.rows import ForwardSlot
from bpfree.data import Batch, from_arrays
from bpfree.errors import UsageError
from bpfree.nets import Chain, DenseBlock, ModuleBlock, from_module, mlp
from bpfree.numerics.goodness import row_squares
from bpfree.numerics.negatives import wrong_labels
from bpfree.numerics.streams import stream_key
from bpfree.rulesets import Patience
from bpfree.testing.bench import ForeignBlock, RuleOnNet
from bpfree.train import fit

of_ones = partial(ForwardForward, label_value=1)
"""The rule whose label pixels are 1, as in the references below."""

CLOSE = {"atol": 1e-9, "rtol": 1e-9}


def paint(x: Tensor, labels: Tensor, n_classes: int) -> Tensor:
    if x.dim() == 2:  # a table: inputs of its own
        return torch.cat([x, nn.functional.one_hot(labels, n_classes).to(x.dtype)], 1)
    flat = x.flatten(1).clone()
    for row, label in enumerate(labels.tolist()):
        flat[row, :n_classes] = 0.0
        flat[row, label] = 1.0
    return flat.reshape(x.shape)


def normalised(x: Tensor) -> Tensor:
    rms = x.square().flatten(1).mean(1).sqrt() + 1e-8
    return x / rms.reshape(-1, *[1] * (x.dim() - 1))


class Reference:
    """Section 2.4 of the specification, block by block with AdamW, or SGD (which sees the length of a gradient too)."""

    def __init__(self, net: Chain, rule: ForwardForward) -> None:
        self.net, self.rule = net, rule
        make = {
            "adam": lambda block: torch.optim.AdamW(block.parameters(), lr=rule.lr, weight_decay=rule.weight_decay),
            "sgd": lambda block: torch.optim.SGD(block.parameters(), lr=rule.lr, momentum=rule.momentum),
        }[rule.optimiser]
        self.optimisers = [make(block) for block in net]

    def goodness(self, h: Tensor) -> Tensor:
        squares = h.flatten(1).square()
        return squares.sum(1) if self.rule.goodness == "sum" else squares.mean(1)

    def step(self, batch: Batch) -> list[Tensor]:
        n, n_classes = len(batch.y), self.net.n_classes
        wrong = wrong_labels(batch.y, n_classes, batch.key)
        a = normalised(torch.cat([paint(batch.x, batch.y, n_classes), paint(batch.x, wrong, n_classes)]))
        losses = []
        for block, optimiser in zip(self.net, self.optimisers, strict=True):
            h = block(a.detach())
            units = block.n_features if self.rule.goodness == "sum" else 1
            margin = (self.goodness(h) - self.rule.threshold * units) / (self.rule.temperature * units)
            loss = torch.cat([nn.functional.softplus(-margin[:n]), nn.functional.softplus(margin[n:])]).mean()
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            a = normalised(h.detach())
            losses.append(loss.detach())
        return losses

    @torch.no_grad()
    def scores(self, x: Tensor) -> Tensor:
        """One pass for each label, in a loop."""
        votes_from = 1 if self.rule.goodness_blocks == "all-but-first" and len(self.net) > 1 else 0
        columns = []
        for label in range(self.net.n_classes):
            a = normalised(paint(x, torch.full((len(x),), label), self.net.n_classes))
            total = torch.zeros(len(x), dtype=x.dtype)
            for k, block in enumerate(self.net):
                h = block(a)
                if k >= votes_from:
                    total = total + self.goodness(h)
                a = normalised(h)
            columns.append(total)
        return torch.stack(columns, 1)


RULES = [
    of_ones(lr=0.01),
    of_ones(lr=0.01, goodness="mean", goodness_blocks="all", threshold=0.3, weight_decay=0.1),
    of_ones(lr=0.01, maths="autograd"),
    of_ones(lr=0.01, optimiser="sgd", weight_decay=0.0),
    of_ones(lr=0.1, optimiser="sgd", weight_decay=0.0, goodness="mean"),
]


@pytest.mark.parametrize("rule", RULES, ids=["sum", "mean", "autograd", "sum-sgd", "mean-sgd"])
@pytest.mark.parametrize("widths", [(9, 7, 8), (9,)], ids=str)
@pytest.mark.parametrize("activation", ["relu", "tanh"])
def test_steps_and_scores_are_the_papers(rule: ForwardForward, widths: tuple[int, ...], activation: str) -> None:
    """Painting in the weights of the first block, and all labels in one pass, change nothing beyond rounding."""
    bench = RuleOnNet.start(rule, mlp((3, 4), widths, 4, activation).double())
    reference = Reference(bench.copy().net, rule)
    for index, n in enumerate((8, 8, 5, 1)):
        batch = bench.batch(n, index)
        expected = torch.stack(reference.step(Batch(batch.x.clone(), batch.y, batch.key)))
        torch.testing.assert_close(bench.step(batch), expected, **CLOSE)
    for ours, theirs in zip(bench.net.blocks.parameters(), reference.net.blocks.parameters(), strict=True):
        torch.testing.assert_close(ours.detach(), theirs.detach(), **CLOSE)
    x = bench.batch(6, 50).x
    ours = rule.scores(bench.net, bench.state, x, bench.last_phase)
    torch.testing.assert_close(ours, reference.scores(x), **CLOSE)


class Doubled(DenseBlock):
    """A dense block that is not one: what paints labels in its weights must keep away from it."""

    def forward(self, x: Tensor) -> Tensor:
        return 2.0 * super().forward(x)


def widened(bench: RuleOnNet) -> Chain:
    """A copy of a net on a table whose first weight has the label's columns in it."""
    net, (label_weight,) = bench.copy().net, bench.state.slot(0).label_parameters()
    (linear,) = (part for part in net[0].modules() if isinstance(part, nn.Linear))
    linear.weight = nn.Parameter(torch.cat([linear.weight, label_weight], 1).detach())
    return net


def gelu(n_inputs: int) -> Chain:
    """Of a user's net, whose first block has no closed form."""
    return from_module(nn.Sequential(nn.Linear(n_inputs, 9), nn.GELU(), nn.Linear(9, 7), nn.ReLU(), nn.Linear(7, 4)), (n_inputs,))


TABLE_NETS = {
    "dense": lambda: mlp(6, (9, 7), 4),
    "one-block": lambda: mlp(6, (9,), 4),
    "fewer-inputs-than-classes": lambda: mlp(2, (9, 7), 4),
    "no-bias": lambda: Chain([DenseBlock((6,), 9, "tanh", bias=False), DenseBlock((9,), 7)], 4),
    "gelu": lambda: gelu(6),
    "foreign": lambda: Chain([ForeignBlock((6,), 9), DenseBlock((9,), 7)], 4),
    "derived": lambda: Chain([Doubled((6,), 9), DenseBlock((9,), 7)], 4),
}


@pytest.mark.parametrize("rule", RULES[:4], ids=["sum", "mean", "autograd", "sum-sgd"])
@pytest.mark.parametrize("kind", TABLE_NETS)
def test_a_table_has_inputs_of_its_own_for_the_label(rule: ForwardForward, kind: str) -> None:
    """Training and scores are those of a net with K more inputs, which reads the data and, behind them, the label."""
    bench = RuleOnNet.start(rule, TABLE_NETS[kind]().double())
    reference = Reference(widened(bench), rule)
    for index, n in enumerate((8, 8, 5, 1)):
        batch = bench.batch(n, index)
        expected = torch.stack(reference.step(Batch(batch.x.clone(), batch.y, batch.key)))
        torch.testing.assert_close(bench.step(batch), expected, **CLOSE)
    for ours, theirs in zip(widened(bench).blocks.parameters(), reference.net.blocks.parameters(), strict=True):
        torch.testing.assert_close(ours.detach(), theirs.detach(), **CLOSE)
    x = bench.batch(6, 50).x
    ours = rule.scores(bench.net, bench.state, x.clone(), bench.last_phase)
    torch.testing.assert_close(ours, reference.scores(x), **CLOSE)


@pytest.mark.parametrize("negatives", ["uniform", "hard"])
@pytest.mark.parametrize("kind", ["dense", "gelu"])
def test_the_head_of_a_table_reads_all_columns_and_the_neutral_label(kind: str, negatives: str) -> None:
    """By looked-up columns and by autograd alike; the scores are those of the net with K more inputs."""
    rules = [of_ones(lr=0.01, inference="head", negatives=negatives, maths=maths) for maths in ("auto", "autograd")]
    benches = [RuleOnNet.start(rule, TABLE_NETS[kind]().double()) for rule in rules]
    x = benches[0].batch(6, 50).x
    benches[1].net.load_state_dict(benches[0].net.state_dict())
    benches[1].state.load_state_dict(benches[0].state.state_dict())
    for bench in benches:
        bench.steps([8, 8, 5])
    scores = [bench.algorithm.scores(bench.net, bench.state, x.clone(), bench.last_phase) for bench in benches]
    torch.testing.assert_close(scores[0], scores[1], **CLOSE)
    a, seen = torch.cat([x, torch.full((6, 4), 0.1, dtype=x.dtype)], 1), []
    for block in widened(benches[0]):
        a = normalised(block(normalised(a)))
        seen.append(a)
    torch.testing.assert_close(scores[0], seen[-1] @ benches[0].state.head.t(), **CLOSE)


def test_the_order_of_a_tables_columns_does_not_matter() -> None:
    """The columns that came first were overwritten once: here they alone tell the classes apart, or come last."""
    y = np.arange(240) % 4
    x = np.random.RandomState(0).standard_normal((240, 12))
    x[:, :4] += 4.0 * np.eye(4)[y]
    accuracies = []
    for columns in (range(12), range(11, -1, -1)):
        data = from_arrays(x[:, list(columns)], y).without_test()
        result = fit(ForwardForward(lr=0.01), mlp(12, (32, 32), 4), data, Patience(None, 12), batch_size=16)
        accuracies.append(result.val_accuracy)
    assert min(accuracies) > 0.9
    assert abs(accuracies[0] - accuracies[1]) < 0.06


@pytest.mark.parametrize(
    ("first", "reason"),
    [
        (
            nn.Sequential(nn.LayerNorm(6), nn.Linear(6, 9)),
            r"fails then \(.* raised RuntimeError: Given normalized_shape",
        ),
        (nn.Sequential(nn.Unflatten(1, (1, 6)), nn.Conv1d(1, 3, 3), nn.Flatten()), "has no plain nn.Linear that takes its input"),
        (weight_norm(nn.Linear(6, 9)), "has no plain nn.Linear that takes its input"),
    ],
)
def test_a_first_block_that_cannot_take_more_inputs_is_refused(first: nn.Module, reason: str) -> None:
    block = ModuleBlock((6,), first)
    net = Chain([block, DenseBlock(block.out_shape, 7)], 4)
    with pytest.raises(
        UsageError, match=rf"forward-forward: .* 4 more inputs, which block 0 \(.*: it {reason}.*begin it with"
    ) as caught:
        check_net(of_ones(), net)
    assert "\n" not in str(caught.value)


def test_a_block_that_only_derives_from_a_dense_one_is_not_taken_for_it() -> None:
    bench = RuleOnNet.start(of_ones(), Chain([Doubled((3, 4), 9), DenseBlock((9,), 7)], 4).double())
    reference = Reference(bench.copy().net, bench.algorithm)
    batch = bench.batch(8)
    expected = torch.stack(reference.step(Batch(batch.x.clone(), batch.y, batch.key)))
    torch.testing.assert_close(bench.step(batch), expected, **CLOSE)
    x = bench.batch(5, 50).x
    ours = bench.algorithm.scores(bench.net, bench.state, x, bench.last_phase)
    torch.testing.assert_close(ours, reference.scores(x), **CLOSE)


def test_all_but_the_first_block_vote_unless_there_is_one() -> None:
    x = torch.randn(3, 12)
    for widths, changes in (((9, 7), False), ((9,), True)):
        bench = RuleOnNet.start(of_ones(), mlp(12, widths, 4))
        everyone = dataclasses.replace(bench.algorithm, goodness_blocks="all")
        rest, every = (rule.scores(bench.net, bench.state, x, bench.last_phase) for rule in (bench.algorithm, everyone))
        assert torch.equal(rest, every) == changes


def test_positive_and_negative_inputs_differ_in_the_label_pixels_alone() -> None:
    x, y = torch.randn(20, 2, 3, 4), torch.arange(20) % 5
    wrong = wrong_labels(y, 5, torch.tensor(stream_key(1)))
    positive, negative = (labelled(x, each, 5).flatten(1) for each in (y, wrong))
    assert torch.equal(positive[:, 5:], negative[:, 5:])
    assert torch.equal(positive[:, 5:], x.flatten(1)[:, 5:])
    assert ((positive != negative)[:, :5].sum(1) == 2).all()  # one pixel goes out, another on
    assert torch.equal(positive[:, :5].argmax(1), y)
    assert torch.equal(negative[:, :5].argmax(1), wrong)
    torch.testing.assert_close(labelled(x, y, 5), paint(x, y, 5), rtol=0, atol=0)


@pytest.mark.parametrize("n_classes", [2, 3, 10])
def test_wrong_labels_are_never_true_and_reach_every_other_class(n_classes: int) -> None:
    y = torch.arange(9000) % n_classes
    wrong = wrong_labels(y, n_classes, torch.tensor(stream_key(3, 4, 5)))
    assert not (wrong == y).any()
    assert 0 <= int(wrong.min()) <= int(wrong.max()) < n_classes
    shifts = ((wrong - y) % n_classes).bincount(minlength=n_classes)
    share = 9000 / (n_classes - 1)
    assert float((shifts[1:] - share).abs().max()) <= 5 * share**0.5


def test_another_batch_has_other_negatives() -> None:
    y = torch.zeros(50, dtype=torch.int64)
    draws = [wrong_labels(y, 10, torch.tensor(stream_key(*parts))) for parts in ((1, 2, 3), (1, 2, 3), (1, 2, 4), (1, 3, 3))]
    assert torch.equal(draws[0], draws[1])
    assert not torch.equal(draws[0], draws[2])
    assert not torch.equal(draws[0], draws[3])


def test_the_output_layer_is_left_alone() -> None:
    bench = RuleOnNet.start(of_ones(), mlp(12, (9, 7), 4))
    before = [p.detach().clone() for p in bench.net.output.parameters()]
    bench.steps([8, 8])
    assert all(torch.equal(a, b) for a, b in zip(before, bench.net.output.parameters(), strict=True))


def test_label_pixels_that_do_not_fit_are_refused() -> None:
    for shape, fits in (((1, 2, 2), False), ((1, 1, 5), True), ((2,), True)):
        if fits:
            check_net(of_ones(), mlp(shape, (9,), 4))
        else:
            with pytest.raises(UsageError, match=r"4 label pixels do not fit into 4 inputs; use another rule.* as a table"):
                check_net(of_ones(), mlp(shape, (9,), 4))


@pytest.mark.parametrize("maths", ["auto", "autograd"])
def test_a_label_value_of_v_paints_v(maths: str) -> None:
    """On x, painting v is what painting 1 is on x / v: seen in the entry of the net and in the scores."""
    x = torch.randn(6, 1, 3, 4, dtype=torch.float64)
    y = torch.arange(6) % 4
    painted = torch.cat([5.0 * torch.nn.functional.one_hot(y, 4), x.flatten(1)[:, 4:]], 1)
    bench = RuleOnNet.start(ForwardForward(label_value=5, maths=maths), mlp((1, 3, 4), (9,), 4).double())
    scores = bench.algorithm.scores(bench.net, bench.state, x, bench.algorithm.phases(bench.net)[0])
    normalised = painted / (painted.square().mean(1, keepdim=True).sqrt() + 1e-8)
    torch.testing.assert_close(scores[torch.arange(6), y].double(), bench.net[0](normalised).square().sum(1), check_dtype=False)


@pytest.mark.parametrize("kind", ["sum", "mean"])
def test_the_steepness_of_pairs_is_per_unit(kind: Literal["sum", "mean"]) -> None:
    """softplus(−α (g₊ − g₋)) with α = alpha / o for the sum of o squares, alpha for their mean: the same number for both."""
    alpha, n, o = 6.0, 5, 7
    h = torch.rand(2 * n, o, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    hyper = Hyper({"lr": 0.1, "alpha": alpha}, torch.float64)
    slot = ForwardSlot(hyper, Optimiser([torch.zeros(1, dtype=torch.float64)], kind="sgd", lr=0.1), o)
    loss, by_features = local_loss(h, row_squares(h), slot, kind, pairs=True, peers=False, learn=True)
    difference = h[:n].square().mean(1) - h[n:].square().mean(1)
    torch.testing.assert_close(loss, torch.log1p(torch.exp(-alpha * difference)).mean())
    slope = -alpha / (1 + torch.exp(alpha * difference)) / n * 2 / o
    torch.testing.assert_close(by_features, torch.cat([slope, -slope]).unsqueeze(1) * h)
