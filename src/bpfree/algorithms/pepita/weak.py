"""Depths at which PEPITA is known to learn little."""

from __future__ import annotations

from collections.abc import Iterator

__all__ = ["depth_weakness"]

MOST_BLOCKS = 3
"""Hidden blocks without a warning: digits, blocks of 64, 15 passes: 73 % on 3, 45 % on 4, 15 % on 6."""


def depth_weakness(n_blocks: int) -> Iterator[str]:
    """One line with the cure, or none."""
    if n_blocks > MOST_BLOCKS:
        yield (
            f"learns little beyond {MOST_BLOCKS} hidden blocks (this net has {n_blocks}); use a net of at most {MOST_BLOCKS}: "
            "mlp:1x1024"
        )
