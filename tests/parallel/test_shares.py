"""Balanced shares, sums over bits, and what a carry looks like on its way."""

from __future__ import annotations

import itertools

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from bpfree.algorithms import stages_of
from bpfree.errors import UsageError
from bpfree.meter import count_flops
from bpfree.numerics.handover import Handover
from bpfree.parallel.replica import sums_of_bits
from bpfree.parallel.shares import shares_of, stage_flops
from bpfree.parallel.wire import _flat, _taken_apart
from bpfree.train import initialise
from tests.parallel.cases import made


@given(st.lists(st.integers(0, 50), min_size=1, max_size=7), st.integers(1, 5))
def test_the_most_loaded_rank_has_as_little_as_possible(costs: list[int], n_ranks: int) -> None:
    shares = shares_of(costs, n_ranks)
    assert len(shares) == n_ranks
    assert [index for share in shares for index in share] == list(range(len(costs)))  # in order, without gaps
    used = min(n_ranks, len(costs))
    assert all(shares[:used]) and not any(shares[used:])
    borders = itertools.combinations(range(1, len(costs)), used - 1)
    parts = (itertools.pairwise((0, *border, len(costs))) for border in borders)
    least = min(max(sum(costs[first:end]) for first, end in part) for part in parts)
    assert max(sum(costs[index] for index in share) for share in shares) == least


def test_hundreds_of_stages_are_shared_at_once() -> None:
    assert shares_of([3] * 2000, 8) == [range(250 * k, 250 * (k + 1)) for k in range(8)]
    assert shares_of([1] * 512, 512) == [range(k, k + 1) for k in range(512)]


def test_no_stage_and_no_rank() -> None:
    assert shares_of([], 2) == [range(0), range(0)]
    with pytest.raises(UsageError, match="at least one rank"):
        shares_of([1], 0)


@pytest.mark.parametrize("case", ["mono-forward@mlp:3x24", "forward-forward@mlp:3x24", "blockwise:reach=2@mlp:4x24"])
def test_stages_cost_what_the_step_costs(case: str) -> None:
    """Nothing is counted twice or left out, and counting changes nothing."""
    rule, net, data = made(case)
    state, phase = initialise(rule, net, 0), rule.phases(net)[0]
    batch = next(iter(data.batches("train", 16)))
    before = [tensor.clone() for tensor in net.state_dict().values()]
    stages = stage_flops(stages_of(rule, net, phase), net, state, batch)
    assert all(torch.equal(one, other) for one, other in zip(before, net.state_dict().values(), strict=True))
    with torch.no_grad():
        assert sum(stages) == count_flops(lambda: rule.learn(net, state, batch, phase))
    assert len(stages) == {"blockwise": 2}.get(rule.name, 3)


def test_joint_mono_forward_by_hand() -> None:
    """Block k: forward and weight gradient 2 · 2 n i o, head 3 · 2 n K o."""
    rule, net, data = made("mono-forward@mlp:2x24")
    batch = next(iter(data.batches("train", 16)))
    stages = stage_flops(stages_of(rule, net, rule.phases(net)[0]), net, initialise(rule, net, 0), batch)
    assert stages == [2 * 16 * (2 * 64 * 24 + 3 * 10 * 24), 2 * 16 * (2 * 24 * 24 + 3 * 10 * 24)]


@pytest.mark.parametrize("n", [1, 1023, 1024, 1025, 5000])
def test_sums_see_a_change_of_one_bit_and_an_exchange(n: int) -> None:
    x = torch.randn(n, generator=torch.Generator().manual_seed(0))
    before = sums_of_bits(x)
    for place in {0, n - 1, n // 2}:
        other = x.clone()
        other.view(torch.int32)[place] += 1
        assert not torch.equal(sums_of_bits(other), before)
    if n > 1:
        assert not torch.equal(sums_of_bits(x.roll(1)), before)
    assert torch.equal(sums_of_bits(x.clone()), before)


def test_sums_of_other_types() -> None:
    for dtype in (torch.float64, torch.bfloat16, torch.int64, torch.uint8):
        x = torch.arange(1500).to(dtype)
        assert torch.equal(sums_of_bits(x), sums_of_bits(x.clone()))
        y = x.clone()
        y[3] += 8
        assert not torch.equal(sums_of_bits(y), sums_of_bits(x))
    assert sums_of_bits(torch.tensor(7))[0] == 7


def test_a_carry_keeps_its_memory_layout() -> None:
    image = torch.randn(4, 3, 5, 5).to(memory_format=torch.channels_last)
    gaps = torch.randn(4, 6)[:, ::2]
    tensors, form = _taken_apart({"image": image, "gaps": gaps, "block": 3, "later": [Handover(torch.ones(2))], "none": None})
    leaves = {leaf.shape: leaf for leaf in form.leaves if leaf.shape is not None}
    assert leaves[4, 3, 5, 5].stride == image.stride()
    assert leaves[4, 3].stride == (3, 1)
    assert leaves[2,].handover
    assert [leaf.constant for leaf in form.leaves if leaf.shape is None] == [3] + [None] * (len(form.leaves) - 4)
    assert all(tensor.dim() == 1 for tensor in tensors)
    again = torch.empty_strided(image.shape, image.stride())
    _flat(again).copy_(next(tensor for tensor in tensors if tensor.numel() == image.numel()))
    assert torch.equal(again, image)
