"""The closed form of a convolution block equals autograd and torch's own modules; and its cost is counted."""

from itertools import permutations

import pytest
import torch
from torch import nn

from bpfree.meter import count_flops
from bpfree.numerics.activations import ACTIVATIONS
from bpfree.numerics.conv import POOLS, STAGES, ConvPlan, Norm, conv_activity, conv_gradients
from bpfree.numerics.handover import Handover
from bpfree.numerics.layout import is_by_pixels

TOLERANCE = 1e-9
ORDERS = list(permutations(STAGES))


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def build(order=STAGES, pool="max", norm=True, activation="tanh", kernel=3, stride=1, padding=1, bias=True):
    """The same block twice: as a plan with tensors, and as torch's modules."""
    there = {"activation": True, "pool": pool != "none", "norm": norm}
    stages = tuple(stage for stage in order if there[stage])
    plan = ConvPlan(stride, padding, stages, activation, pool)
    conv = nn.Conv2d(3, 4, kernel, stride, padding, bias=bias).double()
    bn = nn.BatchNorm2d(4, plan.eps, plan.momentum).double()
    with torch.no_grad():  # nothing at 0 or 1, so that no term can hide
        for seed, parameter in enumerate([*conv.parameters(), *bn.parameters()]):
            parameter.copy_(draw(*parameter.shape, seed=seed) * 0.5 + 0.2)
        bn.running_mean.copy_(draw(4, seed=20))
        bn.running_var.copy_(draw(4, seed=21).square() + 0.5)
    return plan, conv, bn


def by_modules(x, plan, conv, bn):
    pools = {"max": nn.MaxPool2d(2), "average": nn.AvgPool2d(2)}
    stages = {"activation": ACTIVATIONS[plan.activation].apply, "pool": pools.get(plan.pool), "norm": bn}
    a = conv(x)
    for stage in plan.stages:
        a = stages[stage](a)
    return a


def tensors_of(bn):
    return Norm(bn.weight, bn.bias, bn.running_mean, bn.running_var, bn.num_batches_tracked)


def both_ways(plan, conv, bn, x, statistics="update", need_input=True, ours_by_pixels=False):
    """(activity, gradients, input gradient) by autograd, then in closed form; running statistics as after one pass each."""
    before = {name: value.clone() for name, value in bn.state_dict().items()}
    bn.train(statistics != "running")
    leaf = x.clone().requires_grad_()
    a = by_modules(leaf, plan, conv, bn)
    delta = draw(*a.shape, seed=9)
    wanted = [*conv.parameters(), *(bn.parameters() if "norm" in plan.stages else ()), leaf]
    *gradients, by_input = torch.autograd.grad(a, wanted, delta)
    after = {name: value.clone() for name, value in bn.state_dict().items()}
    bn.load_state_dict(before)
    if ours_by_pixels:
        conv = conv.to(memory_format=torch.channels_last)
    with torch.no_grad():
        norm = tensors_of(bn) if "norm" in plan.stages else None
        ours, saved = conv_activity(x, conv.weight, conv.bias, norm, plan, statistics)
        mine, my_input = conv_gradients(
            saved, delta, conv.weight, bn.weight if norm else None, plan, bias=conv.bias is not None, need_input=need_input
        )
    return (a.detach(), gradients, by_input, after), (ours, mine, my_input, bn.state_dict())


def assert_near(theirs, ours):
    assert len(theirs) == len(ours)
    for one, other in zip(theirs, ours, strict=True):
        assert one.shape == other.shape
        assert torch.allclose(one, other, rtol=TOLERANCE, atol=TOLERANCE)


@pytest.mark.parametrize("norm", [True, False], ids=["norm", "plain"])
@pytest.mark.parametrize("pool", POOLS)
@pytest.mark.parametrize("order", ORDERS, ids="-".join)
def test_equals_autograd(order, pool, norm):
    plan, conv, bn = build(order, pool, norm)
    theirs, ours = both_ways(plan, conv, bn, draw(5, 3, 7, 6, seed=3))  # 7 x 6: pooling drops a row
    assert torch.equal(theirs[0], ours[0])
    assert_near([*theirs[1], theirs[2]], [*ours[1], ours[2]])


@pytest.mark.parametrize("shape", [(5, 3, 7, 6), (5, 3, 8, 6)], ids=["odd", "even"])
@pytest.mark.parametrize("norm", [True, False], ids=["norm", "plain"])
@pytest.mark.parametrize("pool", POOLS)
@pytest.mark.parametrize("order", ORDERS, ids="-".join)
def test_images_that_lie_pixel_after_pixel_have_the_same_gradients(order, pool, norm, shape):
    """The weight does; the input and the derivative are given channel after channel, and brought to its layout."""
    plan, conv, bn = build(order, pool, norm)
    theirs, ours = both_ways(plan, conv, bn, draw(*shape, seed=3), ours_by_pixels=True)
    assert is_by_pixels(ours[0]) and is_by_pixels(ours[2])
    assert_near([theirs[0], *theirs[1], theirs[2]], [ours[0], *ours[1], ours[2]])
    assert_near(theirs[3].values(), ours[3].values())


