"""FOTON on convolutions: the operator itself is orthonormal, and the theorem holds, with patches apart and overlapping."""

from __future__ import annotations

import copy
import warnings

import pytest
import torch

from bpfree.algorithms import Backprop, Foton, NotOrthogonalWarning, check_net
from bpfree.data import Batch
from bpfree.errors import UsageError
from bpfree.nets import Block, Chain, ConvBlock, DenseBlock, build, operator
from bpfree.numerics.feedback import compose
from bpfree.numerics.orthogonal import defect
from bpfree.testing.bench import RuleOnNet, make_batch

SHAPE, CLASSES = (3, 10, 13), 4


def patches(shape: tuple[int, ...], channels: int, kernel: int, activation: str = "identity", **options: object) -> ConvBlock:
    return ConvBlock(shape, channels, kernel, activation, stride=kernel, padding=0, **options)


def net(activation: str = "identity", kind: str = "apart") -> Chain:
    """Rows and columns left over at both convolutions, one pooled (with an odd row left over), one without bias, then dense."""
    if kind == "apart":
        first = patches(SHAPE, 11, 2, activation, pool="average")  # 5 x 6, pooled to 2 x 3
        second = patches(first.out_shape, 20, 2, activation, bias=False)  # 1 x 1
    else:
        first = ConvBlock(SHAPE, 11, 3, activation, stride=2, padding=0)  # 4 x 6, a column left over
        second = ConvBlock(first.out_shape, 10, 2, activation, stride=1, padding=0, pool="average", bias=False)  # 3 x 5, to 1 x 2
    third = DenseBlock(second.out_shape, 15, activation)
    return Chain([first, second, third, DenseBlock((15,), 15, activation)], CLASSES).double()


KINDS = pytest.mark.parametrize("kind", ["apart", "overlapping"])


def matrix_of(block: Block) -> torch.Tensor:
    """The block as a linear map, (outputs, inputs), from what its forward pass does to a basis."""
    inputs = int(torch.tensor(block.in_shape).prod())
    basis = torch.eye(inputs, dtype=torch.float64).reshape(inputs, *block.in_shape)
    with torch.no_grad():
        return (block(basis) - block(torch.zeros_like(basis))).flatten(1).t()


@KINDS
def test_operators_have_orthonormal_rows_as_drawn_and_after_upkeep(kind: str) -> None:
    """After a step of Adam (some 0.06 off without upkeep): to rounding where patches are apart, slowly where they overlap."""
    rule = Foton(orthogonalise_every=1, orthogonalise_steps=3, lr=0.01)
    bench = RuleOnNet.start(rule, net(kind=kind))
    for steps, largest in ((0, 1e-12), (5, 1e-9 if kind == "apart" else 0.05)):
        bench.steps([8] * steps)
        for block in bench.net:
            operators = matrix_of(block)
            assert float(defect(operators)) < largest
            assert operators.shape[0] <= operators.shape[1]
    pooled = bench.net[0 if kind == "apart" else 1]
    length = pooled.conv.weight.detach().flatten(1).square().sum(1).mean().sqrt()
    assert float(length) == pytest.approx(2.0, rel=1e-6 if kind == "apart" else 0.02)


