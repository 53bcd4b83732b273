"""What a step of PEPITA costs, and a step of mirroring."""

from __future__ import annotations

from collections.abc import Iterator

from bpfree.algorithms._cost import Moment, Shape, one_after_another
from bpfree.algorithms.pepita.mirroring import NOISE_ROWS

__all__ = ["learn_macs", "mirror_macs", "moments"]


def learn_macs(s: Shape, *, mixed: bool) -> int:
    """n (3 F + 2 K o_L + K n₀); mixed: each block's two products of activities instead of one, n F more."""
    return s.n * ((4 if mixed else 3) * s.forward + 2 * s.output + s.classes * s.inputs)


def mirror_macs(s: Shape) -> int:
    """2 m (F + K o_L) for the answers and their products with the noise; composing F twice: K F each."""
    return 2 * NOISE_ROWS * (s.forward + s.output) + 2 * s.classes * s.forward


def moments(s: Shape, *, dropout: bool) -> Iterator[Moment]:
    """While the modulated pass is at each block; with dropout the masks lie beside the activities."""
    each = 2 if dropout else 1
    if dropout:  # while the last mask is drawn: two int64 for each of its numbers
        yield 0, s.n * (sum(block.rows for block in s.blocks[:-1]) + 4 * s.blocks[-1].rows)
    yield 0, s.n * (each * sum(block.rows for block in s.blocks) + s.inputs + s.classes)
    at_output = (s.output_parameters, s.n * (s.blocks[-1].rows + s.classes))
    yield from one_after_another(s, [*(_at_block(s, k, each) for k in range(len(s.blocks))), [at_output]])


def _at_block(s: Shape, k: int, each: int) -> Iterator[Moment]:
    block, behind = s.blocks[k], each * s.n * sum(later.rows for later in s.blocks[k + 1 :])
    yield 0, behind + s.n * (block.columns + (each + 1) * block.rows + s.classes)
    yield block.parameters, behind + s.n * (block.columns + 2 * block.rows + s.classes)
