"""A user's nn.Sequential as a chain: where it is cut, that it computes the same, that the user's own net is trained."""

import copy

import pytest
import torch
from torch import nn

import bpfree
from bpfree.errors import UsageError
from bpfree.nets import ConvBlock, DenseBlock, MeanOverTokens, ModuleBlock, from_module


class Residual(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)
        self.norm = nn.BatchNorm2d(channels)

    def forward(self, x):
        return x + torch.relu(self.norm(self.conv(x)))


class ToTokens(nn.Module):
    def forward(self, x):
        return x.flatten(2).transpose(1, 2)


RELU = nn.ReLU()
"""One object in several places, as users write it."""


def attention(batch_first=True):
    return nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=batch_first)


def a_user_net():
    return nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), Residual(8), ToTokens(), attention(), MeanOverTokens(),
        nn.Linear(8, 10),
    )  # fmt: skip


@pytest.fixture(scope="module")
def digits():
    return bpfree.data.load("digits")


def test_five_lines(digits):
    net = a_user_net()
    chain = from_module(net, digits.in_shape)
    result = bpfree.fit(bpfree.algorithms.MonoForward(lr=1e-2), chain, digits, bpfree.Patience(5, max_passes=5))
    trained = chain.to_module()
    assert trained is net and type(trained) is nn.Sequential
    assert result.val_accuracy > 0.5
    x = torch.randn(7, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert torch.allclose(net.eval()(x), chain.eval()(x), atol=1e-5)


@pytest.mark.parametrize("rule", ["backprop", "mono-forward", "forward-forward"])
def test_every_rule_trains_it_in_place(rule, digits):
    net = a_user_net()
    before = [parameter.detach().clone() for parameter in net.parameters()]
    chain = from_module(net, digits.in_shape)
    result = bpfree.fit(bpfree.algorithms.make(rule), chain, digits, bpfree.Patience(1, max_passes=1), batch_size=359)
    assert result.status == "ok"
    moved = [not torch.equal(old, new) for old, new in zip(before, net.parameters(), strict=True)]
    assert all(moved)  # Forward-Forward re-draws its output as well


def test_it_says_where_it_cut():
    chain = from_module(a_user_net(), (1, 8, 8))
    assert [type(block) for block in chain] == [ConvBlock, ModuleBlock, ModuleBlock]
    assert chain.describe() == [
        "block 0: ConvBlock (1, 8, 8) -> (8, 4, 4), 80 parameters; 0 Conv2d, 1 ReLU, 2 MaxPool2d",
        "block 1: ModuleBlock of Sequential (8, 4, 4) -> (16, 8), 600 parameters; 3 Residual, 4 ToTokens",
        "block 2: ModuleBlock of Sequential (16, 8) -> (8,), 600 parameters; 5 TransformerEncoderLayer, 6 MeanOverTokens",
        "output: 8 features -> 10 classes",
    ]


def kinds(net, in_shape, **options):
    return [type(block) for block in from_module(net, in_shape, **options)]


@pytest.mark.parametrize(
    ("modules", "in_shape", "expected"),
    [
        ([nn.Flatten(), nn.Linear(16, 8), nn.ReLU(), nn.Linear(8, 3)], (1, 4, 4), [DenseBlock]),
        ([nn.Linear(16, 8), nn.Linear(8, 8), nn.LeakyReLU(), nn.Linear(8, 3)], (16,), [DenseBlock, DenseBlock]),
        ([nn.Linear(16, 8), nn.LeakyReLU(0.2), nn.Linear(8, 3)], (16,), [ModuleBlock]),
        ([nn.Linear(16, 8), nn.Tanh(), nn.Dropout(), nn.Linear(8, 3)], (16,), [ModuleBlock]),
        ([nn.Linear(16, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 3)], (16,), [ModuleBlock]),
        ([nn.LayerNorm(16), nn.Linear(16, 8), nn.ReLU(), nn.Linear(8, 3)], (16,), [ModuleBlock]),
        (
            [nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.ReLU(), nn.AvgPool2d(2), nn.Flatten(), nn.Linear(2, 3)],
            (1, 4, 4),
            [ConvBlock],
        ),
        (
            [nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(8, 5), nn.ReLU(), nn.Linear(5, 3)],
            (1, 4, 4),
            [ConvBlock, DenseBlock],
        ),
        ([nn.Conv2d(1, 2, 3, padding_mode="reflect", padding=1), nn.Flatten(), nn.Linear(32, 3)], (1, 4, 4), [ModuleBlock]),
        ([nn.Conv2d(1, 2, (3, 1)), nn.Flatten(), nn.Linear(16, 3)], (1, 4, 4), [ModuleBlock]),
        ([nn.Conv2d(1, 2, 3), nn.MaxPool2d(2, padding=1), nn.Flatten(), nn.Linear(8, 3)], (1, 4, 4), [ModuleBlock]),
        ([nn.Conv2d(1, 2, 3), nn.ReLU(), nn.MaxPool2d(3, stride=2), nn.Flatten(), nn.Linear(8, 3)], (1, 7, 7), [ModuleBlock]),
        ([nn.Conv2d(1, 2, 3), nn.ReLU(), nn.MaxPool2d(2, stride=3), nn.Flatten(), nn.Linear(8, 3)], (1, 7, 7), [ModuleBlock]),
        ([nn.Conv2d(1, 2, 3), nn.ReLU(), nn.AvgPool2d(3, stride=2), nn.Flatten(), nn.Linear(8, 3)], (1, 7, 7), [ModuleBlock]),
        ([nn.Conv2d(1, 2, 3), nn.ReLU(), nn.AvgPool2d(2, stride=3), nn.Flatten(), nn.Linear(8, 3)], (1, 7, 7), [ModuleBlock]),
        ([nn.Conv2d(1, 2, 3), nn.ReLU(), nn.MaxPool2d((2, 3)), nn.Flatten(), nn.Linear(12, 3)], (1, 8, 8), [ModuleBlock]),
        ([nn.Conv2d(1, 2, 3), nn.ReLU(), nn.AvgPool2d((2, 3)), nn.Flatten(), nn.Linear(12, 3)], (1, 8, 8), [ModuleBlock]),
        ([nn.Conv2d(1, 2, 3), nn.AvgPool2d(2, stride=(2, 3)), nn.Flatten(), nn.Linear(12, 3)], (1, 8, 8), [ModuleBlock]),
        ([nn.Conv2d(1, 2, 3), nn.ReLU(), nn.MaxPool2d((2, 2)), nn.Flatten(), nn.Linear(8, 3)], (1, 7, 7), [ConvBlock]),
        ([nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2, affine=False), nn.Flatten(), nn.Linear(8, 3)], (1, 4, 4), [ModuleBlock]),
        ([nn.Conv2d(1, 2, 3), nn.ReLU(), nn.ReLU(), nn.Flatten(), nn.Linear(8, 3)], (1, 4, 4), [ModuleBlock]),
        ([nn.Conv2d(1, 2, 3), nn.Flatten(), nn.Dropout(), nn.Linear(8, 5), nn.Linear(5, 3)], (1, 4, 4), [ConvBlock, ModuleBlock]),
        ([nn.Sequential(nn.Linear(16, 8), nn.ReLU()), nn.Sequential(nn.Linear(8, 3))], (16,), [DenseBlock]),
        ([nn.Linear(4, 8), nn.Flatten(), nn.Linear(32, 3)], (4, 4), [ModuleBlock]),
        ([nn.Linear(16, 8), RELU, nn.Linear(8, 8), RELU, nn.Linear(8, 3)], (16,), [DenseBlock, DenseBlock]),
    ],
)  # fmt: skip
def test_where_it_cuts_and_what_it_recognises(modules, in_shape, expected):
    net = nn.Sequential(*modules)
    assert kinds(net, in_shape) == expected
    chain = from_module(net, in_shape)
    assert {id(parameter) for parameter in chain.parameters()} == {id(parameter) for parameter in net.parameters()}
    x = torch.randn(3, *in_shape, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert torch.allclose(net.eval()(x), chain.eval()(x), atol=1e-6)


def test_nested_sequences_stay_whole_on_request():
    def net():
        return nn.Sequential(nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 8), nn.ReLU()), nn.Linear(8, 2))

    assert kinds(net(), (4,)) == [DenseBlock, DenseBlock]
    assert kinds(net(), (4,), open_nested=False) == [ModuleBlock]
    assert from_module(net(), (4,)).describe()[1].endswith("0.2 Linear, 0.3 ReLU")


