"""A training in bfloat16 is near the one in float32, whatever the rule, and keeps all that it learns in float32."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from bpfree import algorithms, nets, rulesets
from bpfree.algorithms import make, names
from bpfree.errors import UsageError
from bpfree.rulesets import Patience
from bpfree.testing.bench import blobs
from bpfree.train import FitResult, fit

REFUSED = {"foton", "pepita"}


def fitted(rule: str, precision: str, dtype: torch.dtype = torch.float32, **options: Any) -> FitResult:
    data = blobs(120).without_test()
    net = nets.build("mlp:2x16", data.in_shape, data.n_classes).to(dtype)
    passes = Patience(None, max_passes=2 * len(make(rule, {}).phases(net)), restore_best=False)
    return fit(make(rule, {}), net, data, passes, batch_size=40, precision=precision, **options)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("rule", sorted(set(names()) - REFUSED))
def test_bfloat16_is_near_float32(rule: str) -> None:
    exact, rounded = fitted(rule, "float32"), fitted(rule, "bfloat16")
    losses = [[entry.train_loss for entry in result.history] for result in (exact, rounded)]
    assert losses[0] != losses[1]
    assert losses[1] == pytest.approx(losses[0], rel=0.03, abs=0.03)
    for name, tensor in algorithms.named_tensors(rounded.net, rounded.state):
        assert tensor.dtype != torch.bfloat16, name


@pytest.mark.parametrize("rule", sorted(REFUSED))
def test_rules_that_cancel_refuse_it(rule: str) -> None:
    with pytest.raises(UsageError, match=rf"^{rule}: precision bfloat16 .* cancels; use precision float32$"):
        fitted(rule, "bfloat16")


@pytest.mark.parametrize(
    ("precision", "dtype", "told"),
    [
        ("tf32", torch.float32, "precision tf32 is a number format of NVIDIA GPUs, and the device is cpu"),
        ("bfloat16", torch.float64, "precision bfloat16 rounds products of float32, and the net is float64; use net.float()"),
        ("half", torch.float32, "unknown precision 'half'"),
    ],
)
def test_what_cannot_be_had(precision: str, dtype: torch.dtype, told: str) -> None:
    with pytest.raises(UsageError, match=told):
        fitted("backprop", precision, dtype)


def test_it_is_hashed() -> None:
    quick = rulesets.load("quick")
    digests = {rulesets.digest(quick.with_changes({"precision": each})) for each in ("float32", "tf32", "bfloat16")}
    assert len(digests) == 3
