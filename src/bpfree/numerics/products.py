"""The number format of products: matrix products, convolutions, attention, and what autograd derives from them.

* ``float32``: factors as they are, in the number format of the net.
* ``tf32``: an NVIDIA GPU rounds float32 factors to 10 bits of mantissa and sums in float32.
* ``bfloat16``: float32 factors are rounded to bfloat16 (7 bits), a product is summed in float32 and rounded to bfloat16 once, and
  is float32 again. Weights, moments, activities, norms, losses, biases and all sums over examples stay in float32.

``torch.autocast`` is not used: it has a list of operations for each device, keeps activities in bfloat16, and would leave rules
that use other operations with other formats. Here the rule does not matter: whatever it multiplies is rounded alike. A product
within a kernel that torch does not know (a user's own) is not seen.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from typing import Any, Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

from bpfree.errors import UsageError

__all__ = ["PRECISIONS", "Precision", "are_rounded", "products_in"]

Precision = Literal["float32", "tf32", "bfloat16"]
PRECISIONS: tuple[Precision, ...] = get_args(Precision)


@contextlib.contextmanager
def products_in(precision: str) -> Iterator[None]:
    """Compute the products within in a number format; for the thread that enters it.

    Args:
        precision: one of :data:`PRECISIONS`. ``float32`` changes nothing.

    Raises:
        UsageError: within ``bfloat16``, a recurrent or bilinear layer of torch is called.
    """
    if precision == "bfloat16":
        matmul = torch.backends.cuda.matmul
        before = matmul.allow_bf16_reduced_precision_reduction
        matmul.allow_bf16_reduced_precision_reduction = False  # parts of a long sum are added in float32 too
        outside, _WITHIN.bfloat16 = are_rounded(), True
        try:
            with _BFLOAT16:
                yield
        finally:
            _WITHIN.bfloat16 = outside
            matmul.allow_bf16_reduced_precision_reduction = before
    elif precision == "tf32":
        places = (torch.backends.cuda.matmul, torch.backends.cudnn)
        allowed = [place.allow_tf32 for place in places]
        for place in places:
            place.allow_tf32 = True  # pyright: ignore[reportAttributeAccessIssue]  # torch replaces the module by an object
        try:
            yield
        finally:
            for place, before in zip(places, allowed, strict=True):
                place.allow_tf32 = before  # pyright: ignore[reportAttributeAccessIssue]
    else:
        yield


_WITHIN = threading.local()


def are_rounded() -> bool:
    """Whether this thread computes products in bfloat16: each is rounded once, so its parts must not be rounded one by one."""
    return getattr(_WITHIN, "bfloat16", False)


_Function = Callable[..., Any]


def _rounded(value: Any) -> Any:
    """A float32 tensor, or each of a list of them, in bfloat16; anything else as it is."""
    if isinstance(value, Tensor):
        return value.to(torch.bfloat16) if value.dtype is torch.float32 else value
    return [_rounded(each) for each in value] if isinstance(value, list | tuple) else value


def _two(function: _Function, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor:
    """A product of everything that is given."""
    return function(*map(_rounded, args), **{name: _rounded(value) for name, value in kwargs.items()}).float()


def _biased(function: _Function, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor:
    """A product of two, and a bias that is added in float32."""
    options = dict(kwargs)
    x, weight, bias = (args[k] if k < len(args) else options.pop(name, None) for k, name in enumerate(_BIASED_ARGUMENTS))
    product = function(_rounded(x), _rounded(weight), None, *args[3:], **options).float()
    if bias is None:
        return product
    return product.add_(bias if function is F.linear else bias.reshape(-1, *(1,) * (weight.dim() - 2)))


_BIASED_ARGUMENTS = ("input", "weight", "bias")


def _added(function: _Function, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor:
    """beta c + alpha a b, of which a b is the product."""
    options = dict(kwargs)
    beta, alpha = options.pop("beta", 1), options.pop("alpha", 1)
    c, a, b = (*args, *options.values())
    product = torch.matmul(_rounded(a), _rounded(b)).float()
    if function in _OVER_BATCH:
        product = product.sum(0)
    if function in _IN_PLACE:
        return c.mul_(beta).add_(product, alpha=alpha)
    return torch.add(c if beta == 1 else beta * c, product, alpha=alpha)


def _convolution_backward(function: _Function, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Tensor | None, ...]:
    """Two products, and the bias's gradient, which is none."""
    delta, x, weight, _, *options, wanted = args
    products = function(*map(_rounded, (delta, x, weight)), None, *options, [*wanted[:2], False], **kwargs)
    by_bias = delta.sum([k for k in range(delta.dim()) if k != 1]) if wanted[2] else None
    return *(None if product is None else product.float() for product in products[:2]), by_bias


