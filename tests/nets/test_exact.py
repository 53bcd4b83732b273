"""Layers that are not what their type says are trained by autograd as they are, or refused by name."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations, prune, weight_norm

import bpfree
from bpfree.algorithms import check_net, make, names
from bpfree.errors import UsageError
from bpfree.nets import Chain, ConvBlock, DenseBlock, ModuleBlock, from_module
from bpfree.testing.bench import RuleOnNet


def observe(module: nn.Module, *_: object) -> None:
    """A hook that changes nothing."""


def doubled(module: nn.Module, args: object, out: torch.Tensor) -> torch.Tensor:
    return 2 * out


def halved_weight(linear: nn.Linear) -> None:
    linear.weight = nn.Parameter(linear.weight.detach()[:4])


def gradient_hook(linear: nn.Linear) -> None:
    linear.weight.register_hook(lambda gradient: 0.5 * gradient)


def own_forward(linear: nn.Linear) -> None:
    linear.forward = lambda x: torch.tanh(nn.functional.linear(x, linear.weight, linear.bias))


class Scaled(nn.Parameter):
    """A parameter of another type."""


def own_parameter(linear: nn.Linear) -> None:
    linear.weight = Scaled(linear.weight.detach())


CHANGES: dict[str, tuple[Callable[[nn.Linear], object], str]] = {
    "pruned": (lambda linear: prune.l1_unstructured(linear, "weight", 0.5), r"has a forward pre-hook \(L1Unstructured\)"),
    "weight norm": (weight_norm, r"has a forward pre-hook \(WeightNorm\)"),
    "parametrized": (parametrizations.orthogonal, "is a ParametrizedLinear, which has no closed form here"),
    "pre-hook": (lambda linear: linear.register_forward_pre_hook(observe), r"has a forward pre-hook \(observe\)"),
    "hook": (lambda linear: linear.register_forward_hook(doubled), r"has a forward hook \(doubled\)"),
    "backward hook": (lambda linear: linear.register_full_backward_hook(observe), r"has a backward hook \(observe\)"),
    "backward pre-hook": (lambda linear: linear.register_full_backward_pre_hook(observe), "has a backward pre-hook"),
    "gradient hook": (gradient_hook, "has a hook on the gradient of its weight"),
    "forward": (own_forward, "has a forward of its own"),
    "parameter type": (own_parameter, "has a weight of type Scaled"),
    "extra parameter": (
        lambda linear: linear.register_parameter("scale", nn.Parameter(torch.ones(()))),
        "has the parameters weight, bias, scale in place of weight and bias",
    ),
    "shape": (halved_weight, r"has a weight of shape \(4, 9\), where its type has \(8, 9\)"),
}


@pytest.mark.parametrize("case", CHANGES)
def test_a_block_by_hand_refuses_it_and_names_the_reason(case: str) -> None:
    change, words = CHANGES[case]
    linear = nn.Linear(9, 8)
    change(linear)
    with pytest.raises(UsageError, match=rf"^DenseBlock: its \w+ {words}.*make it a ModuleBlock") as refusal:
        DenseBlock.of((9,), linear)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("case", CHANGES)
def test_a_block_that_changes_later_is_refused_before_training(case: str) -> None:
    change, words = CHANGES[case]
    net = Chain([DenseBlock((12,), 9), DenseBlock((9,), 8)], 4)
    block = net[1]
    assert isinstance(block, DenseBlock)
    change(block.linear)
    with pytest.raises(UsageError, match=rf"^block 1: DenseBlock: its \w+ {words}"):
        check_net(make("backprop"), net)


@pytest.mark.parametrize("case", [case for case in CHANGES if case != "shape"])
def test_from_module_trains_it_by_autograd(case: str) -> None:
    """The gradient is that of the layer as it is: one small step of SGD moves its parameters along torch's own."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(12, 9), nn.ReLU(), nn.Linear(9, 8), nn.ReLU(), nn.Linear(8, 4)).double()
    CHANGES[case][0](net[2])
    chain = from_module(net, (12,), keep_weights=True)
    assert [type(block) for block in chain] == [DenseBlock, ModuleBlock]
    rule = make("backprop", {"lr": 1.0, "optimiser": "sgd", "momentum": 0.0})
    bench = RuleOnNet(rule, chain, rule.init(chain, torch.Generator().manual_seed(0)))  # start would train a copy
    batch = bench.batch(8)
    before = [parameter.detach().clone() for parameter in net.parameters()]
    loss = nn.functional.cross_entropy(net(batch.x), batch.y)
    expected = torch.autograd.grad(loss, list(net.parameters()), materialize_grads=True)
    bench.step(batch)
    for old, new, gradient in zip(before, net.parameters(), expected, strict=True):
        torch.testing.assert_close(old - new, gradient, atol=1e-12, rtol=0)


