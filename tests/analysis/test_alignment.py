"""Alignment with backprop: what theory says, and that asking changes nothing."""

from __future__ import annotations

import math

import pytest
import torch

from bpfree import Patience
from bpfree.algorithms import Backprop, DirectFeedbackAlignment, FeedbackAlignment, ForwardForward, Foton, MonoForward, Pepita
from bpfree.analysis import alignment, alignment_over_training
from bpfree.nets import mlp
from bpfree.testing.bench import RuleOnNet, blobs, fingerprint


@pytest.mark.parametrize("rule", [Backprop(), Backprop(optimiser="sgd", lr=0.5, weight_decay=0.1)], ids=["adam", "sgd"])
def test_backprop_is_aligned_with_itself(rule: Backprop) -> None:
    bench = RuleOnNet.start(rule, mlp(12, (9, 8), 4))
    bench.steps([8, 8])
    found = alignment(rule, bench.net, bench.state, bench.batch(16, 5))
    assert found.cosine == pytest.approx([1.0] * 3, abs=1e-12)
    assert found.norm_ratio == pytest.approx([1.0] * 3, abs=1e-12)


@pytest.mark.parametrize("every", [1, 10])
@pytest.mark.parametrize("steps", [2, 9])
def test_what_keeps_a_net_orthogonal_is_no_part_of_the_update(every: int, steps: int) -> None:
    """Also where the next step would orthogonalise."""
    rule = Backprop(orthogonal="kept", orthogonalise_every=every, lr=0.05)
    bench = RuleOnNet.start(rule, mlp(12, (9, 8), 4))
    bench.steps([8] * steps)
    found = alignment(rule, bench.net, bench.state, bench.batch(16, 50))
    assert found.cosine == pytest.approx([1.0] * 3, abs=1e-12)
    assert found.norm_ratio == pytest.approx([1.0] * 3, abs=1e-12)


def test_foton_on_a_linear_orthonormal_net() -> None:
    """Aligned at the start; no longer once training without upkeep has carried the weights away."""
    rule = Foton(orthogonalise_by="none", lr=0.05)
    bench = RuleOnNet.start(rule, mlp(12, (10, 9, 8), 4, "identity").double())
    batch = bench.batch(16, 9)
    before = alignment(rule, bench.net, bench.state, batch)
    assert before.cosine == pytest.approx([1.0] * 4, abs=1e-12)
    assert before.norm_ratio == pytest.approx([1.0] * 4, abs=1e-12)
    bench.steps([8] * 30)
    assert alignment(rule, bench.net, bench.state, batch).cosine[2] < 0.999


def test_feedback_that_the_state_holds_is_used() -> None:
    """Feedback alignment with the weights as feedback is backprop; with random feedback only the output agrees."""
    rule = FeedbackAlignment()
    bench = RuleOnNet.start(rule, mlp(12, (9, 8), 4, "tanh"))
    batch = bench.batch(16)
    assert alignment(rule, bench.net, bench.state, batch).cosine[0] < 0.9
    for buffer, weight in zip(bench.state.feedback(), [bench.net[1].linear.weight, bench.net.output.weight], strict=True):
        buffer.copy_(weight.detach())
    assert alignment(rule, bench.net, bench.state, batch).cosine == pytest.approx([1.0] * 3, abs=1e-9)


@pytest.mark.parametrize(
    "rule",
    [MonoForward(), ForwardForward(), DirectFeedbackAlignment(), Pepita(mirroring=True, premirror_steps=1), Foton()],
    ids=lambda rule: rule.name,
)
def test_any_rule_can_be_asked_and_is_not_disturbed(rule: object) -> None:
    bench = RuleOnNet.start(rule, mlp((3, 4), (9, 8, 8), 4))
    bench.steps([8, 8])
    before = fingerprint(bench.tensors())
    generator = torch.get_rng_state()
    found = alignment(bench.algorithm, bench.net, bench.state, bench.batch(16, 5), passes=2)
    assert fingerprint(bench.tensors()) == before
    assert torch.equal(torch.get_rng_state(), generator)
    assert found.passes == 2
    assert len(found.cosine) == len(found.norm_ratio) == 4
    assert all(math.isnan(c) or -1 - 1e-12 <= c <= 1 + 1e-12 for c in found.cosine)
    if isinstance(rule, ForwardForward):  # leaves the output alone
        assert math.isnan(found.cosine[3])
        assert found.norm_ratio[3] == 0.0


def test_over_training() -> None:
    data = blobs().without_test()
    seen = list(
        alignment_over_training(
            FeedbackAlignment(lr=0.01), mlp(16, (30, 20), 4, "tanh"), data, Patience(None, max_passes=6), batch_size=32
        )
    )
    assert [found.passes for found in seen] == list(range(7))
    assert max(found.cosine[1] for found in seen[2:]) > seen[0].cosine[1] + 0.2  # the weights turn towards the feedback
    assert all(found.cosine[2] == pytest.approx(1.0) for found in seen)
