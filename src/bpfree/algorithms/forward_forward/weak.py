"""Nets on which prediction by goodness is known to do badly."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from bpfree.nets import Chain

__all__ = ["goodness_weaknesses"]

NARROW = 16
"""Units of a voting block without a warning: digits, two blocks, 25 passes: 33 % with 8 units, 89 % with 16, 94 % with 32."""

MANY_CLASSES = 50
"""From here on the passes of a prediction are warned of."""


def goodness_weaknesses(net: Chain, voting: Iterable[int]) -> Iterator[str]:
    """One line each, with the cure.

    Args:
        voting: the blocks whose goodness is summed.
    """
    narrow = next((k for k in voting if net[k].n_features < NARROW), None)
    if narrow is not None:
        yield (
            f"the goodness of {net[narrow].n_features} units (block {narrow}) hardly distinguishes classes, and they die easily; "
            f"use at least {NARROW} units, inference=head, or another rule such as mono-forward"
        )
    if net.n_classes >= MANY_CLASSES:
        yield f"a prediction takes {net.n_classes} passes through the net, one per class; use inference=head"
