"""Which of torch's kernels are called: in place where nothing records, in one layout, and only those that are needed."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
import torch
from differences import numbers
from torch import Tensor
from torch_calls import Calls

from bpfree.numerics import conv_weight
from bpfree.numerics.conv import ConvPlan, Norm, _in_one_sweep, conv_activity, conv_gradients
from bpfree.numerics.conv_weight import by_patches, is_quicker
from bpfree.numerics.handover import Handover
from bpfree.numerics.host import host_number
from bpfree.numerics.layout import by_pixels, is_by_pixels
from bpfree.numerics.local import class_scores, dense_activity
from bpfree.numerics.losses import loss_and_residual, softmax_residual
from bpfree.numerics.updates import adam_step_, decay_, same_layout, sgd_step_

X, KERNEL = numbers(2, 3, 6, 8), numbers(4, 3, 3, 3, seed=1)
ACTIVATION = ConvPlan(1, 1, ("activation",), "relu", "none")


def norm() -> Norm:
    ones = torch.ones(4, dtype=torch.float64)
    return Norm(ones, 0 * ones, 0 * ones, ones.clone(), torch.tensor(0))


def test_an_activity_is_made_in_place_where_nothing_records() -> None:
    x, w, b = numbers(5, 3), numbers(2, 3, seed=1), numbers(2, seed=2)
    with torch.no_grad(), Calls() as calls:
        dense_activity(x, w, b, "relu")
        conv_activity(X, KERNEL, None, None, ACTIVATION, "update")
    assert (calls.count("aten.relu_."), calls.count("aten.relu.")) == (2, 0)
    with Calls() as calls:
        dense_activity(x, w.requires_grad_(), b, "relu")
        conv_activity(X, KERNEL.clone().requires_grad_(), None, None, ACTIVATION, "update")
    assert (calls.count("aten.relu_."), calls.count("aten.relu.")) == (0, 2)


@pytest.mark.parametrize("handed_over", [False, True])
def test_a_derivative_is_written_over_only_where_it_was_handed_over(handed_over: bool) -> None:
    with torch.no_grad():
        a, saved = conv_activity(X, KERNEL, None, None, ACTIVATION, "update")
        delta = numbers(*a.shape, seed=3)
        before, expected = delta.clone(), delta * (a > 0)
        conv_gradients(saved, Handover(delta) if handed_over else delta, KERNEL, None, ACTIVATION, bias=False, need_input=False)
    assert torch.equal(delta, expected if handed_over else before)


def test_a_derivative_that_was_made_on_the_way_is_written_over_where_nothing_records() -> None:
    plan, of_norm = ConvPlan(1, 1, ("activation", "norm"), "relu", "none"), norm()
    for recording, kernel in ((False, "grad_input"), (True, "default")):
        a, saved = conv_activity(X, KERNEL, None, of_norm, plan, "batch")
        with torch.set_grad_enabled(recording), Calls() as calls:
            conv_gradients(saved, torch.ones_like(a), KERNEL, of_norm.weight, plan, bias=False, need_input=False)
        assert [name for name in calls.names if "threshold" in name] == [f"aten.threshold_backward.{kernel}"]


def test_every_kernel_of_a_block_is_given_images_of_one_layout() -> None:
    """Input and derivative come channel after channel, the weight lies pixel after pixel."""
    plan, of_norm, weight = ConvPlan(1, 1, ("activation", "pool", "norm"), "relu", "max"), norm(), by_pixels(KERNEL)
    with torch.no_grad(), Calls() as calls:
        a, saved = conv_activity(X, weight, None, of_norm, plan, "batch")
        conv_gradients(saved, torch.ones(*a.shape, dtype=a.dtype), weight, of_norm.weight, plan, bias=False, need_input=True)
    for kernel in (
        "convolution.",
        "batch_norm_backward",
        "max_pool2d_with_indices_backward",
        "threshold",
        "convolution_backward",
    ):
        given = calls.images(kernel)
        assert given
        assert all(is_by_pixels(each) for each in given), kernel


@pytest.mark.parametrize(("bias", "need_input"), list(product([False, True], repeat=2)))
def test_only_the_gradients_that_are_asked_for_are_computed(bias: bool, need_input: bool) -> None:
    with torch.no_grad(), Calls() as calls:
        a, saved = conv_activity(X, KERNEL, numbers(4) if bias else None, None, ACTIVATION, "update")
        conv_gradients(saved, torch.ones_like(a), KERNEL, None, ACTIVATION, bias=bias, need_input=need_input)
    ((_, arguments),) = [call for call in calls.made if "convolution_backward" in call[0]]
    assert (arguments[3], arguments[-1]) == ([4] if bias else None, [need_input, True, bias])


@pytest.mark.parametrize("need_input", [False, True])
def test_beside_a_product_with_patches_the_kernel_gives_the_input_alone(need_input: bool) -> None:
    wide, x = by_pixels(numbers(128, 32, 3, 3)), by_pixels(numbers(2, 32, 4, 4))
    with torch.no_grad(), Calls() as calls:
        a, saved = conv_activity(x, wide, numbers(128), None, ACTIVATION, "update")
        conv_gradients(saved, torch.ones_like(a), wide, None, ACTIVATION, bias=True, need_input=need_input)
    asked = [(arguments[3], arguments[-1]) for name, arguments in calls.made if "convolution_backward" in name]
    assert asked == ([(None, [True, False, False])] if need_input else [])


def test_pooling_and_activation_are_passed_at_once_where_all_lies_in_windows() -> None:
    average, maximum = (ConvPlan(1, 1, ("activation", "pool"), "relu", pool) for pool in ("average", "max"))
    even = (2, 4, 6, 8)
    with torch.no_grad():
        for height, width in product(range(2, 10), repeat=2):
            x = torch.empty(3, 5, height, width, device="meta")
            assert _in_one_sweep(average, ["activation"], x) == (height in even and width in even)
        x = torch.empty(3, 5, 4, 6, device="meta")
        assert _in_one_sweep(average, ["norm", "activation"], x)
        assert not _in_one_sweep(average, ["activation", "norm"], x)
        assert not _in_one_sweep(average, [], x)
        assert not _in_one_sweep(maximum, ["activation"], x)
    assert not _in_one_sweep(average, ["activation"], x), "autograd records"


def test_the_defaults_of_batch_norm_are_those_of_the_source() -> None:
    assert (ACTIVATION.eps, ACTIVATION.momentum) == (1e-4, 0.1)


def images(channels: int, seed: int = 0) -> Tensor:
    return by_pixels(numbers(3, channels, 4, 5, seed=seed))


def test_the_least_patch_and_the_least_channels_of_a_product(monkeypatch: pytest.MonkeyPatch) -> None:
    """256 numbers: 64 channels of 2 x 2. 28 channels of 3 x 3 are 252."""
    monkeypatch.setattr(conv_weight, "_KERNEL_IS_SLOW", True)
    dz = images(128)
    with torch.no_grad():
        assert is_quicker(dz, images(64), 2) and is_quicker(dz, images(256), 1)
        assert not is_quicker(dz, images(63), 2) and not is_quicker(dz, images(255), 1) and not is_quicker(dz, images(28), 3)
        assert not is_quicker(images(127), images(64), 2)


@pytest.mark.parametrize(("room", "products"), [(1, 5), (2, 3), (4.9, 2), (5, 1), (0.5, 5)])
def test_as_many_patches_are_multiplied_at_once_as_there_is_room_for(
    room: float, products: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The patches of one of five images: 6 x 4 of 3 x 3 x 2 numbers of 8 bytes."""
    monkeypatch.setattr(conv_weight, "PATCH_BYTES", int(room * 6 * 4 * 9 * 2 * 8))
    x, dz = by_pixels(numbers(5, 2, 8, 6)), by_pixels(numbers(5, 3, 6, 4, seed=1))
    with torch.no_grad(), Calls() as calls:
        by_patches(dz, x, 3, 1, 0)
    assert calls.count("aten.mm.") + calls.count("aten.addmm.") == products
    assert calls.count("pad") == 0