@pytest.mark.parametrize("handed_over", [True, False])
@pytest.mark.parametrize("activation", sorted(ACTIVATIONS))
def test_average_pooling_is_passed_in_the_place_of_the_activity(activation, handed_over):
    """With the same numbers as torch's two kernels, and no tensor of the activity's size beside it."""
    plan, conv, _ = build(pool="average", norm=False, activation=activation)
    x, delta = draw(4, 3, 6, 8), draw(4, 4, 3, 4, seed=1)
    with torch.no_grad():
        _, saved = conv_activity(x, conv.weight, conv.bias, None, plan, "update")
        a = saved.stages[0][0]
        spread = torch.ops.aten.avg_pool2d_backward(delta, a, [2, 2], [2, 2], [0, 0], False, True, None)
        expected = ACTIVATIONS[activation].gradient(spread, a.clone())
        given = Handover(delta.clone()) if handed_over else delta.clone()
        conv_gradients(saved, given, conv.weight, None, plan, bias=True, need_input=False)
    assert torch.equal(a, expected)  # the derivative by the convolution, where the activity was


@pytest.mark.parametrize("activation", sorted(ACTIVATIONS))
def test_every_activation(activation):
    plan, conv, bn = build(activation=activation)
    theirs, ours = both_ways(plan, conv, bn, draw(3, 3, 6, 6, seed=3))
    assert_near([*theirs[1], theirs[2]], [*ours[1], ours[2]])


@pytest.mark.parametrize(
    "shape",
    [{"kernel": 5, "padding": 2}, {"kernel": 5, "padding": 0}, {"kernel": 1, "padding": 0}, {"stride": 2}, {"bias": False}],
)
def test_every_convolution(shape):
    plan, conv, bn = build(**shape)
    theirs, ours = both_ways(plan, conv, bn, draw(3, 3, 8, 8, seed=3))
    assert_near([*theirs[1], theirs[2]], [*ours[1], ours[2]])


@pytest.mark.parametrize("order", ORDERS, ids="-".join)
def test_frozen_statistics_have_their_own_gradient(order):
    plan, conv, bn = build(order)
    theirs, ours = both_ways(plan, conv, bn, draw(4, 3, 6, 6, seed=3), statistics="running")
    assert_near([*theirs[1], theirs[2]], [*ours[1], ours[2]])
    assert all(torch.equal(theirs[3][name], ours[3][name]) for name in theirs[3])


def test_input_gradient_only_on_request():
    plan, conv, bn = build()
    theirs, ours = both_ways(plan, conv, bn, draw(4, 3, 6, 6, seed=3), need_input=False)
    assert ours[2] is None
    assert_near(theirs[1], ours[1])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_running_statistics_are_torchs_bit_for_bit(dtype):
    plan, conv, bn = build()
    conv, bn = conv.to(dtype), bn.to(dtype)
    twin = nn.BatchNorm2d(4, plan.eps, plan.momentum).to(dtype)
    twin.load_state_dict(bn.state_dict())
    for n in (8, 8, 3):  # the last batch is ragged
        x = draw(n, 3, 6, 6, seed=n).to(dtype)
        with torch.no_grad():
            by_modules(x, plan, conv, twin)
            conv_activity(x, conv.weight, conv.bias, tensors_of(bn), plan, "update")
    assert bn.num_batches_tracked == 3
    assert all(torch.equal(a, b) for a, b in zip(bn.buffers(), twin.buffers(), strict=True))


@pytest.mark.parametrize("statistics", ["batch", "running"])
def test_running_statistics_stay_where_asked(statistics):
    plan, conv, bn = build()
    before = [buffer.clone() for buffer in bn.buffers()]
    with torch.no_grad():
        conv_activity(draw(4, 3, 6, 6), conv.weight, conv.bias, tensors_of(bn), plan, statistics)
    assert all(torch.equal(a, b) for a, b in zip(before, bn.buffers(), strict=True))


def test_mean_semantics_on_a_ragged_batch():
    """Two halves of a batch, each with its own mean loss, weigh in by their sizes."""
    plan, conv, _ = build(norm=False)
    x, delta = draw(5, 3, 6, 6), draw(5, 4, 3, 3, seed=1)
    parts = []
    for rows in (slice(0, 5), slice(0, 3), slice(3, 5)):
        _, saved = conv_activity(x[rows], conv.weight, conv.bias, None, plan, "update")
        n = len(x[rows])
        parts.append(conv_gradients(saved, delta[rows] / n, conv.weight, None, plan, bias=True, need_input=False)[0])
    whole = [(3 * a + 2 * b) / 5 for a, b in zip(parts[1], parts[2], strict=True)]
    assert_near(parts[0], whole)


@pytest.mark.parametrize("need_input", [True, False])
def test_multiply_adds_are_counted(need_input):
    plan, conv, bn = build()
    n, positions = 2, 6 * 6
    x, delta = draw(n, 3, 6, 6), draw(n, 4, 3, 3)
    forward = 2 * n * positions * 4 * 3 * 3 * 3

    def step():
        _, saved = conv_activity(x, conv.weight, conv.bias, tensors_of(bn), plan, "update")
        conv_gradients(saved, delta, conv.weight, bn.weight, plan, bias=True, need_input=need_input)

    with torch.no_grad():
        assert count_flops(step) == forward * (3 if need_input else 2)


def test_bfloat16_keeps_its_format():
    plan, conv, _ = build(norm=False)
    conv = conv.to(torch.bfloat16)
    with torch.no_grad():
        a, saved = conv_activity(draw(4, 3, 6, 6).bfloat16(), conv.weight, conv.bias, None, plan, "update")
        gradients, _ = conv_gradients(saved, torch.ones_like(a), conv.weight, None, plan, bias=True, need_input=False)
    assert {t.dtype for t in (a, *gradients)} == {torch.bfloat16}
