"""Gradients of one affine map, given the derivative of a loss by its activity: closed form, no autograd.

Index letters: n example, i input, o output. With z = x Wᵀ + b and a = φ(z), for any loss ℓ with ∂ℓ/∂a = delta (n, o):

    dz = delta ⊙ φ′(z)        (n, o)
    dW = dzᵀ x                (o, i)
    db = Σₙ dz                (o,)
    dx = dz W                 (n, i)   only where a rule asks for it (backprop)

``delta`` is a derivative of a *mean* loss, so nothing is divided by n here. The same holds for convolutions, where the
products run over positions as well (torch's own ``convolution_backward`` kernel).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from bpfree.numerics.activations import ACTIVATIONS

__all__ = ["add_product", "affine_gradients", "class_scores", "dense_activity", "dense_gradients"]


def dense_activity(x: Tensor, weight: Tensor, bias: Tensor | None, activation: str) -> Tensor:
    """a = φ(x Wᵀ + b); x (n, i), weight (o, i), bias (o,) or None, to (n, o)."""
    z = x @ weight.t() if bias is None else bias.addmm(x, weight.t())
    by_name = ACTIVATIONS[activation]
    return by_name.apply(z) if z.requires_grad else by_name.apply_(z)  # z is nobody else's


def class_scores(h: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """G = h Vᵀ + c of features h (n, o), weight (classes, o), bias (classes,) or None, to (n, classes).

    On a processor the transposed product V hᵀ is computed: with few classes it takes half as long.
    """
    if h.device.type != "cpu":
        return h @ weight.t() if bias is None else bias.addmm(h, weight.t())
    return (weight.mm(h.t()) if bias is None else bias.unsqueeze(1).addmm(weight, h.t())).t()


def dense_gradients(
    x: Tensor, a: Tensor, weight: Tensor, delta: Tensor, activation: str, *, bias: bool, need_input: bool
) -> tuple[list[Tensor], Tensor | None]:
    """Gradients by [weight, bias] (bias only if there is one), and by x if ``need_input``."""
    dz = ACTIVATIONS[activation].gradient(delta, a)
    return affine_gradients(x, dz, weight, bias=bias, need_input=need_input)


def affine_gradients(
    x: Tensor, dz: Tensor, weight: Tensor, *, bias: bool, need_input: bool, into: Sequence[Tensor] = ()
) -> tuple[list[Tensor], Tensor | None]:
    """The same from dz (n, o), for which a is no longer needed.

    Args:
        into: gradients of other rows, to which these are added in place; by default new ones are made.
    """
    gradients = [add_product(dz.t(), x, into[0] if into else None)]
    if bias:
        gradients.append(into[1].add_(dz.sum(0)) if into else dz.sum(0))
    return gradients, (dz.mm(weight) if need_input else None)


def add_product(a: Tensor, b: Tensor, into: Tensor | None) -> Tensor:
    """a b; with ``into`` it is added to that, in place, without a tensor for the product alone."""
    return a.mm(b) if into is None else torch.addmm(into, a, b, out=into)  # not addmm_, for which torch counts no operations
