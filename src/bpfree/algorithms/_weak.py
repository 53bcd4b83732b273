"""Weaknesses of rules that can be detected on a net before training, and the sentences that report them."""

from __future__ import annotations

import warnings
from typing import Any

from torch import nn

from bpfree.algorithms._base import Algorithm, KnownWeaknessWarning
from bpfree.nets import Chain, ConvBlock, DenseBlock

__all__ = ["UNBOUNDED", "activations", "has_convolutions", "warn_of_weaknesses", "weaknesses_of"]

UNBOUNDED = frozenset({"relu", "leaky-relu", "identity"})
"""Activations that no input saturates."""


def activations(net: Chain) -> set[str]:
    """Names of the nonlinearities of dense and convolution blocks; those inside other blocks are not seen."""
    names = {block.activation for block in net if isinstance(block, DenseBlock)}
    return names | {block.plan.activation for block in net if isinstance(block, ConvBlock)}


def has_convolutions(net: Chain) -> bool:
    """Whether there is a convolution anywhere in the net, within a module too."""
    return any(isinstance(module, nn.Conv1d | nn.Conv2d | nn.Conv3d) for module in net.modules())


def weaknesses_of(rule: Algorithm[Any], net: Chain, batch_size: int | None = None) -> tuple[str, ...]:
    """Known weaknesses of the rule that net and options show, one line each with the cure.

    Args:
        batch_size: of the training, where it is known.
    """
    return tuple(rule._weaknesses(net, batch_size))


def warn_of_weaknesses(rule: Algorithm[Any], net: Chain, batch_size: int | None = None) -> None:
    """Say the rule's known weaknesses on this net, one warning each.

    Args:
        batch_size: of the training, where it is known.
    """
    for line in weaknesses_of(rule, net, batch_size):
        warnings.warn(f"{rule.name}: {line}", KnownWeaknessWarning, stacklevel=3)