def test_scores_of_classes() -> None:
    """By value, with and without a bias; on a processor the transposed product is computed, elsewhere the plain one."""
    h, v, c = (
        torch.tensor([[1.0, 2.0], [3.0, -1.0], [0.0, 5.0]]),
        torch.tensor([[1.0, 10.0], [2.0, 0.5]]),
        torch.tensor([0.5, -4.0]),
    )
    plain = [[21.0, 3.0], [-7.0, 5.5], [50.0, 2.5]]
    assert class_scores(h, v).tolist() == plain
    assert class_scores(h, v, c).tolist() == [[a + 0.5, b - 4.0] for a, b in plain]
    for bias in (None, c):
        assert class_scores(h, v, bias).t().is_contiguous()
        elsewhere = class_scores(h.to("meta"), v.to("meta"), None if bias is None else bias.to("meta"))
        assert (elsewhere.shape, elsewhere.is_contiguous()) == ((3, 2), True)


def test_kernels_of_the_cross_entropy() -> None:
    """On a processor loss and residual share a logarithm, and one operation takes the label off."""
    scores, y = numbers(3, 4), torch.tensor([1, 3, 0])
    with Calls() as calls:
        loss_and_residual(scores, y)
    assert (calls.count("_log_softmax_backward_data"), calls.count("aten._softmax.")) == (1, 0)
    with Calls() as calls:
        softmax_residual(scores, y)
    assert (calls.count("scatter"), calls.count("aten.sub_")) == (1, 0)
    with Calls() as calls:
        loss, residual = loss_and_residual(scores.to("meta"), y.to("meta"))
    assert (calls.count("_log_softmax_backward_data"), calls.count("aten._softmax.")) == (0, 1)
    assert (calls.count("scatter"), calls.count("aten.sub_")) == (0, 1)
    assert (loss.shape, residual.shape) == ((), (3, 4))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_one_kernel_makes_the_step_and_the_decay(dtype: torch.dtype) -> None:
    one, lr, decay = torch.ones(2, dtype=dtype), torch.tensor(0.5, dtype=dtype), torch.tensor(0.25, dtype=dtype)
    for options, kernel in (((lr, decay), "adamw"), ((lr,), "adam")):
        lists = [[one.clone()], [one], [0 * one], [0 * one], [torch.zeros(())]]
        with Calls() as calls:
            adam_step_(*lists, *options)
        assert calls.names == [f"aten._fused_{kernel}_.default"]
    with Calls() as calls:
        sgd_step_([one.clone()], [one], [0 * one], lr, 0.5)
    assert calls.count("_fused_sgd_") == 1


