"""PEPITA on convolutions: the formula by patches, pooling, masks, what is refused."""

from __future__ import annotations

import pytest
import torch

from bpfree.algorithms import Pepita, check_net
from bpfree.algorithms.pepita.responses import respond, response_gradients
from bpfree.data import load
from bpfree.errors import UsageError
from bpfree.nets import Chain, ConvBlock, DenseBlock, build
from bpfree.testing.bench import RuleOnNet, fingerprint
from bpfree.train import Patience, fit

SHAPE = (2, 7, 6)


def net(pool: str = "max") -> Chain:
    first = ConvBlock(SHAPE, 4, 3, "tanh", pool=pool)
    second = ConvBlock(first.out_shape, 5, 2, "relu", padding=0, bias=False)
    return Chain([first, second, DenseBlock(second.out_shape, 6, "tanh")], 3).double()


def by_patches(difference: torch.Tensor, x: torch.Tensor, kernel: int, padding: int) -> torch.Tensor:
    """Mean over places of difference ⊗ patch, written out."""
    x = torch.nn.functional.pad(x, (padding,) * 4)
    total = torch.zeros(difference.shape[1], x.shape[1], kernel, kernel, dtype=x.dtype)
    places = [(i, j) for i in range(difference.shape[2]) for j in range(difference.shape[3])]
    for i, j in places:
        total += torch.einsum("no,ncuv->ocuv", difference[:, :, i, j], x[:, :, i : i + kernel, j : j + kernel])
    return total / len(places)


@pytest.mark.parametrize("pool", ["max", "average", "none"])
@pytest.mark.parametrize("presynaptic", ["modulated", "standard", "mixed"])
def test_update_is_the_formula(pool: str, presynaptic: str) -> None:
    """The first two updates of a net whose weights and feedback are as drawn, against loops over patches."""
    rule = Pepita(presynaptic=presynaptic, dropout=0.0, optimiser="sgd", momentum=0.0, lr=1.0, feedback_scale=2.0)
    bench = RuleOnNet.start(rule, net(pool))
    examples, n = bench.batch(7), 7
    x, y = examples.x.clone(), torch.nn.functional.one_hot(examples.y, 3).double()
    blocks = [bench.net[0], bench.net[1]]
    with torch.no_grad():
        error = torch.softmax(bench.net(x), 1) - y
        modulated = [x - (error @ bench.state.feedback).reshape(x.shape)]
        standard = [x]
        maps: list[list[torch.Tensor]] = [[], []]
        for inputs, kept in ((standard, maps[0]), (modulated, maps[1])):
            for block in blocks:
                conv = block.conv
                z = torch.nn.functional.conv2d(inputs[-1], conv.weight, conv.bias, padding=conv.padding)
                kept.append(z.tanh() if block is blocks[0] else z.relu())
                inputs.append(block(inputs[-1]))
        expected = []
        for k, (kernel, padding) in enumerate(((3, 1), (2, 0))):
            delta = (maps[0][k] - maps[1][k]) / n
            if presynaptic == "mixed":
                clean, shifted = ((maps[m][k] / n, (standard, modulated)[m][k]) for m in (0, 1))
                expected.append(by_patches(*clean, kernel, padding) - by_patches(*shifted, kernel, padding))
            else:
                before = (modulated if presynaptic == "modulated" else standard)[k]
                expected.append(by_patches(delta, before, kernel, padding))
        by_bias = ((maps[0][0] - maps[1][0]) / n).mean((2, 3)).sum(0)
    before_step = [block.conv.weight.detach().clone() for block in blocks]
    bench.step(examples)
    for old, block, change in zip(before_step, blocks, expected, strict=True):
        assert float(change.abs().max()) > 1e-6
        torch.testing.assert_close(old - block.conv.weight.detach(), change, rtol=0, atol=1e-12)
    torch.testing.assert_close(-blocks[0].conv.bias.detach(), by_bias, rtol=0, atol=1e-12)


