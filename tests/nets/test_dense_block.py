"""The dense block."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from bpfree.errors import UnknownNameError, UsageError
from bpfree.nets import DenseBlock
from bpfree.numerics.activations import ACTIVATIONS


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_forward_is_a_layer_and_its_nonlinearity(activation: str) -> None:
    block = DenseBlock((2, 3), 4, activation)
    x = torch.randn(5, 2, 3, generator=generator())
    expected = ACTIVATIONS[activation].apply(nn.functional.linear(x.flatten(1), block.linear.weight, block.linear.bias))
    torch.testing.assert_close(block(x), expected)
    assert block(x).shape == (5, *block.out_shape)
    assert block.n_features == 4


def test_plain_modules_compute_the_same_and_share_parameters() -> None:
    block = DenseBlock((2, 3), 4, "leaky-relu")
    plain = nn.Sequential(*block.plain())
    x = torch.randn(5, 2, 3, generator=generator())
    torch.testing.assert_close(plain(x), block(x))
    assert {id(p) for p in plain.parameters()} == {id(p) for p in block.parameters()}


def test_features_and_their_transpose() -> None:
    """<features(a), g> = <a, features_gradient(g)> for every a and g: that is what a transpose is."""
    block = DenseBlock((6,), 4)
    a, g = torch.randn(5, 4, generator=generator()), torch.randn(5, 4, generator=generator(1))
    torch.testing.assert_close((block.features(a) * g).sum(), (a * block.features_gradient(g)).sum())


def test_initial_weights_fill_their_interval_and_biases_are_zero() -> None:
    block = DenseBlock((100,), 200)
    block.reset_parameters(generator())
    bound = 100**-0.5
    weight = block.linear.weight.detach()
    assert float(weight.abs().max()) <= bound
    assert float(weight.std()) == pytest.approx(bound / 3**0.5, rel=0.02)
    assert not block.linear.bias.any()


def test_initial_weights_come_from_the_generator_alone() -> None:
    blocks = [DenseBlock((6,), 4) for _ in range(3)]
    for block, seed in zip(blocks, (1, 1, 2), strict=True):
        torch.manual_seed(seed * 99)
        block.reset_parameters(generator(seed))
    assert torch.equal(blocks[0].linear.weight, blocks[1].linear.weight)
    assert not torch.equal(blocks[0].linear.weight, blocks[2].linear.weight)


def test_reset_keeps_addresses() -> None:
    block = DenseBlock((6,), 4)
    before = [p.data_ptr() for p in block.parameters()]
    block.reset_parameters(generator())
    assert [p.data_ptr() for p in block.parameters()] == before


def test_without_bias() -> None:
    block = DenseBlock((6,), 4, bias=False)
    block.reset_parameters(generator())
    assert [name for name, _ in block.named_parameters()] == ["linear.weight"]
    assert not block(torch.zeros(1, 6)).any()


@pytest.mark.parametrize("width", [0, -3])
def test_a_width_below_one_is_refused(width: int) -> None:
    with pytest.raises(UsageError, match=f"at least 1 unit, got {width}"):
        DenseBlock((6,), width)


def test_an_unknown_activation_offers_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match="unknown activation 'relus'; did you mean relu"):
        DenseBlock((6,), 4, "relus")
