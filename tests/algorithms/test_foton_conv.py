"""FOTON on convolutions of patches: the operator itself is orthonormal, and the theorem holds."""

from __future__ import annotations

import copy
import warnings

import pytest
import torch

from bpfree.algorithms import Backprop, Foton, WideningWarning
from bpfree.algorithms import _operator as operator
from bpfree.data import Batch
from bpfree.errors import UsageError
from bpfree.nets import Block, Chain, ConvBlock, DenseBlock, build
from bpfree.numerics.feedback import compose
from bpfree.numerics.orthogonal import defect
from bpfree.testing.bench import Bench, make_batch

SHAPE, CLASSES = (3, 10, 13), 4


def patches(shape: tuple[int, ...], channels: int, kernel: int, activation: str = "identity", **options: object) -> ConvBlock:
    return ConvBlock(shape, channels, kernel, activation, stride=kernel, padding=0, **options)  # pyright: ignore


def net(activation: str = "identity") -> Chain:
    """Rows and columns left over at both convolutions, one pooled (with an odd row left over), one without bias, then dense."""
    first = patches(SHAPE, 11, 2, activation, pool="average")  # 5 x 6, pooled to 2 x 3
    second = patches(first.out_shape, 20, 2, activation, bias=False)  # 1 x 1
    third = DenseBlock(second.out_shape, 15, activation)
    return Chain([first, second, third, DenseBlock((15,), 15, activation)], CLASSES).double()


def matrix_of(block: Block) -> torch.Tensor:
    """The block as a linear map, (outputs, inputs), from what its forward pass does to a basis."""
    inputs = int(torch.tensor(block.in_shape).prod())
    basis = torch.eye(inputs, dtype=torch.float64).reshape(inputs, *block.in_shape)
    with torch.no_grad():
        return (block(basis) - block(torch.zeros_like(basis))).flatten(1).t()


def test_operators_have_orthonormal_rows_as_drawn_and_after_upkeep() -> None:
    rule = Foton(orthogonalise_every=1, orthogonalise_steps=3, lr=0.01)
    bench = Bench.start(rule, net())
    for steps in (0, 5):
        bench.steps([8] * steps)
        for block in bench.net:
            operators = matrix_of(block)
            assert float(defect(operators)) < 1e-9
            assert operators.shape[0] <= operators.shape[1]
    assert float(bench.net[0].conv.weight.detach().flatten(1).square().sum(1).mean().sqrt()) == pytest.approx(2.0)  # pyright: ignore


