"""Products in bfloat16 by value: whole numbers that it holds exactly, what is computed, and for whom."""

from __future__ import annotations

import threading

import pytest
import torch
import torch.nn.functional as F
from torch_calls import Calls

from bpfree.numerics.products import are_rounded, products_in


@pytest.mark.parametrize("alpha", [0, 1, 2, 0.5])
@pytest.mark.parametrize("beta", [0, 1, 2, 0.5])
def test_sums_of_a_product_and_a_matrix(beta: float, alpha: float) -> None:
    """beta 3 + alpha 2 x 5, in place or not; over a batch the two products are added."""
    c, a, b = torch.tensor([[3.0]]), torch.tensor([[2.0]]), torch.tensor([[5.0]])
    with products_in("bfloat16"):
        assert float(torch.addmm(c, a, b, beta=beta, alpha=alpha)) == 3 * beta + 10 * alpha
        assert float(torch.addbmm(c, a.expand(2, 1, 1), b.expand(2, 1, 1), beta=beta, alpha=alpha)) == 3 * beta + 20 * alpha
        into = c.clone()
        assert into.addmm_(a, b, beta=beta, alpha=alpha) is into
    assert (float(into), float(c)) == (3 * beta + 10 * alpha, 3.0)


def test_the_defaults_of_a_sum_are_torchs() -> None:
    with products_in("bfloat16"):
        assert float(torch.addmm(torch.tensor([[3.0]]), torch.tensor([[2.0]]), torch.tensor([[5.0]]))) == 13.0


def test_a_product_is_written_where_it_is_wanted() -> None:
    out = torch.zeros(1, 1)
    with products_in("bfloat16"):
        made = torch.mm(torch.tensor([[2.0]]), torch.tensor([[5.0]]), out=out)
    assert made is out
    assert float(out) == 10.0


def test_biases_and_layers_without_one() -> None:
    """2 x 3 + 1; a kernel of one place for each of two maps, whose biases go to their map."""
    x, image = torch.tensor([[2.0]]), torch.ones(1, 1, 2, 3)
    kernel, biases = torch.tensor([2.0, 4.0]).reshape(2, 1, 1, 1), torch.tensor([0.5, -0.5])
    with products_in("bfloat16"):
        assert float(F.linear(x, torch.tensor([[3.0]]))) == 6.0
        assert float(F.linear(x, torch.tensor([[3.0]]), torch.tensor([1.0]))) == 7.0
        assert F.conv2d(image, kernel).amax((2, 3)).tolist() == [[2.0, 4.0]]
        assert F.conv2d(image, kernel, bias=biases).amax((2, 3)).tolist() == [[2.5, 3.5]]
        assert F.conv1d(image[:, 0, :1], kernel[:, 0], biases).amax(2).tolist() == [[2.5, 3.5]]


@pytest.mark.parametrize("wanted", [[True, True, True], [False, True, True], [True, False, False], [True, True, False]])
def test_gradients_of_a_convolution_that_are_wanted(wanted: list[bool]) -> None:
    """x = 2, weight = 3, delta = 5 at two places: dx = 15 each, dW = 20, db = 10; the kernel sums no bias."""
    x, weight, delta = torch.full((1, 1, 1, 2), 2.0), torch.full((1, 1, 1, 1), 3.0), torch.full((1, 1, 1, 2), 5.0)
    with products_in("bfloat16"), Calls() as calls:
        made = torch.ops.aten.convolution_backward(delta, x, weight, [1], [1, 1], [0, 0], [1, 1], False, [0, 0], 1, wanted)
    expected = [[15.0, 15.0], [20.0], [10.0]]
    assert [None if each is None else each.flatten().tolist() for each in made] == [
        value if asked else None for value, asked in zip(expected, wanted, strict=True)
    ]
    assert [arguments[-1] for name, arguments in calls.made if "convolution_backward" in name] == [[*wanted[:2], False]]


def test_lists_of_factors() -> None:
    """1 + 2⁻¹² is 1 in bfloat16; factors of other formats are left alone, also beside an empty list."""
    odd = torch.full((1, 1), 1 + 2.0**-12)
    with products_in("bfloat16"):
        assert float(torch.linalg.multi_dot([odd, odd, odd])) == 1.0
        assert float(torch.einsum("ij,jk->ik", odd, odd)) == 1.0
        wide = torch.tensordot(odd.double(), odd.double(), dims=([], []))
    assert wide.dtype == torch.float64
    assert float(wide) == float(odd.double().square())


def test_it_holds_for_the_thread_that_enters_it_and_until_the_outermost_block_ends() -> None:
    seen: list[bool] = []
    with products_in("bfloat16"):
        with products_in("bfloat16"):
            assert are_rounded()
        assert are_rounded()
        other = threading.Thread(target=lambda: seen.append(are_rounded()))
        other.start()
        other.join()
    assert not are_rounded()
    assert seen == [False]
    for precision in ("float32", "tf32"):
        with products_in(precision):
            assert not are_rounded()


def test_a_weight_that_is_updated_is_rounded_again() -> None:
    """Also where the caller has an autocast that keeps rounded weights."""
    torch.manual_seed(0)
    layer, x = torch.nn.MultiheadAttention(4, 1, bias=False), torch.ones(2, 4)
    with torch.autocast("cpu", torch.bfloat16), products_in("bfloat16"):
        before = layer(x, x, x, need_weights=False)[0]
        with torch.no_grad():
            layer.out_proj.weight.mul_(2)
        after = layer(x, x, x, need_weights=False)[0]
    torch.testing.assert_close(after, 2 * before)
    assert float(before.detach().abs().max()) > 0.1


@pytest.mark.parametrize("error", [False, True])
def test_switches_are_set_back_also_after_an_error(error: bool) -> None:
    matmul, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
    before = (matmul.allow_tf32, cudnn.allow_tf32, matmul.allow_bf16_reduced_precision_reduction)
    for precision in ("tf32", "bfloat16"):
        try:
            with products_in(precision):
                if error:
                    raise KeyError
        except KeyError:
            pass
        assert (matmul.allow_tf32, cudnn.allow_tf32, matmul.allow_bf16_reduced_precision_reduction) == before
    assert not are_rounded()
