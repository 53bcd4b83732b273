"""Convolution blocks: shapes, their closed form inside a block, BatchNorm's modes, bad input."""

import copy

import pytest
import torch
from torch import nn

from bpfree.algorithms._closed_form import block_forward, block_gradients, has_closed_form
from bpfree.errors import UsageError
from bpfree.nets import Chain, ConvBlock
from bpfree.numerics.conv import POOLS


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def images(n=5, shape=(3, 8, 6), seed=1):
    return torch.randn(n, *shape, generator=generator(seed), dtype=torch.float64)


def a_block(**options):
    block = ConvBlock((3, 8, 6), 4, **options).double()
    block.reset_parameters(generator())
    return block


@pytest.mark.parametrize(
    ("options", "out_shape"),
    [
        ({}, (4, 8, 6)),
        ({"pool": "max"}, (4, 4, 3)),
        ({"pool": "average", "kernel": 5}, (4, 4, 3)),
        ({"kernel": 5, "padding": 0}, (4, 4, 2)),
        ({"stride": 2, "norm": True}, (4, 4, 3)),
        ({"kernel": 1}, (4, 8, 6)),
    ],
)
def test_shapes(options, out_shape):
    block = a_block(**options)
    assert block.out_shape == out_shape == tuple(block(images()).shape[1:])
    assert block.features(block(images())).shape == (5, block.n_features)


def test_bias_is_left_out_where_there_is_batchnorm():
    assert a_block(norm=True).conv.bias is None
    assert a_block().conv.bias is not None
    assert a_block(norm=True, bias=True).conv.bias is not None


@pytest.mark.parametrize("need_input", [True, False])
@pytest.mark.parametrize("n", [5, 2])
@pytest.mark.parametrize("norm", [True, False])
@pytest.mark.parametrize("pool", POOLS)
def test_closed_form_equals_autograd(pool, norm, n, need_input):
    block = a_block(pool=pool, norm=norm)
    twin = copy.deepcopy(block)
    x, delta = images(n), torch.randn(n, *block.out_shape, generator=generator(2), dtype=torch.float64)
    with torch.no_grad():
        results = []
        for each, maths in ((block, "closed"), (twin, "autograd")):
            a, saved = block_forward(each, x, maths)
            gradients, by_input = block_gradients(each, saved, delta, maths=maths, need_input=need_input)
            results.append([a, *gradients, *([] if by_input is None else [by_input])])
    assert len(results[0]) == 1 + len(list(block.parameters())) + need_input
    for ours, theirs in zip(*results, strict=True):
        assert torch.allclose(ours, theirs, rtol=1e-9, atol=1e-9)
    assert all(torch.equal(mine, other) for mine, other in zip(block.buffers(), twin.buffers(), strict=True))


@pytest.mark.parametrize("maths", ["closed", "autograd"])
@pytest.mark.parametrize("statistics", ["update", "batch", "running"])
def test_modes_of_batchnorm(maths, statistics):
    block = a_block(norm=True)
    block_forward(block, images(seed=7), maths)  # running statistics that differ from a batch's
    before = [buffer.clone() for buffer in block.buffers()]
    with torch.no_grad():
        a, saved = block_forward(block, images(), maths, statistics=statistics)
        gradients, _ = block_gradients(block, saved, torch.ones_like(a), maths=maths)
    assert block.training and block.norm.training
    moved = not all(torch.equal(old, new) for old, new in zip(before, block.buffers(), strict=True))
    assert moved == (statistics == "update")
    block.eval()
    by_running = torch.equal(a, block(images()))
    assert by_running == (statistics == "running")
    assert len(gradients) == 3


def test_evaluation_uses_running_statistics():
    block = a_block(norm=True).eval()
    before = [buffer.clone() for buffer in block.buffers()]
    with torch.no_grad():
        a, _ = block_forward(block, images())
        one, _ = block_forward(block, images(1))
    assert torch.equal(a, block(images()))
    assert len(one) == 1  # one example is enough to be scored
    assert all(torch.equal(old, new) for old, new in zip(before, block.buffers(), strict=True))


