"""The nets with names: sizes as published, options, and every one trained by every rule that stands."""

import pytest
import torch

import bpfree
from bpfree.errors import UsageError
from bpfree.meter import count_flops
from bpfree.nets import build, describe, names

MNIST, CIFAR = (1, 28, 28), (3, 32, 32)
NAMED = ("cnn3", "lenet5", "mf-cnn4", "mixer", "pepita-conv", "resnet8", "vit")
TINY = {
    "cnn3": "cnn3:4-6-8",
    "lenet5": "lenet5",
    "mf-cnn4": "mf-cnn4:4-4-6-8",
    "mixer": "mixer:depth=2:width=8:patch=7",
    "pepita-conv": "pepita-conv:4",
    "resnet8": "resnet8:4",
    "vit": "vit:depth=2:width=8:patch=7:heads=2",
}


def n_parameters(net):
    return sum(parameter.numel() for parameter in net.parameters())


def multiply_adds(net):
    """Of one example forward."""
    with torch.no_grad():
        net.eval()
        return count_flops(lambda: net(torch.zeros(2, *net.in_shape))) // 4


def test_every_name_has_a_line_of_help():
    assert set(NAMED) <= set(names()) == set(describe())


@pytest.mark.parametrize(
    ("spec", "in_shape", "features"),
    [  # algorithms.md 1.1 and 4.4
        ("cnn3", CIFAR, [8192, 8192, 8192]),
        ("cnn3", MNIST, [6272, 6272, 4608]),
        ("mf-cnn4", CIFAR, [16384, 8192, 4096, 2048]),
        ("mf-cnn4", MNIST, [12544, 6272, 2304, 512]),
        ("lenet5", MNIST, [1176, 400, 120, 84]),
        ("lenet5", CIFAR, [1176, 400, 120, 84]),
        ("pepita-conv", MNIST, [4608]),
        ("resnet8", CIFAR, [16384, 16384, 8192, 64]),
        ("mixer", MNIST, [64] * 4),
        ("vit", CIFAR, [64] * 4),
    ],
)
def test_features(spec, in_shape, features):
    assert [block.n_features for block in build(spec, in_shape, 10)] == features


@pytest.mark.parametrize(
    ("spec", "in_shape", "parameters", "by_hand"),
    [
        # weights of the convolutions (no bias), γ and β, output with bias
        (
            "cnn3",
            CIFAR,
            9 * (3 * 32 + 32 * 128 + 128 * 512) + 2 * (32 + 128 + 512) + 8192 * 10 + 10,
            9 * (3 * 32 * 32**2 + 32 * 128 * 16**2 + 128 * 512 * 8**2) + 8192 * 10,
        ),
        (
            "cnn3",
            MNIST,
            9 * (32 + 32 * 128 + 128 * 512) + 2 * (32 + 128 + 512) + 4608 * 10 + 10,
            9 * (32 * 28**2 + 32 * 128 * 14**2 + 128 * 512 * 7**2) + 4608 * 10,
        ),
        (
            "mf-cnn4",
            MNIST,
            9 * (64 + 64 * 128 + 128 * 256 + 256 * 512) + 960 + 512 * 10 + 10,
            9 * (64 * 28**2 + 64 * 128 * 14**2 + 128 * 256 * 7**2 + 256 * 512 * 3**2) + 512 * 10,
        ),
        ("lenet5", MNIST, 61706, 25 * 6 * 28**2 + 25 * 6 * 16 * 10**2 + 400 * 120 + 120 * 84 + 840),  # as in textbooks
        ("pepita-conv", MNIST, 25 * 32 + 4608 * 10 + 10, 25 * 32 * 24**2 + 4608 * 10),
    ],
)
def test_parameters_and_multiply_adds(spec, in_shape, parameters, by_hand):
    net = build(spec, in_shape, 10)
    assert n_parameters(net) == parameters
    assert multiply_adds(net) == by_hand


def test_token_nets_are_small():
    assert n_parameters(build("vit", MNIST, 10)) < 150_000
    assert n_parameters(build("mixer", MNIST, 10)) < 150_000


