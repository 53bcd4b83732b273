"""Mono-Forward with ``chunk``: the step of the whole batch, in the memory of one activity."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch

from bpfree.algorithms import Algorithm, Backprop, MonoForward, cost_of
from bpfree.algorithms._chunks import first_rows
from bpfree.bench.counting import LiveStep, live_step
from bpfree.data import Batch
from bpfree.errors import UsageError
from bpfree.nets import Block, Chain, ConvBlock, DenseBlock, build, mlp
from bpfree.numerics.products import products_in
from bpfree.testing.bench import ForeignBlock, RuleOnNet, chain

SAME: dict[str, Any] = {"rtol": 1e-12, "atol": 1e-12}
SIZES = (8, 7, 3, 1)
"""Three chunks of 3, three of which the last is of one row, one chunk, and less than one."""


def conv_then_dense() -> Chain:
    blocks: list[Block] = [ConvBlock((2, 6, 6), 3, 3, pool="max"), ConvBlock((3, 3, 3), 4, 3, "tanh")]
    return Chain([*blocks, DenseBlock(blocks[-1].out_shape, 5)], 4)


class Twice(ForeignBlock):
    """Adds two biases, whose gradients autograd returns as one and the same tensor."""

    def __init__(self, in_shape: tuple[int, ...], width: int) -> None:
        super().__init__(in_shape, width)
        self.one, self.other = (torch.nn.Parameter(torch.zeros(width)) for _ in range(2))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return (self.linear(x.flatten(1)) * self.scale + self.one + self.other).tanh()


NETS = {
    "dense": lambda: mlp((3, 4), (9, 7, 8), 4),
    "no-bias": lambda: Chain([DenseBlock((12,), 9, "tanh", bias=False), DenseBlock((9,), 14, bias=False)], 4),
    "conv": conv_then_dense,
    "foreign": lambda: chain(ForeignBlock, (3, 4), (9, 7), 4),
    "shared-gradient": lambda: chain(Twice, (3, 4), (9, 7), 4),
}


def ends(rule: Algorithm, net: Chain, *, weighted: bool = False) -> dict[str, torch.Tensor]:
    """Losses, and all tensors of net and state, after a step with each number of examples in each phase."""
    bench = RuleOnNet.start(rule, net)
    losses = []
    for phase in bench.phases:
        for k, n in enumerate(SIZES):
            batch = bench.batch(n, k + 10 * phase.index)
            weight = (1 + torch.arange(n, dtype=torch.float64) % 3) if weighted else None
            losses.append(bench.step(Batch(batch.x, batch.y, batch.key, weight), phase))
    return bench.values() | {f"loss {k}": loss for k, loss in enumerate(losses)}


@pytest.mark.parametrize("weighted", [False, True], ids=["mean", "weights"])
@pytest.mark.parametrize("setting", [{}, {"schedule": "staged"}, {"optimiser": "sgd"}, {"maths": "autograd"}], ids=str)
@pytest.mark.parametrize("net", NETS)
def test_it_is_the_step_of_the_whole_batch(net: str, setting: dict[str, str], weighted: bool) -> None:
    made = NETS[net]().double()
    whole = MonoForward(lr=0.01, weight_decay=0.1, **setting)  # pyright: ignore[reportArgumentType]
    expected = ends(whole, made, weighted=weighted)
    now = ends(dataclasses.replace(whole, chunk=3), made, weighted=weighted)
    assert now.keys() == expected.keys()
    for name, value in now.items():
        torch.testing.assert_close(value, expected[name], **SAME, msg=lambda text, name=name: f"{name}: {text}")


@pytest.mark.parametrize(
    ("n", "rows", "starts"),
    [(40, 7, [0, 7, 28, 35]), (10, 2, [0, 2, 6, 8]), (7, 5, [0, 5]), (5, 5, [0]), (5, 8, [0])],
)
def test_where_most_may_be_alive(n: int, rows: int, starts: list[int]) -> None:
    """The first two and the last two chunks."""
    assert first_rows(n, rows) == starts


def test_a_batch_of_one_chunk_is_the_plain_step_bit_for_bit() -> None:
    net = mlp((3, 4), (9, 7), 4)
    expected, now = ends(MonoForward(), net), ends(MonoForward(chunk=8), net)
    assert all(torch.equal(value, expected[name]) for name, value in now.items())


def test_products_of_a_chunk_are_rounded_as_the_precision_asks() -> None:
    net = mlp((3, 4), (9, 7), 4)
    results = []
    for chunk in (0, 3):
        with products_in("bfloat16"):
            results.append(ends(MonoForward(chunk=chunk), net))
    exact = ends(MonoForward(), net)["loss 3"]
    torch.testing.assert_close(results[1]["loss 3"], results[0]["loss 3"], rtol=0.01, atol=0.01)
    assert not torch.equal(results[1]["loss 3"], exact)


def test_batch_norm_is_refused_in_one_line() -> None:
    normed = Chain([ConvBlock((1, 4, 4), 2, 3), ConvBlock((2, 4, 4), 2, 3, norm=True)], 3)
    with pytest.raises(UsageError) as refusal:
        RuleOnNet.start(MonoForward(chunk=512), normed)
    assert str(refusal.value) == (
        "mono-forward: chunk=512 computes 512 rows of a batch at a time, and BatchNorm in block 1 (ConvBlock) needs the "
        "statistics of all of them; use chunk=0, or a net without BatchNorm"
    )
    RuleOnNet.start(MonoForward(), normed)


def test_a_negative_number_of_rows_is_refused() -> None:
    with pytest.raises(UsageError, match=r"^mono-forward: chunk must be a whole number at least 0, got -1$"):
        MonoForward(chunk=-1)


def live(rule: Algorithm, net: str, n: int, n_inputs: int = 784) -> LiveStep:
    """One step."""
    bench = RuleOnNet.start(rule, build(net, (n_inputs,), 10))
    return live_step(rule, bench.net, bench.state, bench.batch(n), bench.last_phase)


ISSUE = ("mlp:8x2000", 4096, 512)
SMALL = ("mlp:8x250", 512, 64)
"""Net, examples of a batch and rows of a chunk: the second is the first with everything an eighth."""


@pytest.mark.parametrize(("net", "n", "rows"), [SMALL, pytest.param(*ISSUE, marks=pytest.mark.slow)])
def test_activities_beside_those_of_backprop(net: str, n: int, rows: int) -> None:
    """Activities and their gradients: three of nine, with chunks 1.25 at most; checkpointed backprop holds more."""
    backprop = live(Backprop(), net, n).activations_bytes
    whole, chunked = (live(MonoForward(chunk=chunk), net, n).activations_bytes for chunk in (0, rows))
    checkpointed = live(Backprop(checkpoint_every=3, update="in-sweep"), net, n).activations_bytes
    assert whole / backprop <= 0.35
    assert chunked / backprop <= 0.2
    assert chunked < whole < checkpointed < backprop
    width = int(net.rpartition("x")[2])
    assert 4 * width * (n + rows) <= chunked <= 4 * width * (n + 2 * rows) * 1.02  # the peak may be in the first block


@pytest.mark.parametrize("chunk", [0, 32])
def test_activities_do_not_grow_with_depth(chunk: int) -> None:
    """From 2 to 32 blocks; backprop's grow elevenfold."""
    n, width, depths = 256, 128, (2, 3, 8, 32)
    sizes = [live(MonoForward(chunk=chunk), f"mlp:{depth}x{width}", n, width).activations_bytes for depth in depths]
    assert max(sizes) <= 4 * width * (n + 2 * chunk if chunk else 3 * n) * 1.05  # scores of ten classes
    of_more_than_two = [size - 4 * depth for size, depth in zip(sizes, depths, strict=True)][1:]  # each block leaves its loss
    assert max(of_more_than_two) - min(of_more_than_two) <= 4 * (n * 10 + 1)  # scores and loss, where the peak is at a head
    shallow, deep = (live(Backprop(update="in-sweep"), f"mlp:{depth}x{width}", n, width).activations_bytes for depth in (2, 32))
    assert deep / shallow == pytest.approx(33 / 3, rel=0.05)


@pytest.mark.parametrize("schedule", ["joint", "staged"])
@pytest.mark.parametrize("widths", [(300, 300, 300), (400, 120, 60), (60, 120, 400)], ids=str)
@pytest.mark.parametrize("chunk", [7, 16, 20, 31, 32])
def test_the_formula_of_memory_is_the_count(widths: tuple[int, ...], chunk: int, schedule: str) -> None:
    """Of the last phase; 32 examples in chunks that divide them, or leave a last one of fewer rows."""
    rule = MonoForward(chunk=chunk, schedule=schedule)
    bench = RuleOnNet.start(rule, mlp((40,), widths, 10))
    phase = bench.last_phase
    cost = cost_of(rule, bench.net, 32, phase)
    assert cost is not None
    assert cost.peak is not None
    counted = live_step(rule, bench.net, bench.state, bench.batch(32), phase)
    assert 4 * sum(cost.peak) == pytest.approx(counted.peak_bytes, rel=0.02)
