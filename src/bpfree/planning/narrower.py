"""Smaller nets of the zoo: the same family with half the widths, again and again."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from bpfree.errors import BpfreeError
from bpfree.nets import Chain

__all__ = ["narrower"]

LEAST_WIDTH = 4
"""No block is made narrower than this."""


def narrower(spec: str, build: Callable[[str], Chain]) -> Iterator[str]:
    """Specifications of ever narrower nets, the widest first; none for a net whose width the text does not set.

    Args:
        spec: such as ``"mlp:3x1000"`` or ``"cnn3"``.
        build: makes the net of a specification, or raises a BpfreeError.
    """
    family, *pieces = spec.split(":")
    words = pieces.pop(0) if pieces and "=" not in pieces[0] else ""
    if not words and not any(piece.startswith("width=") for piece in pieces):
        words, pieces = _with_widths(family, pieces, build(spec))
    while True:
        words, before = _halved(words), (words, pieces)
        pieces = [f"width={_half(piece[6:])}" if piece.startswith("width=") else piece for piece in pieces]
        if (words, pieces) == before:
            return
        text = ":".join(filter(None, [family, words, *pieces]))
        try:
            build(text)
        except BpfreeError:
            return
        yield text


def _with_widths(family: str, pieces: list[str], net: Chain) -> tuple[str, list[str]]:
    """Words that say what the family does by itself: channels of each block, or one width (a family refuses what it has not)."""
    channels = [block.out_shape[0] for block in net if len(block.out_shape) == 3]
    if len(channels) == len(net):
        return "-".join(map(str, channels)), pieces
    if len({block.out_shape for block in net}) == 1:  # blocks of tokens
        return "", [*pieces, f"width={net[-1].out_shape[-1]}"]
    return "", pieces


def _halved(words: str) -> str:
    if match := re.fullmatch(r"(\d+)x(\d+)", words):
        return f"{match[1]}x{_half(match[2])}"
    return "-".join(_half(number) for number in words.split("-")) if re.fullmatch(r"\d+(-\d+)*", words) else words


def _half(number: str) -> str:
    """Half of a width, but no less than :data:`LEAST_WIDTH`; a narrower one stays."""
    return str(max(int(number) // 2, min(int(number), LEAST_WIDTH))) if number.isdecimal() else number