@pytest.fixture(scope="module")
def few():
    """24 noisy pictures of 2 classes, 14 x 14."""
    draw = torch.Generator().manual_seed(0)
    y = torch.arange(60) % 2
    x = torch.randn(60, 1, 28, 28, generator=draw) + y.reshape(-1, 1, 1, 1) * torch.linspace(0, 2, 28)
    return bpfree.data.from_arrays(x.numpy(), y.numpy())


@pytest.mark.parametrize("rule", ["backprop", "mono-forward", "forward-forward"])
@pytest.mark.parametrize("name", NAMED)
def test_every_rule_trains_every_net(name, rule, few):
    net = build(TINY[name], few.in_shape, few.n_classes)
    result = bpfree.fit(bpfree.algorithms.make(rule), net, few, bpfree.Patience(1, max_passes=1), batch_size=20)
    assert result.status == "ok"
    assert all(bool(parameter.isfinite().all()) for parameter in net.parameters())


@pytest.mark.parametrize("name", NAMED)
def test_seeds_differ_and_repeat(name):
    net = build(TINY[name], MNIST, 3)
    drawn = []
    for seed in (0, 1, 0):
        net.reset_parameters(torch.Generator().manual_seed(seed))
        drawn.append([parameter.clone() for parameter in net.parameters()])
    assert all(torch.equal(a, b) for a, b in zip(drawn[0], drawn[2], strict=True))
    assert not torch.equal(drawn[0][0], drawn[1][0])


@pytest.mark.parametrize("name", NAMED)
def test_the_plain_module_computes_the_same(name):
    net = build(TINY[name], MNIST, 3).eval()
    x = torch.randn(2, *MNIST, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(net(x), net.to_module()(x), atol=1e-6)


def test_options():
    assert {block.activation for block in build("cnn3:4-4:activation=tanh", MNIST, 2)} == {"tanh"}
    net = build("vit:depth=3:width=8:patch=14:heads=2:activation=relu", MNIST, 2)
    assert [block.out_shape for block in net] == [(4, 8)] * 3
    assert build("lenet5:pool=max", MNIST, 2)[0].plan.pool == "max"


@pytest.mark.parametrize(
    ("spec", "in_shape", "words"),
    [
        ("cnn3", (64,), r"block 0: .* takes images .* got examples of \(64,\)"),
        ("cnn3", (1, 4, 4), "block 2: an image of 1 x 1 is too small .* use fewer blocks"),
        ("mf-cnn4", (1, 8, 8), "block 3: an image of 1 x 1 is too small"),
        ("lenet5", (1, 8, 8), "block 1: an image of 4 x 4 is too small for a 5 x 5"),
        ("pepita-conv", (1, 4, 4), "block 0: an image of 4 x 4"),
        ("vit", (1, 30, 30), "block 0 of vit: patches of 4 x 4 do not tile images of 30 x 30; use patch="),
        ("mixer", (1, 29, 31), "do not tile images of 29 x 31; use another net"),
        ("vit", (64,), "block 0 of vit takes images"),
        ("vit:width=10:heads=4", MNIST, "width 10 does not divide into 4 heads"),
        ("vit:depth=0", MNIST, "depth must be a whole number of at least 1, got '0'"),
        ("vit:3", MNIST, "takes no '3'"),
        ("vit:depht=3", MNIST, "unknown option 'depht'; known: patch, depth, width, heads, activation"),
        ("vit:activation=glu", MNIST, "unknown activation 'glu'; did you mean gelu"),
        ("cnn3:4-x", MNIST, "cannot read the net 'cnn3:4-x'"),
        ("cnn33", MNIST, "unknown net 'cnn33'; did you mean"),
        ("cnn3:poll=max", MNIST, "unknown option 'poll'; known: activation"),
    ],
)
def test_bad_specs(spec, in_shape, words):
    with pytest.raises(UsageError, match=words):
        build(spec, in_shape, 2)
