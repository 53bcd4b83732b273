"""Chains of blocks."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from bpfree.errors import UsageError
from bpfree.nets import Chain, DenseBlock, mlp


def test_forward_is_the_blocks_and_the_output() -> None:
    net = mlp((2, 3), (5, 4), 3)
    x = torch.randn(7, 2, 3)
    torch.testing.assert_close(net(x), net.output(net[1](net[0](x))))
    assert net(x).shape == (7, 3)


def test_it_knows_its_shapes() -> None:
    net = mlp((2, 3), (5, 4), 3).double()
    assert (net.in_shape, net.n_classes, len(net)) == ((2, 3), 3, 2)
    assert [block.out_shape for block in net] == [(5,), (4,)]
    assert net.dtype == torch.float64
    assert net.device == torch.device("cpu")
    assert mlp(6, (5,), 3).in_shape == (6,)


def test_the_plain_module_computes_the_same_on_the_same_parameters() -> None:
    net = mlp((2, 3), (5, 4), 3, "tanh")
    plain, x = net.to_module(), torch.randn(7, 2, 3)
    torch.testing.assert_close(plain(x), net(x))
    assert {id(p) for p in plain.parameters()} == {id(p) for p in net.parameters()}


def test_initial_output_is_small_and_biases_are_zero() -> None:
    net = mlp(400, (300,), 50)
    net.reset_parameters(torch.Generator().manual_seed(0))
    assert float(net.output.weight.detach().std()) == pytest.approx(0.01, rel=0.05)
    assert float(net.output.weight.detach().mean()) == pytest.approx(0.0, abs=5e-4)
    assert not net.output.bias.any()


def test_initial_parameters_come_from_the_generator_at_the_same_addresses() -> None:
    nets = [mlp(6, (5, 4), 3) for _ in range(2)]
    addresses = [p.data_ptr() for p in nets[0].parameters()]
    for net in nets:
        net.reset_parameters(torch.Generator().manual_seed(1))
    assert all(torch.equal(a, b) for a, b in zip(nets[0].parameters(), nets[1].parameters(), strict=True))
    assert [p.data_ptr() for p in nets[0].parameters()] == addresses


def test_it_is_a_plain_module_for_saving() -> None:
    names = list(mlp(6, (5, 4), 3).state_dict())
    assert names[0] == "blocks.0.linear.weight"
    assert names[-1] == "output.bias"


def test_no_blocks_are_refused() -> None:
    with pytest.raises(UsageError, match="at least one block"):
        Chain([], 3)


@pytest.mark.parametrize("n_classes", [1, 0])
def test_fewer_than_two_classes_are_refused(n_classes: int) -> None:
    with pytest.raises(UsageError, match=f"at least 2 classes, got {n_classes}"):
        Chain([DenseBlock((6,), 4)], n_classes)


def test_shapes_that_do_not_chain_name_the_blocks() -> None:
    with pytest.raises(UsageError, match=r"block 1 takes \(5,\), but block 0 returns \(4,\)"):
        Chain([DenseBlock((6,), 4), DenseBlock((5,), 4)], 3)


def test_shared_blocks_are_refused() -> None:
    block = DenseBlock((4,), 4)
    with pytest.raises(UsageError, match="blocks 0 and 1 share a parameter"):
        Chain([block, block], 3)


def test_an_output_of_another_size_is_refused() -> None:
    with pytest.raises(UsageError, match="5 features to 3 classes, but the last block has 4"):
        Chain([DenseBlock((6,), 4)], 3, output=nn.Linear(5, 3))
