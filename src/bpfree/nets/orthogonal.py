"""The orthogonal net: hidden weights drawn with orthonormal rows, and taken back to them. FOTON needs it; backprop may train it
as a control, so that what the net does and what the rule does can be told apart.
"""

from __future__ import annotations

import warnings

import torch
from torch import nn

from bpfree.errors import UsageError
from bpfree.nets import operator
from bpfree.nets.chain import Chain
from bpfree.numerics.orthogonal import orthogonal_, orthonormalise

__all__ = ["NotOrthogonalWarning", "check_orthogonal", "draw_net_", "orthonormalise_net_"]


class NotOrthogonalWarning(UserWarning):
    """A block whose rows cannot be orthonormal: it widens, or zeros around the image cut them short."""


def check_orthogonal(name: str, net: Chain, *, lost: str, output: bool = False) -> None:
    """Refuse a net whose hidden blocks have no linear operator that can be kept orthonormal; warn of one whose rows cannot be.

    Args:
        name: of the rule.
        lost: what is lost there.
        output: whether the output's rows are to be orthonormal too.

    Raises:
        UsageError: naming the block and the cure.
    """
    for k, block in enumerate(net):
        if why := operator.why_not_linear(block):
            raise UsageError(f"{name}: block {k} ({type(block).__name__}) {why}")
    short = [f"block {k} {why}" for k, block in enumerate(net) if (why := operator.why_not_orthonormal(block))]
    o, i = net.output.weight.shape
    if output and o > i:
        short.append(f"the output widens from {i} to {o} (use output=free)")
    if short:
        warnings.warn(
            f"{name}: {', '.join(short)}; rows cannot be orthonormal there, so {lost}", NotOrthogonalWarning, stacklevel=3
        )


def draw_net_(net: Chain, generator: torch.Generator, *, output: bool = False) -> None:
    """Hidden weights with orthonormal rows (times their gain); the output N(0, 1/width), or with orthonormal rows too."""
    for block in net:
        operator.draw_(block, generator)
    if output:
        orthogonal_(net.output.weight, generator)
    else:
        nn.init.normal_(net.output.weight, std=net.output.in_features**-0.5, generator=generator)


@torch.no_grad()
def orthonormalise_net_(net: Chain, method: str, steps: int, *, output: bool = False) -> None:
    """``steps`` iterations of ``method`` on every weight that is to be orthonormal, in place."""
    for block in net:
        operator.orthonormalise_(block, method, steps)
    if output:
        net.output.weight.copy_(orthonormalise(net.output.weight, method, steps))