def test_transposed_is_the_transpose() -> None:
    for block in Bench.start(Foton(), net()).net:
        rows = torch.randn(3, *block.out_shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
        torch.testing.assert_close(operator.transposed(block, rows).flatten(1), rows.flatten(1) @ matrix_of(block))


def test_feedback_is_the_product_of_the_operators() -> None:
    bench = Bench.start(Foton(), net())
    expected = compose([*(matrix_of(block) for block in bench.net), bench.net.output.weight.detach()])
    torch.testing.assert_close(bench.state.feedback, expected)  # pyright: ignore


@pytest.mark.parametrize("memory", ["standard", "low"])
def test_linear_conv_net_gets_backprops_gradient(memory: str) -> None:
    plain = {"optimiser": "sgd", "momentum": 0.0, "lr": 1.0}
    ours = Bench.start(Foton(memory=memory, orthogonalise_by="none", **plain), net())
    theirs = Bench.start(Backprop(**plain), net())
    for bench in (ours, theirs):
        bench.net.load_state_dict(ours.net.state_dict())
    generator = torch.Generator().manual_seed(1)
    for block, other in zip(ours.net, theirs.net, strict=True):
        for (name, bias), twin in zip(block.named_parameters(), other.parameters(), strict=True):
            if name.endswith("bias"):
                twin.data.copy_(torch.nn.init.normal_(bias, generator=generator).data)
    before = copy.deepcopy(dict(ours.net.named_parameters()))
    batch = make_batch(7, in_shape=SHAPE, n_classes=CLASSES)
    ours.step(Batch(batch.x.clone(), batch.y, batch.key))
    theirs.step(batch)
    for name, value in theirs.net.named_parameters():
        mine = dict(ours.net.named_parameters())[name]
        assert not torch.equal(mine, before[name])
        torch.testing.assert_close(mine, value, rtol=0, atol=1e-12)


def test_without_the_gain_of_pooling_it_does_not() -> None:
    """Halved weights of the pooled block: its rows have length ½, and the blocks from there on get a quarter."""
    plain = {"optimiser": "sgd", "momentum": 0.0, "lr": 1.0}
    bench = Bench.start(Foton(orthogonalise_by="none", **plain), net())
    twin = Bench.start(Backprop(**plain), net())
    with torch.no_grad():
        bench.net[0].conv.weight.mul_(0.5)  # pyright: ignore
        bench.state.feedback.mul_(0.5)  # pyright: ignore
    twin.net.load_state_dict(bench.net.state_dict())
    before = bench.net[2].linear.weight.detach().clone()  # pyright: ignore
    batch = make_batch(7, in_shape=SHAPE, n_classes=CLASSES)
    bench.step(Batch(batch.x.clone(), batch.y, batch.key))
    twin.step(batch)
    ours, theirs = (before - b.net[2].linear.weight.detach() for b in (bench, twin))  # pyright: ignore
    torch.testing.assert_close(ours, 0.25 * theirs, rtol=0, atol=1e-12)


def test_low_memory_form_agrees_on_a_relu_conv_net() -> None:
    benches = [Bench.start(Foton(memory=memory, orthogonalise_every=2), net("relu")) for memory in ("standard", "low")]
    for bench in benches:
        bench.steps([8, 8, 5, 1])
    expected = benches[0].values()
    for name, value in benches[1].values().items():
        torch.testing.assert_close(value, expected[name], rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(
    ("block", "words"),
    [
        (ConvBlock((3, 8, 8), 6, 2, stride=2, padding=0, pool="max"), "block 0 .* pools by the maximum, .* use pool=average"),
        (ConvBlock((3, 8, 8), 6, 3), "block 0 .* overlap or are padded .kernel 3, stride 1, padding 1.*use stride = kernel"),
        (ConvBlock((3, 8, 8), 6, 2, stride=2, padding=0, norm=True), "block 0 .* BatchNorm"),
    ],
    ids=["max", "overlap", "norm"],
)
def test_what_has_no_orthonormal_operator_is_refused_in_one_line(block: ConvBlock, words: str) -> None:
    with pytest.raises(UsageError, match=words) as seen:
        Foton().check_net(Chain([block], 3))
    assert "\n" not in str(seen.value)


@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 32, 32)], ids=["mnist", "cifar10"])
def test_lenet5_by_patches_is_an_orthogonal_net(shape: tuple[int, ...]) -> None:
    """No block widens, as an operator too; the loss of one batch falls."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        bench = Bench.start(Foton(lr=3e-3), build("lenet5-patches", shape, 10))
    widths = [bench.net[0].conv.in_channels * shape[1] * shape[2], *(block.n_features for block in bench.net)]  # pyright: ignore
    assert widths == sorted(widths, reverse=True)
    for block in bench.net:
        assert float(defect(operator.weight_of(block).detach().flatten(1))) < 1e-5
    examples = bench.batch(32)
    losses = [float(bench.step(Batch(examples.x.clone(), examples.y, examples.key))) for _ in range(25)]
    assert losses[-1] < 0.8 * losses[0]


def test_a_widening_convolution_warns() -> None:
    wide = Chain([patches((3, 8, 8), 13, 2)], 3)
    with pytest.warns(WideningWarning, match="block 0 widens from 12 to 13"):
        Foton().check_net(wide)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Foton().check_net(Chain([patches((3, 8, 8), 12, 2)], 3))
