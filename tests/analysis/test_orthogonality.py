"""Orthogonality defect over training."""

from __future__ import annotations

import pytest
import torch

from bpfree import Patience
from bpfree.algorithms import Foton
from bpfree.analysis import defects, orthogonality_over_training
from bpfree.nets import mlp
from bpfree.testing.bench import blobs


def test_defects_of_known_weights() -> None:
    net = mlp(6, (4, 4), 3)
    with torch.no_grad():
        net[0].linear.weight.copy_(torch.eye(4, 6))
        net[1].linear.weight.copy_(2 * torch.eye(4))
        net.output.weight.zero_()
    assert defects(net) == pytest.approx((0.0, 3.0, 1.0))


def test_over_training_upkeep_holds_the_defect() -> None:
    data, stop = blobs().without_test(), Patience(None, max_passes=3)
    worst = {}
    for by in ("bjorck", "none"):
        rule = Foton(orthogonalise_by=by, orthogonalise_every=1, lr=0.01)
        seen = list(orthogonality_over_training(rule, mlp(16, (16, 12), 4), data, stop, batch_size=32))
        assert [passes for passes, _ in seen] == [0, 1, 2, 3]
        assert max(seen[0][1][:2]) < 1e-6
        worst[by] = max(seen[-1][1][:2])
    assert worst["bjorck"] < 0.02 < 0.1 < worst["none"]