def test_reset_is_by_seed_and_in_place():
    block = a_block(norm=True)
    addresses = [tensor.data_ptr() for tensor in block.state_dict().values()]
    fresh = {name: tensor.clone() for name, tensor in block.state_dict().items()}
    block(images())
    block.reset_parameters(generator(1))
    assert not torch.equal(block.conv.weight, fresh["conv.weight"])
    block.reset_parameters(generator())
    assert all(torch.equal(tensor, fresh[name]) for name, tensor in block.state_dict().items())
    assert addresses == [tensor.data_ptr() for tensor in block.state_dict().values()]


def test_shares_the_modules_that_it_is_given():
    conv, norm = nn.Conv2d(3, 4, 5, padding=2), nn.BatchNorm2d(4, eps=1e-3, momentum=0.2)
    block = ConvBlock.of((3, 8, 6), conv, "tanh", pool="max", norm=norm, order=("norm", "activation", "pool"))
    assert block.conv is conv and block.norm is norm and has_closed_form(block)
    assert (block.plan.eps, block.plan.momentum) == (1e-3, 0.2)
    x = images().float()
    assert torch.equal(block(x), nn.functional.max_pool2d(torch.tanh(norm.train()(conv(x))), 2))
    assert {parameter.device.type for parameter in block.parameters()} == {"cpu"}


def test_as_plain_modules():
    block = a_block(norm=True, pool="max").eval()
    assert torch.equal(nn.Sequential(*block.plain())(images()), block(images()))


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: ConvBlock((64,), 4), r"takes images .* got examples of \(64,\).*dense"),
        (lambda: ConvBlock((1, 4, 4), 4, kernel=7, padding=0), "4 x 4 is too small for a 7 x 7 convolution"),
        (lambda: ConvBlock((1, 1, 1), 4, pool="max"), "too small .* with 2 x 2 pooling; use fewer blocks"),
        (lambda: ConvBlock((1, 8, 8), 0), "channels of at least 1, got 0"),
        (lambda: ConvBlock((1, 8, 8), 4, kernel=0), "kernel of at least 1"),
        (lambda: ConvBlock((1, 8, 8), 4, stride=0), "stride of at least 1"),
        (lambda: ConvBlock((1, 8, 8), 4, padding=-1), "padding of at least 0"),
        (lambda: ConvBlock((1, 8, 8), 4, activation="rleu"), "did you mean relu"),
        (lambda: ConvBlock((1, 8, 8), 4, pool="avg"), "unknown pooling 'avg'; did you mean average"),
        (lambda: ConvBlock((1, 8, 8), 4, order=("norm", "pool")), "names each of activation, pool, norm once"),
    ],
)
def test_bad_input(make, words):
    with pytest.raises(UsageError, match=words):
        make()


@pytest.mark.parametrize("maths", ["closed", "autograd"])
def test_batchnorm_refuses_a_batch_of_one(maths):
    with pytest.raises(UsageError, match=r"ConvBlock.*BatchNorm cannot train on a batch of one example; use another batch size"):
        block_forward(a_block(norm=True), images(1), maths)


@pytest.mark.parametrize(("n", "size", "bad"), [(65, 64, True), (1, 64, True), (10, 1, True), (64, 64, False), (66, 64, False)])
def test_a_sweep_that_ends_in_a_batch_of_one_is_refused_before_it_starts(n, size, bad):
    net = Chain([ConvBlock((1, 4, 4), 2), ConvBlock((2, 4, 4), 2, norm=True)], 2)
    Chain([ConvBlock((1, 4, 4), 2)], 2).check_batches(n, size)  # without BatchNorm all sizes are good
    if not bad:
        net.check_batches(n, size)
        return
    with pytest.raises(UsageError, match=r"block 1 \(ConvBlock\) has BatchNorm") as caught:
        net.check_batches(n, size)
    if "--batch-size" in str(caught.value):
        fitting = int(str(caught.value).split("--batch-size ")[1].split(",")[0])
        net.check_batches(n, fitting)
