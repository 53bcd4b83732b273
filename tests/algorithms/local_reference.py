"""What the tests of the layer-local family share: small nets of every kind of block, and the gradient of one step."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable

import torch
from torch import Tensor, nn

from bpfree.algorithms import Algorithm, Phase, State, numeric
from bpfree.data import Batch
from bpfree.nets import Chain, ConvBlock, DenseBlock, ModuleBlock
from bpfree.testing.bench import RuleOnNet, make_batch

IN_SHAPE = (2, 6, 5)
N_CLASSES = 3
EXACT = {"rtol": 1e-9, "atol": 1e-9}


def dense() -> Chain:
    first = DenseBlock(IN_SHAPE, 8)
    return Chain([first, DenseBlock((8,), 7, "tanh"), DenseBlock((7,), 6, bias=False)], N_CLASSES).double()


def conv() -> Chain:
    first = ConvBlock(IN_SHAPE, 3, pool="average")
    second = ConvBlock(first.out_shape, 6, activation="tanh", pool="max", norm=True)
    return Chain([first, second, DenseBlock(second.out_shape, 5)], N_CLASSES).double()


def maps() -> Chain:
    first = ConvBlock(IN_SHAPE, 2, norm=True)
    return Chain([first, ConvBlock(first.out_shape, 8, pool="average")], N_CLASSES).double()


def module() -> Chain:
    first = ModuleBlock(IN_SHAPE, nn.Sequential(nn.Conv2d(2, 4, 3), nn.Tanh()))
    tokens = ModuleBlock(first.out_shape, nn.Sequential(nn.Flatten(2), nn.Linear(12, 5), nn.SiLU()))
    return Chain([first, tokens], N_CLASSES).double()


NETS: dict[str, Callable[[], Chain]] = {"dense": dense, "conv": conv, "maps": maps, "module": module}


def batch_of(n: int, index: int = 0) -> Batch:
    return make_batch(n, index=index, in_shape=IN_SHAPE, n_classes=N_CLASSES)


def stepped(rule: Algorithm, net: Chain, batch: Batch, phase: Phase | None = None) -> tuple[RuleOnNet, dict[str, Tensor], Tensor]:
    """A bench as it was before one step, the gradients of the step by name (those that are not 0), and its losses."""
    plain = {"optimiser": "sgd", "momentum": 0.0, "weight_decay": 0.0}
    rates = {name: 1.0 for name in numeric(rule) if name == "lr" or name.endswith("_lr")}
    rule = dataclasses.replace(rule, **plain, **rates)
    bench = RuleOnNet.start(rule, net)
    before = bench.copy()
    losses = bench.step(batch, phase or bench.phases[0])
    old = dict(before.parameters())
    gradients = {name: old[name] - new for name, new in bench.parameters()}
    return before, {name: g for name, g in gradients.items() if g.abs().max() > 0}, losses


def by_autograd(loss: Callable[[Chain, State], Tensor], bench: RuleOnNet) -> dict[str, Tensor]:
    """Gradients of ``loss(net, state)`` by everything that is learned, by name (those that are not 0)."""
    net, state = copy.deepcopy((bench.net, bench.state))
    own = {id(p) for p in net.parameters()}
    named = {f"net.{name}": p for name, p in net.named_parameters()}
    named |= {f"state.{name}": p for name, p in state.named_parameters() if id(p) not in own}
    gradients = torch.autograd.grad(loss(net, state), list(named.values()), allow_unused=True)
    found = zip(named, gradients, strict=True)
    return {name: g for name, g in found if g is not None and not (g == 0).all()}


def assert_same(ours: dict[str, Tensor], theirs: dict[str, Tensor]) -> None:
    """Equal to 1e-9; what one side lacks must be 0 to as much on the other."""
    for name in ours.keys() | theirs.keys():
        one, other = (side.get(name, torch.zeros(())) for side in (ours, theirs))
        torch.testing.assert_close(
            one.expand_as(other) if one.dim() == 0 else one,
            other.expand_as(one) if other.dim() == 0 else other,
            check_dtype=False,
            **EXACT,
            msg=lambda text, name=name: f"{name}: {text}",
        )
    assert len(ours) > 1
