"""Anybody's module as a block: shapes found, gradients kept inside, fresh weights by seed, bad modules refused."""

import copy

import pytest
import torch
from torch import nn

from bpfree.algorithms._closed_form import block_activity, block_forward, block_gradients, has_closed_form
from bpfree.errors import UsageError
from bpfree.meter import count_flops
from bpfree.nets import Chain, MeanOverTokens, ModuleBlock


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


class Scaled(nn.Module):
    """Has a raw parameter that nobody re-draws, and a linear map that draws its own."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.full((4,), 0.5))
        self.linear = nn.Linear(6, 4)

    def forward(self, x):
        return self.scale * self.linear(x)


def attention(**options):
    return nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, **options)


class Computes(nn.Module):
    """A parameter, and any function of it and the input."""

    def __init__(self, function):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1))
        self.function = function

    def forward(self, x):
        return self.function(x, self.weight)


@pytest.mark.parametrize(
    ("in_shape", "module", "out_shape", "n_features"),
    [
        ((6,), nn.Linear(6, 4), (4,), 4),
        ((3, 8, 8), nn.Conv2d(3, 2, 3), (2, 6, 6), 72),
        ((5, 8), attention(batch_first=True), (5, 8), 8),
        ((5, 8), nn.Sequential(nn.Linear(8, 3), nn.Flatten()), (15,), 15),
    ],
)
def test_shapes_are_found(in_shape, module, out_shape, n_features):
    block = ModuleBlock(in_shape, module)
    assert (block.in_shape, block.out_shape, block.n_features) == (in_shape, out_shape, n_features)
    assert not has_closed_form(block)
    a = block(torch.randn(3, *in_shape, generator=generator()))
    assert block.features(a).shape == (3, n_features)


def test_a_dry_run_leaves_no_trace():
    module = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Dropout())
    module[2].eval()
    before = {name: value.clone() for name, value in module.state_dict().items()}
    chance = torch.get_rng_state()
    ModuleBlock((1, 5, 5), module)
    assert torch.equal(chance, torch.get_rng_state())
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())
    assert [part.training for part in module] == [True, True, False]


def test_features_and_their_transpose():
    """⟨features(a), g⟩ = ⟨a, features_gradient(g)⟩, for sequences and for maps."""
    for block in (ModuleBlock((5, 8), nn.Linear(8, 3)), ModuleBlock((5, 8), nn.Linear(8, 3), tokens=False)):
        block = block.double()
        a = torch.randn(4, 5, 3, generator=generator(), dtype=torch.float64)
        g = torch.randn(4, block.n_features, generator=generator(1), dtype=torch.float64)
        assert block.features_gradient(g).shape == a.shape
        assert torch.allclose((block.features(a) * g).sum(), (a * block.features_gradient(g)).sum())
    assert block.n_features == 15


def test_gradients_stay_inside():
    block = ModuleBlock((5, 8), attention(batch_first=True)).double()
    upstream = torch.randn(3, 5, 8, generator=generator(), dtype=torch.float64, requires_grad=True)
    a, saved = block_forward(block, upstream * 1.0)
    assert not a.requires_grad
    delta = torch.randn(a.shape, generator=generator(1), dtype=torch.float64)
    gradients, by_input = block_gradients(block, saved, delta, need_input=True)
    expected = torch.autograd.grad(block(upstream), [*block.parameters(), upstream], delta)
    assert all(torch.allclose(x, y) for x, y in zip([*gradients, by_input], expected, strict=True))
    assert upstream.grad is None and all(parameter.grad is None for parameter in block.parameters())


def test_an_unused_parameter_gets_a_gradient_of_zero():
    block = ModuleBlock((6,), Computes(lambda x, _: x))
    with torch.enable_grad():
        _, saved = block_forward(block, torch.ones(2, 6))
    assert block_gradients(block, saved, torch.ones(2, 6))[0][0].tolist() == [0.0]


def test_multiply_adds_of_a_training_step_are_counted():
    """Two linear maps: forward 2 products, backward 2 by weights and 1 by what lies between; the input's on request."""
    block = ModuleBlock((6,), nn.Sequential(nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 4)))
    n = 3
    first, second = 2 * n * 6 * 5, 2 * n * 5 * 4

    def step(need_input):
        a, saved = block_forward(block, torch.ones(n, 6))
        block_gradients(block, saved, torch.ones_like(a), need_input=need_input)

    assert count_flops(lambda: step(False)) == 2 * first + 3 * second
    assert count_flops(lambda: step(True)) == 3 * first + 3 * second


@pytest.mark.parametrize("statistics", ["running", "batch", "update"])
def test_activity_alone(statistics):
    x = torch.randn(8, 6, generator=generator())
    block = ModuleBlock((6,), nn.Sequential(nn.Linear(6, 4), nn.BatchNorm1d(4)))
    twin = copy.deepcopy(block)
    a = block_activity(block, x, statistics=statistics)
    assert not a.requires_grad
    assert torch.equal(a, block_forward(twin, x, statistics=statistics)[0])
    assert all(torch.equal(mine, other) for mine, other in zip(block.buffers(), twin.buffers(), strict=True))


def draws(block, seed):
    block.reset_parameters(generator(seed))
    return {name: tensor.clone() for name, tensor in block.state_dict().items()}