def test_a_body_gets_an_output():
    body = nn.Sequential(nn.Linear(4, 8), nn.ReLU()).double()
    chain = from_module(body, (4,), n_classes=3)
    assert chain.output.out_features == 3 and chain.dtype == torch.float64
    x = torch.randn(2, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    assert torch.equal(chain.to_module()(x), chain(x))
    assert chain.to_module()[0] is body[0]


def test_an_output_of_other_width_is_not_taken_for_a_block():
    net = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))
    with pytest.raises(UsageError, match="ends in 2 Linear of 3 features, but n_classes is 5; make it return one score"):
        from_module(net, (4,), 5)


@pytest.mark.parametrize(("given", "told"), [(64, "got 64"), ("digits", "got 'digits'"), (nn.ReLU(), "got a ReLU")])
def test_a_shape_that_is_none(given: object, told: str):
    with pytest.raises(UsageError, match=rf"in_shape must be the shape of one example, .*{told}; give data\.in_shape"):
        from_module(a_user_net(), given)  # pyright: ignore[reportArgumentType]  # the mistake


def test_seeds_redraw_and_kept_weights_stay():
    net = a_user_net()
    given = {name: value.clone() for name, value in net.state_dict().items()}
    kept = from_module(net, (1, 8, 8), keep_weights=True)
    with torch.no_grad():
        net[0].weight.zero_()
    kept.reset_parameters(torch.Generator().manual_seed(0))
    assert all(torch.equal(value, given[name]) for name, value in net.state_dict().items())
    from_module(net, (1, 8, 8)).reset_parameters(torch.Generator().manual_seed(0))
    assert not torch.equal(net[0].weight, given["0.weight"])


