"""The weight gradient of a convolution as a product with patches: by value, its parts, and where it is used."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from bpfree.meter import count_flops
from bpfree.numerics import conv_weight
from bpfree.numerics.conv_weight import by_patches, is_quicker
from bpfree.numerics.layout import by_pixels, is_by_pixels
from bpfree.numerics.products import products_in


def draw(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    return by_pixels(torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype))


@pytest.mark.parametrize("at_once", [1, 2, 5])
@pytest.mark.parametrize(
    ("kernel", "stride", "padding"), [(3, 1, 1), (3, 1, 0), (3, 2, 1), (5, 1, 2), (5, 3, 2), (1, 1, 0), (1, 2, 0), (2, 2, 0)]
)
def test_equals_torchs_kernel(kernel: int, stride: int, padding: int, at_once: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Five images of 7 x 6, some at a time: the last part may be smaller."""
    x = draw(5, 3, 7, 6)
    edges = [(edge + 2 * padding - kernel) // stride + 1 for edge in (7, 6)]
    dz = draw(5, 4, *edges, seed=1)
    monkeypatch.setattr(conv_weight, "PATCH_BYTES", at_once * edges[0] * edges[1] * kernel**2 * 3 * 8)
    _, expected, _ = torch.ops.aten.convolution_backward(
        dz, x, draw(4, 3, kernel, kernel), None, [stride] * 2, [padding] * 2, [1, 1], False, [0, 0], 1, [False, True, False]
    )
    with torch.no_grad():
        ours = by_patches(dz, x, kernel, stride, padding)
    torch.testing.assert_close(ours, expected, rtol=1e-11, atol=1e-11)
    assert ours.is_contiguous(memory_format=torch.channels_last)


def test_its_multiply_adds_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conv_weight, "PATCH_BYTES", 1)  # one image at a time
    x, dz = draw(3, 2, 4, 4), draw(3, 5, 4, 4)
    with torch.no_grad():
        assert count_flops(lambda: by_patches(dz, x, 3, 1, 1)) == 2 * (3 * 4 * 4) * 5 * (2 * 3 * 3)


def test_with_wide_registers_torchs_kernel_is_used_in_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conv_weight, "_KERNEL_IS_SLOW", False)
    x, dz = draw(2, 32, 4, 4, dtype=torch.float32), draw(2, 128, 4, 4, dtype=torch.float32)
    with torch.no_grad():
        assert not is_quicker(dz, x, 3)
        assert is_quicker(dz.double(), x.double(), 3)


def test_it_is_used_for_wide_convolutions_of_images_that_lie_pixel_after_pixel(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conv_weight, "_KERNEL_IS_SLOW", True)
    x, dz = draw(2, 32, 4, 4, dtype=torch.float32), draw(2, 128, 4, 4, dtype=torch.float32)
    with torch.no_grad():
        assert is_quicker(dz, x, 3) and is_quicker(dz.double(), x.double(), 3)
        assert not is_quicker(dz, x, 1)  # 32 numbers in a patch
        assert not is_quicker(dz[:, :127].contiguous(memory_format=torch.channels_last), x, 3)
        assert not is_quicker(dz, x.contiguous(), 3) and not is_quicker(dz.contiguous(), x, 3)
        assert not is_quicker(dz.bfloat16(), x.bfloat16(), 3)
        with products_in("bfloat16"):  # a product is rounded once
            assert not is_quicker(dz, x, 3)
        assert is_quicker(dz, x, 3)
    assert not is_quicker(dz, x, 3)  # autograd records


def test_the_gradients_of_a_block_use_it() -> None:
    """Weight, bias and input, of a wide block, against autograd."""
    from bpfree.numerics.conv import ConvPlan, conv_activity, conv_gradients

    plan = ConvPlan(1, 1, ("activation",), "tanh", "none")
    x, weight, bias = draw(2, 32, 4, 3), draw(128, 32, 3, 3, seed=1) / 17, torch.linspace(-1, 1, 128, dtype=torch.float64)
    leaves = [each.clone().requires_grad_() for each in (weight, bias, x)]
    a = torch.tanh(torch.nn.functional.conv2d(leaves[2], leaves[0], leaves[1], padding=1))
    delta = draw(*a.shape, seed=2)
    expected = torch.autograd.grad(a, leaves, delta)
    with torch.no_grad():
        ours, saved = conv_activity(x, weight, bias, None, plan, "update")
        assert is_by_pixels(ours) and is_quicker(ours, saved.x, 3)
        gradients, by_input = conv_gradients(saved, delta, weight, None, plan, bias=True, need_input=True)
    assert by_input is not None
    for mine, theirs in zip([*gradients, by_input], expected, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-9, atol=1e-9)