@pytest.mark.parametrize("module", [attention(batch_first=True), nn.Linear(8, 3)], ids=["attention", "linear"])
def test_every_seed_draws_its_own_weights(module):
    block = ModuleBlock((5, 8), module)
    addresses = [parameter.data_ptr() for parameter in block.parameters()]
    chance = torch.get_rng_state()
    first, other, again = draws(block, 0), draws(block, 1), draws(block, 0)
    assert torch.equal(chance, torch.get_rng_state())
    assert all(torch.equal(first[name], again[name]) for name in first)
    weights = [name for name in first if name.endswith("weight") and "norm" not in name]
    assert all(not torch.equal(first[name], other[name]) for name in weights)
    assert addresses == [parameter.data_ptr() for parameter in block.parameters()]


def test_attention_is_drawn_as_its_constructor_does():
    block = ModuleBlock((5, 8), attention(batch_first=True))
    draws(block, 0)
    assert not block.module.self_attn.out_proj.bias.any()
    bound = (6 / (8 + 24)) ** 0.5  # Xavier uniform of the stacked projections
    assert 0.8 * bound < block.module.self_attn.in_proj_weight.abs().max() <= bound


def test_what_cannot_be_drawn_goes_back_to_what_was_given():
    block = ModuleBlock((6,), Scaled())
    with torch.no_grad():
        block.module.scale.fill_(9.0)
    first = draws(block, 0)
    assert first["module.scale"].tolist() == [0.5] * 4
    assert not torch.equal(first["module.linear.weight"], draws(block, 1)["module.linear.weight"])


def test_kept_weights_come_back():
    module = nn.Sequential(nn.Linear(6, 4), nn.BatchNorm1d(4))
    given = copy.deepcopy(module.state_dict())
    block = ModuleBlock((6,), module, keep_weights=True)
    block(torch.randn(5, 6, generator=generator()))  # moves running statistics
    with torch.no_grad():
        module[0].weight.zero_()
    block.to(torch.float64).to(torch.float32)  # buffers are replaced on the way
    draws(block, 3)
    assert all(torch.equal(value, given[name]) for name, value in module.state_dict().items())


def test_frozen_parts_behave_as_at_evaluation():
    block = ModuleBlock((6,), nn.Sequential(nn.Linear(6, 4), nn.BatchNorm1d(4), nn.Dropout()))
    x = torch.randn(8, 6, generator=generator())
    before = [buffer.clone() for buffer in block.buffers()]
    a, _ = block_forward(block, x, statistics="running")
    assert block.module[2].training
    assert torch.equal(a, block.eval()(x))
    assert all(torch.equal(old, new) for old, new in zip(before, block.buffers(), strict=True))


def test_tokens_as_plain_module():
    net = Chain([ModuleBlock((5, 8), nn.Linear(8, 3))], 2)
    assert isinstance(net.to_module()[-2], MeanOverTokens)


@pytest.mark.parametrize(
    ("in_shape", "module", "words"),
    [
        (nn.Linear(6, 4), (6,), "got a tuple as module; swap the two"),
        ((6,), nn.ReLU(), "around ReLU has no parameters, so it has nothing to learn; join it"),
        ((6,), nn.Linear(6, 4).requires_grad_(False), "frozen parameter 'weight'; set requires_grad=True"),
        ((5, 8), nn.LSTM(8, 3, batch_first=True), "around LSTM returns a tuple, not a tensor; wrap it"),
        ((5, 8), attention(), "mixes the examples of a batch up.*batch_first=True"),
        ((6,), Computes(lambda x, w: (x * w).sum()), "the first axis must stay that of the examples"),
        ((6,), Computes(lambda x, w: (x * w).flatten()), "the first axis must stay"),
        ((6,), Computes(lambda x, w: (x * w).t()), "the first axis must stay"),
        ((6,), Computes(lambda x, w: (x * w)[:, 0]), "the first axis must stay.*one more behind it"),
        ((6,), Computes(lambda x, w: x - x.mean(0) * w), "mixes the examples of a batch up"),
        ((6,), Computes(lambda x, w: (x * w).long()), "returns torch.int64; .* must be floating-point"),
        ((6,), nn.Sequential(nn.ReLU(inplace=True), nn.Linear(6, 4)), "overwrites its input.*inplace=False"),
        ((1, 8, 8), nn.Conv2d(3, 4, 3), "takes 3 channels, these have 1; .* in_channels=1, or repeat the grey channel 3 times"),
        ((3, 8, 8), nn.Conv2d(1, 4, 3), "takes 1 channels, these have 3; build it with in_channels=3"),
        ((5,), nn.Linear(6, 4), "takes 6 features, these have 5; build it with in_features=5"),
        ((1, 2, 2), nn.Conv2d(1, 4, 5), r"cannot take examples of \(1, 2, 2\) \(.*Kernel size.*\); change the module"),
    ],
)
def test_bad_modules(in_shape, module, words):
    with pytest.raises(UsageError, match=words):
        ModuleBlock(in_shape, module)


def test_the_name_stands_in_the_message():
    with pytest.raises(UsageError, match=r"^my stem has no parameters"):
        ModuleBlock((6,), nn.ReLU(), name="my stem")
    with pytest.raises(UsageError, match="tokens=True needs an activity"):
        ModuleBlock((6,), nn.Linear(6, 4), tokens=True)


def test_batchnorm_over_one_example():
    block = ModuleBlock((6,), nn.Sequential(nn.Linear(6, 4), nn.BatchNorm1d(4)))
    with pytest.raises(UsageError, match="BatchNorm cannot train on a batch of one"):
        block_forward(block, torch.ones(1, 6))
    assert block_forward(block, torch.ones(1, 6), statistics="running")[0].shape == (1, 4)
