"""One update for all blocks of a small net: the numbers of updates block by block."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from bpfree.algorithms import (
    Algorithm,
    Blockwise,
    DirectFeedbackAlignment,
    ForwardForward,
    Foton,
    LocalSimilarity,
    MonoForward,
    Pepita,
    SpatialGoodness,
    _gather,
)
from bpfree.algorithms._gather import Gather, is_small
from bpfree.nets import mlp
from bpfree.testing.bench import RuleOnNet

RULES = [
    MonoForward(weight_decay=0.1),
    MonoForward(optimiser="sgd", raw_projection=True),
    ForwardForward(inference="head", head_lr=0.01),
    Blockwise(reach=1),
    DirectFeedbackAlignment(),
    Foton(),
    LocalSimilarity(),
    Pepita(),
    SpatialGoodness(),
]


def _trained(rule: Algorithm[Any], steps: int = 3) -> RuleOnNet:
    bench = RuleOnNet.start(rule, mlp((1, 4, 4), (8, 7, 6), 3))
    for k in range(steps):
        bench.step(bench.batch(5, k))
    return bench


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_the_same_bits_as_block_by_block(rule: Algorithm[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    together = _trained(rule)
    assert together.state.gather(together.net) is not None
    monkeypatch.setattr(_gather, "GATHER_BYTES", 0)
    apart = _trained(rule)
    assert apart.state.gather(apart.net) is None
    for (name, mine), (_, other) in zip(together.state.state_dict().items(), apart.state.state_dict().items(), strict=True):
        assert torch.equal(mine, other), name
    for (name, mine), (_, other) in zip(together.net.state_dict().items(), apart.net.state_dict().items(), strict=True):
        assert torch.equal(mine, other), name


def test_one_call_of_the_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    kernel = torch._fused_adam_
    monkeypatch.setattr(torch, "_fused_adam_", lambda *args, **options: (calls.append(len(args[0])), kernel(*args, **options)))
    _trained(MonoForward(), steps=1)
    assert calls == [9]  # weight, bias and head of three blocks
    calls.clear()
    _trained(ForwardForward(inference="head", weight_decay=0.0, head_weight_decay=0.0, head_lr=0.01), steps=1)
    assert calls == [6, 1]  # the head has a learning rate of its own


def test_a_step_that_fails_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = _trained(MonoForward(), steps=1)
    before = {name: tensor.clone() for name, tensor in bench.net.state_dict().items()}
    gather = bench.state.gather(bench.net)
    assert gather is not None
    monkeypatch.setattr(MonoForward, "last_step", lambda *_, **__: (_ for _ in ()).throw(RuntimeError("in the last block")))
    with pytest.raises(RuntimeError, match="in the last block"):
        bench.step(bench.batch(5))
    assert not gather.open
    monkeypatch.undo()
    for name, tensor in bench.net.state_dict().items():
        assert torch.equal(tensor, before[name])


def test_the_size_of_a_small_net() -> None:
    assert is_small(mlp(64, (256, 256), 10))
    assert not is_small(mlp(784, (1000, 1000), 10))


def test_block_steps_outside_of_learn_are_done_at_once() -> None:
    bench = _trained(MonoForward(), steps=1)
    batch, block, slot = bench.batch(5), bench.net[0], bench.state.slot(0)
    assert isinstance(slot.optimiser.gather, Gather)
    before = [parameter.detach().clone() for parameter in block.parameters()]
    with torch.no_grad():
        MonoForward().block_step(block, slot, batch.x, batch.y, True)
    assert not any(torch.equal(mine, other) for mine, other in zip(block.parameters(), before, strict=True))
