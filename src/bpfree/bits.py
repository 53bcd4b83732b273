"""Packed booleans: which test examples a run classified correctly, in a few bytes of text that a record can hold."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence

import numpy as np

from bpfree.errors import UsageError

__all__ = ["pack_correct", "unpack_correct"]


def pack_correct(correct: Sequence[bool] | np.ndarray) -> str:
    """Booleans as text ``COUNT:BASE64``, eight to a byte, the first in the highest bit; 10,000 take 1.7 kB.

    Args:
        correct: (examples,), in the order of the test split.

    Raises:
        UsageError: not one-dimensional, or not booleans.
    """
    values = np.asarray(correct)
    if values.ndim != 1 or (values.size and values.dtype != np.bool_):
        raise UsageError(f"one boolean for each test example is needed, got {values.dtype} of shape {values.shape}")
    packed = np.packbits(values.astype(np.bool_))
    return f"{values.size}:{base64.b64encode(packed.tobytes()).decode('ascii')}"


def unpack_correct(text: str) -> np.ndarray:
    """The booleans of :func:`pack_correct`, (examples,).

    Raises:
        UsageError: text that :func:`pack_correct` does not write.
    """
    count, separator, body = text.partition(":")
    try:
        size = int(count) if separator and count.isdecimal() else -1
        packed = np.frombuffer(base64.b64decode(body, validate=True), dtype=np.uint8)
    except (binascii.Error, ValueError) as error:
        raise UsageError(f"packed correctness must be COUNT:BASE64, got {text[:40]!r} ({error})") from None
    if size < 0 or packed.size != -(-size // 8):
        raise UsageError(f"packed correctness must be COUNT:BASE64 with one bit an example, got {text[:40]!r}")
    return np.unpackbits(packed, count=size).astype(np.bool_)
