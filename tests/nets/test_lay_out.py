"""Which nets are brought to the layout in which images lie pixel after pixel, and heads beside such images."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from bpfree.algorithms import MonoForward, step
from bpfree.algorithms._heads import at_head
from bpfree.nets import Block, Chain, ConvBlock, DenseBlock, ModuleBlock, build
from bpfree.nets.layout import features_in_memory, lay_out
from bpfree.numerics.handover import Handover
from bpfree.numerics.layout import by_pixels, is_by_pixels
from bpfree.testing.bench import make_batch
from bpfree.train import initialise

CPU = torch.device("cpu")
IMAGE = (3, 8, 8)


def laid_out(net: Chain, device: torch.device = CPU) -> bool:
    """Whether the layout of any parameter changed."""
    lay_out(net, device)
    return any(is_by_pixels(parameter) for parameter in net.parameters())


class Viewing(nn.Module):
    """A user's module that assumes the default layout."""

    def __init__(self, flatten: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.linear, self.flatten = nn.Linear(4 * 64, 5), flatten

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(self.flatten(x))


def as_in_memory(x: Tensor) -> Tensor:
    """Numbers in the order of memory, whatever the strides say."""
    return x.as_strided((len(x), 4 * 64), (4 * 64, 1))


def behind_a_convolution(module: nn.Module) -> Chain:
    return Chain([ConvBlock(IMAGE, 4), ModuleBlock((4, 8, 8), module)], 3)


def around(conv: nn.Module) -> Chain:
    return Chain([ModuleBlock(IMAGE, nn.Sequential(conv, nn.ReLU()))], 3)


@pytest.mark.parametrize("spec", ["cnn3:4-4-4", "mf-cnn4:4-4-4-4", "lenet5", "resnet8:16"])
def test_nets_whose_blocks_hand_on_images_are(spec: str) -> None:
    assert laid_out(build(spec, (3, 32, 32), 3))


@pytest.mark.parametrize("spec", ["mlp:2x8", "vit:depth=1:width=16", "mixer:depth=1:width=16"])
def test_nets_of_rows_and_tokens_are_not(spec: str) -> None:
    assert not laid_out(build(spec, (3, 8, 8), 3))


def test_only_float32_on_a_processor() -> None:
    assert not laid_out(build("cnn3:4-4-4", IMAGE, 3).double())
    assert not laid_out(build("cnn3:4-4-4", IMAGE, 3), torch.device("cuda"))


def test_a_strided_convolution_of_one_pixel_with_few_channels_is_not() -> None:
    """oneDNN's kernel for its weight gradient writes beyond its memory: resnet8 with 8 channels has a shortcut 8 -> 16."""
    assert not laid_out(build("resnet8:8", (3, 8, 8), 3))
    for channels, strided, plain in ((15, (1, 2), False), (16, (1, 2), True), (8, (1, 1), True), (8, (3, 2), True)):
        assert laid_out(around(nn.Sequential(nn.Conv2d(3, channels, 3), nn.Conv2d(channels, 4, *strided)))) == plain


@pytest.mark.parametrize(
    "conv",
    [
        nn.Conv2d(3, 6, 3, groups=3),
        nn.Conv2d(3, 6, 3, dilation=2),
        nn.Conv2d(3, 6, 3, padding=1, padding_mode="circular"),
        nn.ConvTranspose2d(3, 6, 3),
    ],
    ids=["groups", "dilation", "circular", "transposed"],
)
def test_a_net_with_another_kind_of_convolution_is_not(conv: nn.Module) -> None:
    assert not laid_out(around(conv))


def test_a_users_module_that_cannot_take_such_images_keeps_the_default_layout() -> None:
    assert not laid_out(behind_a_convolution(Viewing(lambda x: x.view(len(x), -1))))  # raises
    assert not laid_out(behind_a_convolution(Viewing(as_in_memory)))  # other numbers
    assert laid_out(behind_a_convolution(Viewing(lambda x: x.flatten(1))))


def test_the_trial_changes_nothing_else() -> None:
    net = Chain([ConvBlock(IMAGE, 4), ModuleBlock((4, 8, 8), nn.Sequential(nn.Flatten(), nn.BatchNorm1d(256), nn.Dropout()))], 3)
    before, random = copy.deepcopy(net.state_dict()), torch.get_rng_state()
    lay_out(net, CPU)
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    assert torch.equal(torch.get_rng_state(), random) and net.training and net[1].training


def test_a_training_starts_in_that_layout() -> None:
    """Weights, moments and activity; values are those of the default layout but for rounding."""
    nets = [build("cnn3:4-4-4", IMAGE, 3) for _ in range(2)]
    rule, batch = MonoForward(), make_batch(6, in_shape=IMAGE, n_classes=3, dtype=torch.float32)
    states = [initialise(rule, nets[0], 0), rule.init(nets[1], torch.Generator().manual_seed(0))]
    for net, state in zip(nets, states, strict=True):
        step(rule, net, state, batch, rule.phases(net)[0])
    conv = nets[0][1]
    assert isinstance(conv, ConvBlock) and is_by_pixels(conv.conv.weight) and is_by_pixels(states[0].slot(1).optimiser.first_0)
    for mine, theirs in zip(nets[0].state_dict().values(), nets[1].state_dict().values(), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-3, atol=1e-3)  # Adam's first step is lr whatever the gradient's size
    assert is_by_pixels(nets[0][0](batch.x))


def draw(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("bias", [True, False])
def test_a_head_on_images_that_lie_pixel_after_pixel_learns_the_same(bias: bool) -> None:
    block, y = ConvBlock((2, 4, 5), 3), torch.tensor([0, 2, 1, 1])
    a, head, offset = draw(4, 3, 4, 5, seed=0), draw(3, 60, seed=1), draw(3, seed=2) if bias else None
    (loss, gradients, delta), (other, others, other_delta) = (
        at_head(block, given, head, offset, y, None) for given in (a, Handover(by_pixels(a)))
    )
    torch.testing.assert_close(loss, other)
    assert len(gradients) == len(others) == 1 + bias
    torch.testing.assert_close(gradients, others)
    plain, pixels = delta.take(), other_delta.take()
    torch.testing.assert_close(plain, pixels)
    assert is_by_pixels(pixels) and others[0].is_contiguous()


def test_features_that_do_more_than_flatten_are_not_read_in_the_order_of_memory() -> None:
    class Pooled(ConvBlock):
        def features(self, activity: Tensor) -> Tensor:
            return activity.mean((2, 3))

    a = by_pixels(draw(2, 3, 4, 5, seed=0))
    blocks: list[Block] = [ConvBlock((2, 4, 5), 3), Pooled((2, 4, 5), 3)]
    rows = [features_in_memory(block, a) for block in blocks]
    assert rows[1] is None and rows[0] is not None
    assert torch.equal(rows[0].view(2, 4, 5, 3).permute(0, 3, 1, 2), a) and rows[0].data_ptr() == a.data_ptr()
    assert features_in_memory(DenseBlock((4,), 3), draw(2, 3, seed=0)) is None