def test_one_place_is_a_dense_block() -> None:
    """A kernel as large as the image, no padding: response and product are those of the dense block with the same weights."""
    conv = ConvBlock((2, 3, 3), 4, 3, "tanh", padding=0).double()
    dense = DenseBlock((2, 3, 3), 4, "tanh").double()
    with torch.no_grad():
        dense.linear.weight.copy_(conv.conv.weight.flatten(1))
        dense.linear.bias.copy_(conv.conv.bias)
        x = torch.randn(5, 2, 3, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
        torch.testing.assert_close(respond(conv, x)[1].flatten(1), respond(dense, x)[1])
        difference = torch.randn(5, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
        ours, theirs = response_gradients(conv, difference[:, :, None, None], x), response_gradients(dense, difference, x)
    torch.testing.assert_close(ours[0].flatten(1), theirs[0])
    torch.testing.assert_close(ours[1], theirs[1])


@pytest.mark.parametrize("pool", ["max", "none"])
def test_masks_are_the_same_in_both_passes(pool: str) -> None:
    bench = RuleOnNet.start(Pepita(dropout=0.5, lr=1.0), net(pool))
    bench.state.feedback.zero_()
    before = [p.detach().clone() for p in bench.net.parameters()]
    bench.steps([16])
    unmoved = [torch.equal(old, new) for old, new in zip(before, bench.net.parameters(), strict=True)]
    assert unmoved == [True] * (len(before) - 2) + [False, False]


def test_orthogonal_initialisation_and_the_size_of_the_feedback() -> None:
    bench = RuleOnNet.start(Pepita(initialisation="orthogonal"), build("pepita-conv", (3, 32, 32), 10))
    kernels = bench.net[0].conv.weight.detach().flatten(1)  # (32, 75)
    assert torch.allclose(kernels @ kernels.t(), torch.eye(32), atol=1e-5)
    assert bench.state.feedback.shape == (10, 3072)
    assert float(bench.state.feedback.std()) == pytest.approx(0.2 * (2 / 3072) ** 0.5, rel=0.03)


def test_save_load_continue_is_bitwise() -> None:
    bench = RuleOnNet.start(Pepita(), net())
    bench.steps([8, 5])
    kept = bench.copy()
    bench.steps([8, 1], first=2)
    fresh = RuleOnNet.start(Pepita(), net(), seed=7)
    fresh.net.load_state_dict(kept.net.state_dict())
    fresh.state.load_state_dict(kept.state.state_dict())
    fresh.steps([8, 1], first=2)
    assert fingerprint(fresh.tensors()) == fingerprint(bench.tensors())


def test_learns_digits() -> None:
    """One convolution and a maximum, like the paper's net."""
    data = load("digits").limited(500)
    block = ConvBlock(data.in_shape, 16, 3, pool="max", bias=False)
    rule = Pepita(lr=0.03, dropout=0.0)
    result = fit(rule, Chain([block], 10), data.without_test(), Patience(None, max_passes=12), batch_size=32)
    assert result.val_accuracy is not None
    assert result.val_accuracy > 0.85


@pytest.mark.parametrize(
    ("block", "options", "words"),
    [
        (ConvBlock((1, 8, 8), 3, norm=True), {}, "block 0 has BatchNorm, .* leave it out"),
        (ConvBlock((1, 8, 8), 3, pool="max", order=("pool", "activation", "norm")), {}, "block 0 pools before its nonlinearity"),
        (ConvBlock((1, 8, 8), 3), {"mirroring": True}, "block 0 is a ConvBlock, and mirroring needs dense blocks"),
    ],
    ids=["norm", "order", "mirroring"],
)
def test_what_cannot_learn_so_is_refused_in_one_line(block: ConvBlock, options: dict[str, bool], words: str) -> None:
    with pytest.raises(UsageError, match=words) as seen:
        check_net(Pepita(**options), Chain([block], 3))
    assert "\n" not in str(seen.value)