def test_a_copy_has_its_own_net():
    chain = from_module(a_user_net(), (1, 8, 8))
    twin = copy.deepcopy(chain)
    assert twin.to_module() is not chain.to_module()
    assert {id(p) for p in twin.to_module().parameters()} == {id(p) for p in twin.parameters()}


def test_a_net_in_evaluation_mode_is_trained_all_the_same():
    net = a_user_net().eval()
    chain = from_module(net, (1, 8, 8))
    assert all(part.training for part in chain.modules())


@pytest.mark.parametrize(
    ("net", "in_shape", "words"),
    [
        (Residual(3), (3, 8, 8), r"a Residual does not say what comes after .*: stages=\['conv', 'norm'\]"),
        (nn.Sequential(nn.Flatten(), nn.Linear(16, 3)), (1, 4, 4), "no hidden block"),
        (nn.Sequential(), (4,), "the net ends in"),
        (nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 3), nn.Softmax(1)), (4,), "ends in 2 Softmax, not in an nn.Linear.*drop"),
        (nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 3, bias=False)), (4,), r"output \(1 Linear\) has no bias"),
        (nn.Sequential(nn.Linear(4, 5), nn.Linear(4, 4), nn.Linear(4, 3)), (4,), r"block 1 \(1 Linear\) cannot .*\(5,\)"),
        (nn.Sequential(nn.Linear(4, 5), nn.Linear(4, 3)), (4,), r"takes 4 features, but block 0 \(0 Linear\) returns \(5,\)"),
        (
            nn.Sequential(nn.Conv2d(3, 2, 3), nn.Flatten(), nn.Linear(8, 3)),
            (1, 4, 4),
            r"block 0 \(0 Conv2d.*\) cannot take examples of \(1, 4, 4\): its convolution takes 3 channels, these have 1",
        ),
        (nn.Sequential(nn.LSTM(4, 4), nn.Linear(4, 3)), (5, 4), r"block 0 \(0 LSTM\) returns a tuple"),
        (
            nn.Sequential(nn.Linear(4, 8), attention(batch_first=False), MeanOverTokens(), nn.Linear(8, 3)),
            (5, 4),
            r"block 1 \(1 TransformerEncoderLayer.*\) mixes the examples",
        ),
        (nn.Sequential(nn.Linear(4, 8), nn.Linear(8, 3)), (5, 4), r"returns \(5, 3\) per example.*MeanOverTokens"),
        (nn.Sequential(*[nn.Linear(4, 4)] * 2, nn.Linear(4, 3)), (4,), "blocks 0 and 1 share a parameter"),
        (nn.Sequential(nn.Linear(4, 4).requires_grad_(False), nn.Linear(4, 3)), (4,), r"block 0 \(0 Linear\) has a frozen"),
    ],
)  # fmt: skip
def test_bad_nets(net, in_shape, words):
    with pytest.raises(UsageError, match=words):
        from_module(net, in_shape)