def test_a_weight_of_another_shape_is_trained_as_it_is() -> None:
    net = nn.Sequential(nn.Linear(12, 9), nn.ReLU(), nn.Linear(9, 8, bias=False), nn.ReLU(), nn.Linear(4, 3))
    net[2].weight = nn.Parameter(net[2].weight.detach()[:4])
    chain = from_module(net, (12,))
    assert [(type(block), block.out_shape) for block in chain] == [(DenseBlock, (9,)), (ModuleBlock, (4,))]


@pytest.mark.parametrize("rule", sorted(set(names()) - {"feedback-alignment", "foton", "pepita", "sign-symmetry"}))
def test_a_pruned_net_learns_and_stays_pruned(rule: str) -> None:
    """The rules left out take no ModuleBlock. What was cut stays cut; before, the net trained to NaN behind an "ok"."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Flatten(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
    prune.l1_unstructured(net[3], "weight", 0.5)
    digits = bpfree.data.load("digits")
    result = bpfree.fit(make(rule), from_module(net, digits.in_shape), digits, bpfree.Patience(3, max_passes=3))
    assert result.status == "ok"
    assert all(bool(tensor.isfinite().all()) for tensor in net.state_dict().values())
    net(torch.zeros(1, 1, 8, 8))
    assert int((net[3].weight == 0).sum()) == 64 * 32
    if rule not in ("forward-forward",):  # it is slow to start
        assert result.val_accuracy is not None and result.val_accuracy > 0.3


@pytest.mark.parametrize("rule", ["feedback-alignment", "foton", "pepita", "sign-symmetry"])
def test_rules_that_need_a_closed_form_refuse_a_pruned_net(rule: str) -> None:
    net = nn.Sequential(nn.Linear(12, 9), nn.ReLU(), nn.Linear(9, 8), nn.ReLU(), nn.Linear(8, 4))
    prune.l1_unstructured(net[2], "weight", 0.5)
    with pytest.raises(UsageError, match="block 1"):
        check_net(make(rule), from_module(net, (12,)))


def test_a_pruned_layer_starts_every_run_from_what_it_was_given() -> None:
    """Its reset would fill the product of weight and mask, and leave the trained weight under it."""
    net = nn.Sequential(nn.Linear(12, 9), nn.ReLU(), nn.Linear(9, 8), nn.ReLU(), nn.Linear(8, 4))
    prune.l1_unstructured(net[2], "weight", 0.5)
    given = net[2].weight_orig.detach().clone()
    chain = from_module(net, (12,))
    with torch.no_grad():
        net[2].weight_orig.fill_(3.0)
    chain.reset_parameters(torch.Generator().manual_seed(0))
    assert torch.equal(net[2].weight_orig, given)


def test_convolutions_and_their_norms() -> None:
    def build() -> nn.Sequential:
        return nn.Sequential(nn.Conv2d(2, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(144, 3))

    assert isinstance(from_module(build(), (2, 6, 6))[0], ConvBlock)
    for at in range(4):
        net = build()
        net[at].register_forward_hook(observe)
        assert isinstance(from_module(net, (2, 6, 6))[0], ModuleBlock), at
    conv = nn.Conv2d(2, 4, 3)
    conv.weight = nn.Parameter(torch.zeros(4, 2, 5, 5))
    with pytest.raises(UsageError, match=r"its Conv2d has a weight of shape \(4, 2, 5, 5\), where its type has \(4, 2, 3, 3\)"):
        ConvBlock.of((2, 6, 6), conv)
    norm = nn.BatchNorm2d(4)
    norm.register_forward_hook(observe)
    with pytest.raises(UsageError, match=r"its BatchNorm2d has a forward hook \(observe\)"):
        ConvBlock.of((2, 6, 6), nn.Conv2d(2, 4, 3), norm=norm)


def test_a_nested_sequence_with_a_hook_is_one_block() -> None:
    inner = nn.Sequential(nn.Linear(12, 9), nn.ReLU(), nn.Linear(9, 8))
    inner.register_forward_hook(doubled)
    chain = from_module(nn.Sequential(inner, nn.ReLU(), nn.Linear(8, 4)), (12,))
    assert [type(block) for block in chain] == [ModuleBlock]


def test_an_output_that_is_not_plain_is_refused_by_name() -> None:
    net = nn.Sequential(nn.Linear(12, 9), nn.ReLU(), nn.Linear(9, 4))
    prune.l1_unstructured(net[2], "weight", 0.5)
    with pytest.raises(UsageError, match=r"the output \(2 Linear\) has a forward pre-hook .* put a plain nn.Linear behind it"):
        from_module(net, (12,))
    output = nn.Linear(9, 4)
    prune.l1_unstructured(output, "weight", 0.5)
    with pytest.raises(UsageError, match=r"the output \(Linear\) has a forward pre-hook"):
        Chain([DenseBlock((12,), 9)], 4, output=output)
