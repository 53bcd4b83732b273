"""Memory layouts: a transposed, strided or channels-last parameter trains as the plain one, in the user's own object."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from bpfree.algorithms import NotOrthogonalWarning, make, names
from bpfree.errors import UsageError
from bpfree.nets import Chain, ConvBlock, DenseBlock, from_module
from bpfree.testing.bench import RuleOnNet


def transposed(w: Tensor) -> Tensor:
    """The same values, columns behind each other in memory."""
    return w.t().contiguous().t() if w.dim() == 2 else w.contiguous(memory_format=torch.channels_last)


def with_gaps(w: Tensor) -> Tensor:
    """Every other number of a tensor twice as wide."""
    return torch.stack([w, torch.full_like(w, 7.0)], -1)[..., 0]


LAYOUTS = [transposed, with_gaps]


def dense_net() -> nn.Sequential:
    return nn.Sequential(nn.Linear(12, 9), nn.ReLU(), nn.Linear(9, 7), nn.Tanh(), nn.Linear(7, 4))


def dense_net_by_autograd() -> nn.Sequential:
    return nn.Sequential(nn.Linear(12, 9), nn.GELU(), nn.Linear(9, 7), nn.GELU(), nn.Linear(7, 4))


def conv_net() -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(2, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 4, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 36, 4)
    )


def laid_out(build: Callable[[], nn.Sequential], layout: Callable[[Tensor], Tensor] | None) -> nn.Sequential:
    torch.manual_seed(0)
    net = build().double()
    if layout is not None:
        for part in net:
            if isinstance(part, nn.Linear | nn.Conv2d):
                part.weight = nn.Parameter(layout(part.weight.detach()))
                assert not part.weight.is_contiguous()
    return net


def trained(rule: str, chain: Chain) -> tuple[Chain, Tensor]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotOrthogonalWarning)
        algorithm = make(rule)  # RuleOnNet.start would train a copy
        bench = RuleOnNet(algorithm, chain, algorithm.init(chain, torch.Generator().manual_seed(0)))
    bench.all_phases([8, 8, 5])
    return bench.net, make(rule).scores(bench.net, bench.state, bench.batch(6, 99).x, bench.last_phase)


def assert_equal(rule: str, ours: Chain, plain: Chain) -> None:
    (net, scores), (other, expected) = trained(rule, ours), trained(rule, plain)
    torch.testing.assert_close(scores, expected, atol=1e-11, rtol=0)
    for (name, mine), theirs in zip(net.named_parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(mine, theirs, atol=1e-11, rtol=0, msg=lambda m, name=name: f"{name}: {m}")


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(
    ("rule", "build"),
    [*((rule, dense_net) for rule in names()), ("backprop", dense_net_by_autograd), ("mono-forward", dense_net_by_autograd)],
)
def test_dense_weights_train_as_the_plain_ones(
    rule: str, build: Callable[[], nn.Sequential], layout: Callable[[Tensor], Tensor]
) -> None:
    net = laid_out(build, layout)
    chain = from_module(net, (12,))
    assert_equal(rule, chain, from_module(laid_out(build, None), (12,)))
    x = torch.randn(5, 12, dtype=torch.float64)
    torch.testing.assert_close(net(x), chain(x))  # the user's net has what was learned


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("rule", names())
def test_convolutions_train_as_the_plain_ones(rule: str, layout: Callable[[Tensor], Tensor]) -> None:
    ours, plain = (from_module(laid_out(conv_net, each), (2, 6, 6)) for each in (layout, None))
    assert_equal(rule, ours, plain)


@pytest.mark.parametrize("rule", names())
def test_a_chain_that_is_made_channels_last_keeps_that_and_trains_as_the_plain_one(rule: str) -> None:
    ours, plain = (from_module(laid_out(conv_net, None), (2, 6, 6)) for _ in range(2))
    ours.to(memory_format=torch.channels_last)
    first = ours[0]
    assert isinstance(first, ConvBlock)
    address = first.conv.weight.data_ptr()
    assert_equal(rule, ours, plain)
    assert first.conv.weight.is_contiguous(memory_format=torch.channels_last) and not first.conv.weight.is_contiguous()
    assert first.conv.weight.data_ptr() == address


def test_the_parameter_stays_the_users_object() -> None:
    linear = nn.Linear(12, 9)
    linear.weight = weight = nn.Parameter(transposed(linear.weight.detach()))
    values = weight.detach().clone()
    Chain([DenseBlock.of((12,), linear)], 3)
    assert linear.weight is weight and weight.is_contiguous() and torch.equal(weight, values)


def test_two_views_of_one_memory_in_two_blocks_are_refused() -> None:
    one, two = nn.Linear(6, 6), nn.Linear(6, 6)
    two.weight = nn.Parameter(one.weight.detach().t())
    with pytest.raises(UsageError, match="blocks 0 and 1 share a parameter"):
        Chain([DenseBlock.of((6,), one), DenseBlock.of((6,), two)], 3)