@pytest.mark.parametrize("dtypes", [(torch.bfloat16,), (torch.float32, torch.float64)], ids=["narrow", "mixed"])
def test_where_the_kernel_does_not_decay_the_weights_are_decayed_before_it(dtypes: tuple[torch.dtype, ...]) -> None:
    """1 - 0.5 x 0.5 = 0.75; then Adam's first step takes 0.5 off, whatever the gradient is."""
    weights = [torch.tensor([2.0, -4.0], dtype=dtype) for dtype in dtypes]
    gradients = [torch.tensor([3.0, -5.0], dtype=dtype) for dtype in dtypes]
    moments = [[torch.zeros_like(each) for each in weights] for _ in range(2)]
    counts = [torch.zeros(()) for _ in dtypes]
    with Calls() as calls:
        adam_step_(weights, gradients, *moments, counts, torch.tensor(0.5), torch.tensor(0.5))
    for weight in weights:
        assert weight.tolist() == pytest.approx([1.0, -2.5], rel=1e-6)
    assert [float(count) for count in counts] == [1.0] * len(counts)
    assert calls.count("_fused_adam_") == len(dtypes)


def test_the_factor_of_a_decay_has_the_format_of_the_first_parameter() -> None:
    weights = [torch.ones(1), torch.ones(1, dtype=torch.float64)]
    decay_(weights, torch.tensor(0.1, dtype=torch.float64), torch.tensor(0.3, dtype=torch.float64))
    assert [float(weight) for weight in weights] == [float(np.float32(0.97))] * 2


def test_layouts_differ_where_one_axis_does() -> None:
    assert not same_layout(torch.zeros(4, 3), torch.zeros(4, 6)[:, :3])
    assert not same_layout(torch.zeros(2, 1, 3), torch.zeros(2, 3, 1).transpose(1, 2)[:, :, :2])
    assert same_layout(torch.zeros(4, 3), torch.ones(4, 3))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.int64])
def test_counting_up(dtype: torch.dtype) -> None:
    several = torch.tensor([7, 8, 9], dtype=dtype)
    host_number(several[1]).value += 2
    assert several.tolist() == [7, 10, 9]
