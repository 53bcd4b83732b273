"""What a step of FOTON costs."""

from __future__ import annotations

from collections.abc import Iterator

from bpfree.algorithms._cost import Moment, Shape, one_after_another

__all__ = ["learn_macs", "moments"]


def learn_macs(s: Shape, *, low: bool) -> int:
    """n (3 F + 2 K o_L + K n₀); with memory=low one pass more."""
    return s.n * ((4 if low else 3) * s.forward + 2 * s.output + s.classes * s.inputs)


def moments(s: Shape, *, low: bool) -> Iterator[Moment]:
    """While the modulated pass is at each block."""
    all_rows = sum(block.rows for block in s.blocks)
    if low:
        yield 0, s.n * (3 * s.inputs + s.classes)  # the shift beside both halves of the first block's input
    else:
        yield 0, s.n * (all_rows + s.inputs + s.classes)
    yield from one_after_another(s, (_at_block(s, k, low) for k in range(len(s.blocks))), before=s.output_parameters)


def _at_block(s: Shape, k: int, low: bool) -> Iterator[Moment]:
    block = s.blocks[k]
    if low:  # clean and modulated go through a block together, and their difference is beside them
        yield block.parameters, s.n * (2 * block.columns + 3 * block.rows)
    else:  # the clean activities from its input on
        clean = s.input(k) + s.n * sum(b.rows for b in s.blocks[k:])
        yield 0, clean + s.n * (block.columns + block.rows)
        yield block.parameters, clean + s.n * 2 * block.rows