def _inside(function: _Function, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """A function of torch that calls several products, each out of sight."""
    device = next(value.device for value in (*args, *kwargs.values()) if isinstance(value, Tensor))
    with torch.autocast(device.type, torch.bfloat16, cache_enabled=False):  # a cached weight would be that of before an update
        return _widened(function(*args, **kwargs))


def _refused(function: _Function, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    raise UsageError(f"{function.__name__} of torch multiplies out of sight of precision bfloat16; use precision float32")


def _widened(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value.float() if value.dtype is torch.bfloat16 else value
    return type(value)(map(_widened, value)) if isinstance(value, list | tuple) else value


def _named(*names: str) -> Iterator[_Function]:
    """Functions of torch and methods of tensors of these names."""
    for name in names:
        yield from (getattr(place, name) for place in (torch, torch.Tensor) if hasattr(place, name))


_CONVOLUTIONS = ("conv1d", "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d", "conv_transpose3d")
_ADDED = ("addmm", "addmv", "baddbmm", "addbmm")
_IN_PLACE = frozenset(_named(*(f"{name}_" for name in _ADDED)))
_OVER_BATCH = frozenset(_named("addbmm", "addbmm_"))
_PRODUCTS: dict[_Function, Callable[[_Function, tuple[Any, ...], dict[str, Any]], Any]] = {
    **dict.fromkeys(_named("matmul", "__matmul__", "__rmatmul__", "mm", "bmm", "mv", "dot", "vdot", "inner"), _two),
    **dict.fromkeys((torch.einsum, torch.tensordot, torch.chain_matmul, torch.linalg.multi_dot, torch.linalg.matmul), _two),
    **dict.fromkeys((F.scaled_dot_product_attention, torch.linalg.vecdot), _two),
    **dict.fromkeys((F.linear, *_named(*_CONVOLUTIONS), torch.ops.aten.convolution), _biased),
    **dict.fromkeys((*_named(*_ADDED), *_IN_PLACE), _added),
    torch.ops.aten.convolution_backward: _convolution_backward,
    F.multi_head_attention_forward: _inside,
    **dict.fromkeys((F.bilinear, torch.lstm, torch.gru, torch.rnn_tanh, torch.rnn_relu), _refused),
}
"""What multiplies and sums, and how it is done in bfloat16."""


class _Bfloat16Products(TorchFunctionMode):
    """Sees every call of torch's Python functions; what is no product of float32 tensors is left alone."""

    def __torch_function__(
        self, func: _Function, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        product = _PRODUCTS.get(func)
        if product is None or not any(_is_float32(value) for value in (*args, *kwargs.values())):
            return func(*args, **kwargs)
        out = kwargs.pop("out", None)
        result = product(func, args, kwargs)
        return result if out is None else out.copy_(result)


def _is_float32(value: Any) -> bool:
    if isinstance(value, Tensor):
        return value.dtype is torch.float32
    return isinstance(value, list | tuple) and any(_is_float32(each) for each in value)


_BFLOAT16 = _Bfloat16Products()
"""One for all: a compiled step is bound to the mode that it was compiled in."""
