"""What a step will take is what a step takes: bytes and multiply-adds of steps that are followed without numbers."""

from __future__ import annotations

import pytest
import torch

from bpfree import data
from bpfree.algorithms import check_net, registry
from bpfree.bench import Arm
from bpfree.bench.cost import step_cost
from bpfree.data import Dataset
from bpfree.errors import UsageError
from bpfree.nets import named
from bpfree.planning.fakes import fake_batch, fake_mode, fake_twins
from bpfree.planning.planner import plain_rules
from bpfree.planning.work import step_bytes, work_of
from bpfree.train import initialise

TABLE = "synthetic:n=80:inputs=12:classes=3"
IMAGES = "synthetic:n=80:inputs=3x8x8:classes=3"
SETTINGS = [
    f"{name}:{text}" for name, rule in registry().items() for text in rule.savings if text.partition(":")[0] not in registry()
]


@pytest.fixture(scope="module")
def table() -> Dataset:
    return data.load(TABLE).without_test()


@pytest.fixture(scope="module")
def images() -> Dataset:
    return data.load(IMAGES).without_test()


def agree(text: str, spec: str, loaded: Dataset, batch_size: int = 20) -> None:
    rule, net = Arm.parse(text).build({}), named(spec, loaded.in_shape, loaded.n_classes)
    try:
        check_net(rule, net)
    except UsageError:
        pytest.skip("the rule refuses the net")
    state = initialise(rule, net, 0)
    counted = step_cost(rule, net, state, loaded, batch_size)
    work = work_of(rule, net, state, loaded, batch_size)
    ours, theirs = work.memory, counted.memory
    parts = ("weights", "auxiliary", "gradients", "optimiser", "activations")
    assert [getattr(ours, part) for part in parts] == [getattr(theirs, part) for part in parts]
    assert work.cache_bytes == theirs.feature_cache
    assert ours.peak + work.cache_bytes == counted.peak_bytes
    assert work.scoring_bytes == pytest.approx(counted.evaluation_peak_bytes, rel=0.1)
    every = 1 if counted.apart is None else counted.apart.every
    apart = 0 if counted.apart is None else counted.apart.flops / every
    for each, flops in zip(work.phases, counted.by_phase, strict=True):
        assert each.step.macs == pytest.approx((flops + apart) / 2, rel=1e-6)
    assert [each.close.macs for each in work.phases] == [flops / 2 for flops in counted.ends_by_phase]


@pytest.mark.parametrize("text", [*plain_rules(), *SETTINGS])
def test_bytes_and_multiply_adds_are_those_that_are_counted(text: str, table: Dataset) -> None:
    agree(text, "mlp:2x12", table)


@pytest.mark.parametrize("text", ["backprop", "cascaded-forward"])
def test_also_on_convolutions(text: str, images: Dataset) -> None:
    agree(text, "cnn3:4-4-8", images)


def test_also_by_autograd_inside_blocks(images: Dataset) -> None:
    agree("mono-forward", "mixer:depth=1:width=8", images)


def test_a_net_that_is_not_small_frees_each_gradient(table: Dataset) -> None:
    """Over a mebibyte of parameters: the gradients of a local rule are not kept to the end of the step."""
    agree("mono-forward", "mlp:2x512", table)


def test_following_changes_nothing(table: Dataset) -> None:
    rule, net = Arm.parse("foton").build({}), named("mlp:2x12", table.in_shape, table.n_classes)
    state = initialise(rule, net, 0)
    before = [tensor.clone() for module in (net, state) for tensor in module.state_dict().values()]
    work_of(rule, net, state, table, 20)
    after = [tensor for module in (net, state) for tensor in module.state_dict().values()]
    assert all(torch.equal(one, other) for one, other in zip(before, after, strict=True))


def test_fakes_share_what_the_originals_share(table: Dataset) -> None:
    """Mono-Forward's last head is the net's output."""
    rule, net = Arm.parse("mono-forward").build({}), named("mlp:2x12", table.in_shape, table.n_classes)
    twin, twin_state = fake_twins(fake_mode(), net, initialise(rule, net, 0))
    assert twin_state.slots[-1].projection is twin.output.weight
    assert twin_state.slots[0].projection is not net.output.weight


def test_a_batch_of_more_bytes_than_this_machine_has_can_be_followed(table: Dataset) -> None:
    """Ten million examples of mlp:1x4096 have activities of 160 GB."""
    rule, net = Arm.parse("mono-forward").build({}), named("mlp:1x4096", table.in_shape, table.n_classes)
    n = 10_000_000
    assert step_bytes(rule, net, initialise(rule, net, 0), table, n) > n * 4096 * 4


def test_weights_of_classes_are_part_of_a_batch() -> None:
    assert fake_batch(fake_mode(), 5, (3,), torch.float32).weight is None
    weighted = fake_batch(fake_mode(), 5, (3,), torch.float32, weighted=True)
    assert weighted.weight is not None
    assert weighted.weight.shape == (5,)


@pytest.mark.parametrize("text", ["backprop", "mono-forward:schedule=staged", "frozen"])
def test_a_larger_batch_takes_no_less(text: str, table: Dataset) -> None:
    rule, net = Arm.parse(text).build({}), named("mlp:2x12", table.in_shape, table.n_classes)
    state = initialise(rule, net, 0)
    needed = [step_bytes(rule, net, state, table, n) for n in (1, 8, 20)]
    assert needed == sorted(needed)
    work = work_of(rule, net, state, table, 20)
    assert needed[-1] == work.memory.peak + work.cache_bytes
