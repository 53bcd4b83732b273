"""What a step of FOTON costs."""

from __future__ import annotations

from collections.abc import Iterator

from bpfree.algorithms._cost import Moment, Shape

__all__ = ["learn_macs", "moments"]


def learn_macs(s: Shape, *, low: bool) -> int:
    """n (3 F + 2 K o_L + K n₀); with memory=low one pass more."""
    return s.n * ((4 if low else 3) * s.forward + 2 * s.output + s.classes * s.inputs)


def moments(s: Shape, *, low: bool) -> Iterator[Moment]:
    """While the modulated pass is at each block."""
    last, before = s.blocks[-1], 0
    for k, block in enumerate(s.blocks):
        if not low:
            rest = s.stored(len(s.blocks) - 1) + s.n * (s.inputs + 2 * block.rows)
            yield block.parameters + before, rest + 2 * s.n * s.classes
        else:  # clean and modulated go through a block together: two copies of its input, two of its output
            rest = s.n * (s.inputs + last.rows) + 2 * s.n * s.classes
            yield before, rest + 4 * s.n * block.rows + (3 if k == 0 else 4) * s.n * block.columns
            yield block.parameters + before, rest + s.n * (block.columns + 3 * block.rows)
        before = block.parameters
