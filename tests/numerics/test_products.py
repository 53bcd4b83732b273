"""Products in bfloat16: every product reads rounded factors and gives float32; nothing else is rounded."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from bpfree.errors import UsageError
from bpfree.numerics.products import products_in

MULTIPLIES = ("mm", "convolution", "attention", "mv", "dot")


class Factors(TorchDispatchMode):
    """The number formats of the tensors that products read."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: set[torch.dtype] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if any(word in str(func) for word in MULTIPLIES):
            self.seen |= {each.dtype for each in args if isinstance(each, Tensor)}
        return func(*args, **(kwargs or {}))


def drawn(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape)))


X, W, B, IMAGES, KERNEL = drawn(8, 16), drawn(4, 16), drawn(4), drawn(2, 3, 8, 8), drawn(4, 3, 3, 3)
CASES: dict[str, Callable[[], Tensor]] = {
    "matmul": lambda: X @ W.t(),
    "mm out": lambda: torch.mm(X, W.t(), out=torch.empty(8, 4)),
    "mv": lambda: W.mv(X[0]),
    "addmm": lambda: torch.addmm(B, X, W.t(), beta=0.5, alpha=2),
    "addmm in place": lambda: torch.ones(8, 4).addmm_(X, W.t(), beta=0.5, alpha=2),
    "baddbmm": lambda: torch.baddbmm(torch.ones(2, 8, 8), IMAGES[:, 0], IMAGES[:, 1]),
    "addbmm": lambda: torch.addbmm(torch.ones(8, 8), IMAGES[:, 0], IMAGES[:, 1]),
    "einsum": lambda: torch.einsum("ni,oi->no", X, W),
    "linear": lambda: F.linear(X, W, bias=B),
    "conv2d": lambda: F.conv2d(IMAGES, KERNEL, B, stride=2),
    "conv_transpose2d": lambda: F.conv_transpose2d(IMAGES, KERNEL.transpose(0, 1), B),
    "convolution": lambda: torch.ops.aten.convolution(IMAGES, KERNEL, B, [1, 1], [0, 0], [1, 1], False, [0, 0], 1),
    "attention": lambda: F.scaled_dot_product_attention(IMAGES, IMAGES, IMAGES),
    "layers": lambda: nn.MultiheadAttention(16, 4)(X, X, X, need_weights=False)[0],
}


@pytest.mark.parametrize("case", CASES)
def test_a_product_reads_bfloat16_and_gives_float32(case: str) -> None:
    torch.manual_seed(0)
    exact = CASES[case]()
    torch.manual_seed(0)
    with Factors() as factors, products_in("bfloat16"):
        rounded = CASES[case]()
    assert factors.seen == {torch.bfloat16}
    assert rounded.dtype == torch.float32
    assert not torch.equal(rounded, exact)
    torch.testing.assert_close(rounded, exact, rtol=0.05, atol=0.02 * float(exact.detach().abs().max()))


def test_a_bias_is_added_in_float32() -> None:
    small = torch.tensor([1 + 2.0**-20])
    with products_in("bfloat16"):
        assert torch.equal(F.linear(torch.zeros(1, 3), torch.ones(1, 3), small), small[None])


def test_autograd_rounds_as_the_closed_form_does() -> None:
    weight, bias = KERNEL.clone().requires_grad_(), B.clone().requires_grad_()
    delta = drawn(2, 4, 6, 6)
    with products_in("bfloat16"):
        by_autograd = torch.autograd.grad(F.conv2d(IMAGES, weight, bias), [weight, bias], delta)
        _, *closed = torch.ops.aten.convolution_backward(
            delta, IMAGES, KERNEL, [4], [1, 1], [0, 0], [1, 1], False, [0, 0], 1, [True, True, True]
        )
    for ours, theirs in zip(closed, by_autograd, strict=True):
        assert ours.dtype == torch.float32
        torch.testing.assert_close(ours, theirs)


def test_other_formats_are_left_alone() -> None:
    with products_in("bfloat16"):
        assert torch.equal(X.double() @ W.double().t(), X.double().mm(W.double().t()))
        assert (X.double() @ W.double().t()).dtype == torch.float64
    exact = X @ W.t()
    with products_in("float32"):
        assert torch.equal(X @ W.t(), exact)


def test_what_multiplies_out_of_sight_is_refused() -> None:
    with (
        products_in("bfloat16"),
        pytest.raises(UsageError, match=r"^lstm of torch multiplies out of sight"),
    ):
        nn.LSTM(16, 4)(X)


def test_switches_are_set_back() -> None:
    matmul, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
    before = (matmul.allow_tf32, cudnn.allow_tf32, matmul.allow_bf16_reduced_precision_reduction)
    with products_in("tf32"):
        assert matmul.allow_tf32
        assert cudnn.allow_tf32
    with products_in("bfloat16"):
        assert not matmul.allow_bf16_reduced_precision_reduction
    assert (matmul.allow_tf32, cudnn.allow_tf32, matmul.allow_bf16_reduced_precision_reduction) == before
