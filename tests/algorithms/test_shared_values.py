"""Shared parts of the rules by value: each fallback and each border, what is read out, and what is not done in vain."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils._pytree import tree_leaves

import bpfree.algorithms.forward_forward.first as forward_first
import bpfree.algorithms.forward_forward.passes as forward_passes
import bpfree.algorithms.forward_forward.rule as forward_rule
from bpfree.algorithms import (
    Backprop,
    CascadedForward,
    ForwardForward,
    Foton,
    Hyper,
    LocalSimilarity,
    MonoForward,
    Optimiser,
    Pepita,
    SpatialGoodness,
    Upkeep,
    block_activity,
    check_weights,
    frozen_features,
    has_closed_form,
    maths_used,
    model_tensors,
    named_tensors,
    reset,
    step,
)
from bpfree.algorithms._closed_form import maths_in, parameters_of, parameters_of_net
from bpfree.algorithms._heads import each_heads_scores, head_scores
from bpfree.algorithms.backprop.checkpointing import Activities, n_run_again
from bpfree.algorithms.cascaded_forward.slot import RidgeSums
from bpfree.algorithms.local_similarity import _has_positions, _map_shape
from bpfree.algorithms.spatial_goodness import _width, grids
from bpfree.errors import UsageError
from bpfree.nets import Chain, ConvBlock, DenseBlock, mlp
from bpfree.testing.bench import ForeignBlock, RuleOnNet


def shaped(*out_shape: int) -> Any:
    """A block of which nothing but its output is read."""
    return SimpleNamespace(out_shape=out_shape, n_features=math.prod(out_shape))


NET = mlp((6,), (5, 4, 3), 4)


class TestReadouts:
    def test_of_stages_validation_chooses_among_the_blocks_so_far(self) -> None:
        bench = RuleOnNet.start(MonoForward(readout="best-prefix", schedule="staged", raw_projection=True), NET)
        x, (raw, *stages) = bench.batch(5).x, bench.phases
        rule: Any = bench.algorithm
        assert rule.candidates(bench.net, bench.state, x, raw).shape == (1, 5, 4)
        for k, stage in enumerate(stages):
            found = rule.candidates(bench.net, bench.state, x, stage)
            assert torch.equal(found, each_heads_scores(bench.net, bench.state, x, k))
            for chosen in range(k + 1):
                rule.choose(bench.state, chosen)
                torch.testing.assert_close(rule.scores(bench.net, bench.state, x, stage), found[chosen])
        joint: Any = RuleOnNet.start(MonoForward(readout="best-prefix"), NET)
        assert joint.algorithm.candidates(joint.net, joint.state, x, joint.last_phase).shape == (3, 5, 4)
        assert joint.state.prefix.tolist() == [0, 0, 1]
        plain: Any = RuleOnNet.start(MonoForward(readout="sum"), NET)
        plain.algorithm.choose(plain.state, 0)
        found = plain.algorithm.candidates(plain.net, plain.state, x, plain.last_phase)
        assert torch.equal(found[0], plain.algorithm.scores(plain.net, plain.state, x, plain.last_phase))

    def test_scores_of_heads(self) -> None:
        bench: Any = RuleOnNet.start(MonoForward(), NET)
        x = bench.batch(5).x
        for last in range(3):
            each = each_heads_scores(bench.net, bench.state, x, last)
            assert each.shape == (last + 1, 5, 4)
            assert torch.equal(head_scores(bench.net, bench.state, x, last, "last"), each[-1])
            torch.testing.assert_close(head_scores(bench.net, bench.state, x, last, "sum"), each.sum(0))


@pytest.mark.parametrize("rule", [Foton, Pepita, LocalSimilarity])
@pytest.mark.parametrize("dropout", [0.0, 0.5])
def test_masks_are_drawn_only_with_dropout(monkeypatch: pytest.MonkeyPatch, rule: Any, dropout: float) -> None:
    drawn: list[int] = []

    def mask(key: Any, shape: Any, k: int, *_: Any) -> torch.Tensor:
        drawn.append(k)
        return torch.ones(shape)

    monkeypatch.setattr(f"{rule.__module__}.consistent_mask", mask)
    RuleOnNet.start(rule(dropout=dropout), NET).steps([4])
    assert set(drawn) == ({0, 1} | ({2} if rule is not LocalSimilarity else set()) if dropout else set())


def names_of(rule: Any) -> str:
    return rule.name


@pytest.mark.parametrize(
    "rule", [MonoForward(), LocalSimilarity(), SpatialGoodness(), ForwardForward(inference="head")], ids=names_of
)
@torch.no_grad()
def test_a_block_that_does_not_learn_hands_on_the_same_and_stays(rule: Any) -> None:
    bench = RuleOnNet.start(rule, NET)
    batch, before = bench.batch(5), bench.values()
    still, loss = rule.block_step(bench.net[0], bench.state.slot(0), rule.enter(bench.net, batch), batch.y, False)
    assert all(torch.equal(value, before[name]) for name, value in bench.tensors().items())
    moving, learned = rule.block_step(bench.net[0], bench.state.slot(0), rule.enter(bench.net, batch), batch.y, True)
    assert torch.equal(loss, torch.zeros(()) if isinstance(rule, MonoForward) else learned)
    for one, other in zip(tree_leaves(still), tree_leaves(moving), strict=True):
        assert torch.equal(torch.as_tensor(one), torch.as_tensor(other))
    assert not all(torch.equal(value, before[name]) for name, value in bench.tensors().items())


@pytest.mark.parametrize(
    ("options", "n"),
    [
        ({}, 2),  # what blocks 0 and 1 hand on; nothing reads the last one's
        ({"inference": "head"}, 5),  # and the neutral rows behind all three
        (
            {"negatives": "hard"},
            6,
        ),  # and a neutral pass: what it hands on to blocks 1 and 2, and their rows for the head
        ({"negatives": "hybrid", "inference": "head"}, 4),  # the examples, and what all three hand on, which the head reads
        ({"maths": "autograd"}, 3),
        ({"maths": "autograd", "inference": "head"}, 7),
    ],
)
def test_rows_are_normalised_only_where_they_are_read(monkeypatch: pytest.MonkeyPatch, options: Any, n: int) -> None:
    calls: list[Any] = []
    normalise = forward_rule.length_normalise
    for module in (forward_rule, forward_first, forward_passes):
        monkeypatch.setattr(module, "length_normalise", lambda *given: calls.append(given) or normalise(*given))
    RuleOnNet.start(ForwardForward(**options), mlp((1, 4, 4), (5, 4, 3), 4)).steps([3])
    assert len(calls) == n


def test_a_phase_that_learns_nothing_reads_all_predictors() -> None:
    first = ConvBlock((1, 4, 4), 2, norm=True)
    bench: Any = RuleOnNet.start(CascadedForward(), Chain([first, DenseBlock(first.out_shape, 3)], 3))
    for slot in bench.state.slots:
        nn.init.normal_(slot.projection)
    x, (statistics, predictors) = bench.batch(4).x, bench.phases
    scores = [bench.algorithm.scores(bench.net.eval(), bench.state, x, phase) for phase in (statistics, predictors)]
    assert torch.equal(*scores)
    torch.testing.assert_close(scores[0].exp().sum(1), torch.ones(4))


class TestShapes:
    def test_maps_have_more_than_one_position(self) -> None:
        shapes = [(2, 1, 2), (2, 1, 1), (2, 3, 3), (6,), (3, 4)]
        assert [_has_positions(shaped(*shape)) for shape in shapes] == [True, False, True, False, False]
        assert [_map_shape(shaped(*shape)) for shape in shapes] == [(2, 2, 3, 3), (2, 2), (2, 2, 3, 3), (6, 6), (12, 12)]

    def test_goodness_is_as_wide_as_its_patches(self) -> None:
        assert [_width(shaped(*shape), 2) for shape in ((3, 4, 4), (3, 5), (7,))] == [12, 5, 7]
        first, second = ConvBlock((1, 8, 8), 4), ConvBlock((4, 8, 8), 16)
        net: Any = [first, second, DenseBlock(second.out_shape, 9)]
        assert grids(net) == [2, 1, 1]
        assert grids(net[2:]) == [1]

    def test_blocks_that_run_twice(self) -> None:
        assert [[n_run_again(n, every) for n in (1, 2, 3, 4, 6, 7)] for every in (0, 1, 2, 3)] == [
            [0, 0, 0, 0, 0, 0], [0, 1, 2, 3, 5, 6], [0, 0, 2, 2, 4, 6], [0, 0, 0, 3, 3, 6],
        ]  # fmt: skip
        for every, kept, inputs in ((0, [0, 1, 2], []), (1, [2], [0, 1]), (2, [2], [0]), (3, [0, 1, 2], [])):
            activities = Activities(NET, "auto", every)
            activities.forward(torch.ones(2, 6))
            assert (sorted(activities._saved), sorted(activities._inputs), activities._random) == (kept, inputs, {})
            for k in (2, 1, 0):
                activities.pop(k)
            assert (activities._saved, activities._inputs) == ({}, {})


MIXED = Chain([DenseBlock((6,), 5), ForeignBlock((5,), 4)], 3)
FOREIGN = Chain([ForeignBlock((6,), 4)], 3)


class TestMaths:
    def test_how_gradients_are_computed(self) -> None:
        nets = (NET, MIXED, FOREIGN)
        assert [maths_in(net, "auto") for net in nets] == ["closed", "mixed", "autograd"]
        assert [maths_in(net, "autograd") for net in nets] == 3 * ["autograd"]
        assert [maths_used(Backprop(), net) for net in nets] == ["closed", "mixed", "autograd"]
        assert [maths_used(CascadedForward(), net) for net in nets] == 3 * ["closed"]
        assert [has_closed_form(block) for block in MIXED] == [True, False]
        with pytest.raises(UsageError) as error:
            Backprop(maths="closed")._check_net(MIXED)
        assert str(error.value) == "backprop: block 1 (ForeignBlock) has no closed form; use maths=auto"

    def test_parameters_in_their_order(self) -> None:
        for net in (NET, MIXED, Chain([ConvBlock((1, 4, 4), 2, norm=True), DenseBlock((2, 4, 4), 3, bias=False)], 3)):
            assert all(one is other for one, other in zip(parameters_of_net(net), net.parameters(), strict=True))
            for block in net:
                assert all(one is other for one, other in zip(parameters_of(block), block.parameters(), strict=True))

    def test_features_of_the_first_blocks(self) -> None:
        x = torch.ones(2, 6)
        assert [[h.shape[1] for h in frozen_features(NET, x, n)] for n in range(4)] == [[], [5], [5, 4], [5, 4, 3]]

    @pytest.mark.parametrize("statistics", ["running", "batch", "update"])
    @pytest.mark.parametrize("training", [True, False])
    def test_a_block_at_evaluation_uses_what_it_has_gathered(self, statistics: Any, training: bool) -> None:
        block = ConvBlock((1, 4, 4), 2, norm=True).train(training)
        x = torch.randn(5, 1, 4, 4)
        before = {name: value.clone() for name, value in block.named_buffers()}
        a = block_activity(block, x, statistics=statistics)
        moved = any(not torch.equal(value, before[name]) for name, value in block.named_buffers())
        assert moved == (training and statistics == "update")
        at_evaluation = block_activity(ConvBlock((1, 4, 4), 2, norm=True).eval(), x)
        assert at_evaluation.shape == a.shape
        if statistics != "update":
            with torch.no_grad():
                torch.testing.assert_close(a, block.train(training and statistics == "batch")(x))


class TestState:
    def test_an_optimiser_that_names_the_least(self) -> None:
        made = Optimiser([torch.zeros(2)], kind="sgd", lr=0.5)
        assert (made.momentum, made.decays, made.observer) == (0.9, False, None)
        assert (float(made.lr), float(made.lr_now), float(made.weight_decay)) == (0.5, 0.5, 0.0)
        assert Optimiser([torch.zeros(2)], kind="sgd", lr=0.5, weight_decay=1e-9).decays
        seen: list[Any] = []
        made.observer = seen.append
        gradient = torch.ones(2)
        made.step([torch.zeros(2)], [gradient])
        assert seen[0][0] is gradient

    @pytest.mark.parametrize("kind", ["adam", "sgd"])
    def test_a_stretch_of_parameters(self, kind: str) -> None:
        """Parameters 1 and 2 of three move as in a step of all; the moments of the first stay."""
        parameters = [torch.full((k + 1,), 1.0) for k in range(3)]
        whole, part = (Optimiser(parameters, kind=kind, lr=0.1, weight_decay=0.1) for _ in range(2))
        one, other = [p.clone() for p in parameters], [p.clone() for p in parameters]
        gradients = [torch.full_like(p, 2.0) for p in parameters]
        whole.step(one, gradients)
        part.step(other[1:], gradients[1:], 1)
        assert torch.equal(other[0], parameters[0])
        assert all(torch.equal(a, b) for a, b in zip(one[1:], other[1:], strict=True))
        assert not part.first_0.any() and part.first_1.any() and part.first_2.any()

    def test_names_of_tensors(self) -> None:
        bench = RuleOnNet.start(MonoForward(), mlp((6,), (5,), 4))
        every = [name for name, _ in named_tensors(bench.net, bench.state)]
        assert every[:4] == ["net.blocks.0.linear.weight", "net.blocks.0.linear.bias", "net.output.weight", "net.output.bias"]
        assert "state.slots.0.projection" not in every, "it is the output's weight"
        assert [name for name, _ in model_tensors(bench.net, bench.state)] == every[:4]
        two = RuleOnNet.start(MonoForward(), mlp((6,), (5, 3), 4))
        heads = [name for name, _ in model_tensors(two.net, two.state) if name.startswith("state")]
        assert heads == ["state.slots.0.projection"]
        assert Hyper({"lr": 0.5}, torch.float64).lr.dtype == torch.float64

    def test_sums_are_solved_once(self) -> None:
        sums, projection = RidgeSums(2, 1, torch.float64, torch.device("cpu")), torch.zeros(1, 2, dtype=torch.float64)
        sums.add(torch.eye(2).double(), torch.tensor([[1.0], [2.0]]).double(), torch.tensor([4.0, 1.0]).double())
        assert sums.gram.tolist() == [[4.0, 0.0], [0.0, 1.0]]
        assert sums.cross.tolist() == [[4.0], [2.0]]
        assert sums.unsolved.value == 1
        sums.solve_into(projection, torch.tensor(1e-9))
        torch.testing.assert_close(projection, torch.tensor([[1.0, 2.0]]).double())
        projection.zero_()
        sums.solve_into(projection, torch.tensor(1e-9))
        assert (sums.unsolved.value, projection.tolist()) == (0, [[0.0, 0.0]])


class TestSteps:
    def test_when_work_is_due(self) -> None:
        once, third = (Upkeep("x", every, lambda *_: None) for every in (None, 3))
        assert [once.due(n) for n in (1, 2, 3)] == [True, False, False]
        assert [third.due(n) for n in range(1, 7)] == [False, False, True, False, False, True]
        assert (once.before, once.apart) == (False, False)

    def test_work_before_and_after_a_step(self) -> None:
        done: list[str] = []

        class Busy(Backprop):
            def upkeep(self) -> Any:
                return tuple(
                    Upkeep(name, every, lambda *_, name=name: done.append(name), before=before)
                    for name, every, before in (("last", 1, False), ("first", 1, True), ("second", 2, True))
                )

            def scores(self, *_: Any) -> Any:
                raise AssertionError

        rule: Any = Busy()
        bench = RuleOnNet.start(rule, NET)
        learn = Backprop.learn
        try:
            Backprop.learn = lambda self, *given: done.append("learn") or learn(self, *given)  # type: ignore[method-assign]
            bench.steps([3, 3])
        finally:
            Backprop.learn = learn  # type: ignore[method-assign]
        assert done == ["first", "learn", "last", "first", "second", "learn", "last"]
        assert bench.state.count.value == 2

    def test_weights_that_would_not_be_read(self) -> None:
        unaware: Any = SimpleNamespace(name="x", weighs_classes=False)
        check_weights(unaware, None)
        check_weights(Backprop(), torch.ones(1))
        with pytest.raises(UsageError, match=r"^x does not weigh classes, and the data have class weights; leave them out"):
            check_weights(unaware, torch.ones(1))

    def test_a_reset_begins_anew_also_the_switches_of_the_optimiser(self) -> None:
        rule = MonoForward(optimiser="sgd", momentum=0.5, weight_decay=0.1)
        used, fresh = RuleOnNet.start(rule, NET, seed=1), RuleOnNet.start(rule, NET, seed=2)
        used.steps([4])
        for optimiser in used.state.optimisers():
            optimiser.momentum, optimiser.decays = 0.0, False
        reset(rule, used.net, used.state, torch.Generator().manual_seed(2))
        assert all(torch.equal(value, fresh.tensors()[name]) for name, value in used.tensors().items())
        assert {(optimiser.momentum, optimiser.decays) for optimiser in used.state.optimisers()} == {(0.5, True)}
        assert used.state.count.value == 0
        step(rule, used.net, used.state, used.batch(4), used.last_phase)