@pytest.mark.parametrize("padding", [0, 1])
@KINDS
def test_transposed_is_the_transpose(kind: str, padding: int) -> None:
    blocks = list(RuleOnNet.start(Foton(), net(kind=kind)).net)
    if padding:
        blocks = [ConvBlock((3, 9, 8), 4, 3, "identity", stride=2, padding=padding, pool="average").double()]
    for block in blocks:
        rows = torch.randn(3, *block.out_shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
        torch.testing.assert_close(operator.transposed(block, rows).flatten(1), rows.flatten(1) @ matrix_of(block))


@KINDS
def test_feedback_is_the_product_of_the_operators(kind: str) -> None:
    bench = RuleOnNet.start(Foton(), net(kind=kind))
    expected = compose([*(matrix_of(block) for block in bench.net), bench.net.output.weight.detach()])
    torch.testing.assert_close(bench.state.feedback, expected)


@pytest.mark.parametrize("memory", ["standard", "low"])
@KINDS
def test_linear_conv_net_gets_backprops_gradient(kind: str, memory: str) -> None:
    plain = {"optimiser": "sgd", "momentum": 0.0, "lr": 1.0}
    ours = RuleOnNet.start(Foton(memory=memory, orthogonalise_by="none", **plain), net(kind=kind))
    theirs = RuleOnNet.start(Backprop(**plain), net(kind=kind))
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
    bench = RuleOnNet.start(Foton(orthogonalise_by="none", **plain), net())
    twin = RuleOnNet.start(Backprop(**plain), net())
    with torch.no_grad():
        bench.net[0].conv.weight.mul_(0.5)
        bench.state.feedback.mul_(0.5)
    twin.net.load_state_dict(bench.net.state_dict())
    before = bench.net[2].linear.weight.detach().clone()
    batch = make_batch(7, in_shape=SHAPE, n_classes=CLASSES)
    bench.step(Batch(batch.x.clone(), batch.y, batch.key))
    twin.step(batch)
    ours, theirs = (before - b.net[2].linear.weight.detach() for b in (bench, twin))
    torch.testing.assert_close(ours, 0.25 * theirs, rtol=0, atol=1e-12)


@KINDS
def test_low_memory_form_agrees_on_a_relu_conv_net(kind: str) -> None:
    benches = [RuleOnNet.start(Foton(memory=memory, orthogonalise_every=2), net("relu", kind)) for memory in ("standard", "low")]
    for bench in benches:
        bench.steps([8, 8, 5, 1])
    expected = benches[0].values()
    for name, value in benches[1].values().items():
        torch.testing.assert_close(value, expected[name], rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(
    ("block", "words"),
    [
        (ConvBlock((3, 8, 8), 6, 2, stride=2, padding=0, pool="max"), "block 0 .* pools by the maximum, .* use pool=average"),
        (ConvBlock((3, 8, 8), 6, 2, stride=2, padding=0, norm=True), "block 0 .* BatchNorm"),
    ],
    ids=["max", "norm"],
)
def test_what_has_no_orthonormal_operator_is_refused_in_one_line(block: ConvBlock, words: str) -> None:
    with pytest.raises(UsageError, match=words) as seen:
        check_net(Foton(), Chain([block], 3))
    assert "\n" not in str(seen.value)


@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 32, 32)], ids=["mnist", "cifar10"])
def test_lenet5_by_patches_is_an_orthogonal_net(shape: tuple[int, ...]) -> None:
    """No block widens, as an operator too; the loss of one batch falls."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        bench = RuleOnNet.start(Foton(lr=3e-3), build("lenet5-patches", shape, 10))
    widths = [bench.net[0].conv.in_channels * shape[1] * shape[2], *(block.n_features for block in bench.net)]
    assert widths == sorted(widths, reverse=True)
    for block in bench.net:
        assert float(defect(operator.weight_of(block).detach().flatten(1))) < 1e-5
    examples = bench.batch(32)
    losses = [float(bench.step(Batch(examples.x.clone(), examples.y, examples.key))) for _ in range(25)]
    assert losses[-1] < 0.8 * losses[0]


@pytest.mark.parametrize(
    ("block", "words"),
    [
        (patches((3, 8, 8), 13, 2), "block 0 widens from 12 to 13 per step of its patches"),
        (ConvBlock((3, 8, 8), 13, 3, stride=2, padding=0), "block 0 widens from 12 to 13 per step of its patches"),
        (ConvBlock((3, 8, 8), 2, 3), "block 0 pads by 1, which cuts rows at the border short .use padding=0.; .* guarantee"),
    ],
    ids=["apart", "overlapping", "padded"],
)
def test_a_convolution_that_cannot_be_orthonormal_warns(block: ConvBlock, words: str) -> None:
    with pytest.warns(NotOrthogonalWarning, match=words):
        check_net(Foton(), Chain([block], 3))


@pytest.mark.parametrize("block", [patches((3, 8, 8), 12, 2), ConvBlock((3, 8, 8), 12, 3, stride=2, padding=0)])
def test_the_widest_that_can_be_orthonormal_does_not(block: ConvBlock) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_net(Foton(), Chain([block], 3))


def test_a_kernel_as_large_as_its_image_is_a_matrix() -> None:
    """One patch: 75 inputs, so 60 maps do not widen, though 60 > 3 channels x stride²; LeNet-5's last convolution was one."""
    one = Chain([ConvBlock((3, 5, 5), 60, 5, "identity", padding=0)], 3).double()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        bench = RuleOnNet.start(Foton(orthogonalise_every=1, orthogonalise_steps=3), one)
    bench.steps([8] * 3)
    assert float(defect(matrix_of(bench.net[0]))) < 1e-9


def test_weights_in_channels_last_are_drawn_and_kept() -> None:
    block = ConvBlock((3, 8, 8), 12, 2, stride=2, padding=0)
    block.conv.weight = torch.nn.Parameter(block.conv.weight.detach().contiguous(memory_format=torch.channels_last))
    bench = RuleOnNet.start(Foton(orthogonalise_every=1, orthogonalise_steps=3), Chain([block], 3).double())
    bench.steps([8] * 2)
    assert operator.defect(bench.net[0]) < 1e-9


@pytest.mark.parametrize("method", ["svd", "newton-schulz"])
def test_overlapping_patches_are_kept_by_bjorck_alone(method: str) -> None:
    with pytest.raises(UsageError, match=f"patches of block 0 overlap, where orthogonalise_by={method} has no form; use"):
        check_net(Foton(orthogonalise_by=method), Chain([ConvBlock((3, 8, 8), 12, 3, stride=2, padding=0)], 3))
    check_net(Foton(orthogonalise_by=method), Chain([patches((3, 8, 8), 12, 2)], 3))


@pytest.mark.parametrize("name", ["lenet5", "pepita-conv:pool=average", "patches:overlap=1"])
def test_the_papers_nets_train(name: str) -> None:
    """LeNet-5 and PEPITA's net widen: FOTON trains them, with the warning, and the loss of one batch falls."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore" if name.startswith(("lenet", "pepita")) else "error")
        bench = RuleOnNet.start(Foton(lr=1e-3), build(name, (3, 32, 32), 10))
    examples = bench.batch(32)
    losses = [float(bench.step(Batch(examples.x.clone(), examples.y, examples.key))) for _ in range(25)]
    assert losses[-1] < 0.9 * losses[0]
