"""Counter-based random streams: the number at a place depends on the key and the place alone.

Randomness inside a training step (negatives, dropout, mirroring noise) is drawn here, keyed by (seed, pass, batch, block).
It is therefore the same on resume, in a layer-parallel pipeline and in a captured graph, on every device, and drawing it
neither moves a generator nor waits for the device. torch has no such generator outside its compiler.

What is drawn for each example is drawn ``by_row``: where several processes share a batch (:mod:`bpfree.numerics.rows`) each of
them draws what one process would draw for its rows.

The mixing function is the finaliser of SplitMix64 (Steele, Lea and Flood, OOPSLA 2014, fig. 17; constants by Stafford's
variant 13), applied to ``key + counter * golden gamma``; 64-bit integers wrap, as they do in C.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from bpfree.numerics.host import by_host, host_value, on_host
from bpfree.numerics.rows import current_rows

__all__ = ["integers", "normal", "stream_key", "stream_keys", "uniform"]

_MASK = (1 << 64) - 1
_GAMMA = 0x9E3779B97F4A7C15
_FIRST = 0xBF58476D1CE4E5B9
_SECOND = 0x94D049BB133111EB


def _signed(value: int) -> int:
    """The two's complement reading of an unsigned 64-bit integer."""
    value &= _MASK
    return value - (1 << 64) if value >> 63 else value


def _mix_int(value: int) -> int:
    value &= _MASK
    value = ((value ^ (value >> 30)) * _FIRST) & _MASK
    value = ((value ^ (value >> 27)) * _SECOND) & _MASK
    return value ^ (value >> 31)


def _mix_host(value: np.ndarray) -> np.ndarray:
    """In place, uint64."""
    value ^= value >> np.uint64(30)
    value *= np.uint64(_FIRST)
    value ^= value >> np.uint64(27)
    value *= np.uint64(_SECOND)
    value ^= value >> np.uint64(31)
    return value


def _shift_right(value: Tensor, bits: int) -> Tensor:
    """Logical shift of int64 (torch's ``>>`` keeps the sign)."""
    return (value >> bits).bitwise_and_((1 << (64 - bits)) - 1)


def _mix_(value: Tensor) -> Tensor:
    """In place."""
    value.bitwise_xor_(_shift_right(value, 30)).mul_(_signed(_FIRST))
    value.bitwise_xor_(_shift_right(value, 27)).mul_(_signed(_SECOND))
    return value.bitwise_xor_(_shift_right(value, 31))


def stream_key(*parts: int) -> int:
    """Fold integers, such as (seed, pass, batch), into one signed 64-bit key."""
    key = 0
    for part in parts:
        key = _mix_int(key + _GAMMA + (part & _MASK))
    return _signed(key)


def stream_keys(parts: Sequence[int], n: int) -> Tensor:
    """:func:`stream_key` of ``(*parts, k)`` for each k below n, (n,) int64."""
    values = np.arange(n, dtype=np.uint64) + np.uint64((stream_key(*parts) + _GAMMA) & _MASK)
    return torch.from_numpy(_mix_host(values).view(np.int64))


def _bits(key: Tensor, n: int, salt: int, first: int = 0) -> Tensor:
    """The 24 random bits of each of n numbers (n,) from place ``first`` on, of m keys (m, n); int64."""
    if on_host(key) and key.ndim == 0:
        return by_host(_bits_by_host, key, n, salt, first)  # a fifth of the time of torch's
    if key.device.type == "cpu" and torch.compiler.is_compiling():
        return torch.ops.bpfree.stream_bits(key, n, salt)
    counter = torch.arange(first + 1, first + n + 1, device=key.device, dtype=torch.int64).mul_(_signed(_GAMMA))
    start = _mix_(key + _signed(_mix_int(salt + 1)))
    return _shift_right(_mix_(counter.add_(start) if key.ndim == 0 else counter + start.unsqueeze(1)), 40)


_LIBRARY = torch.library.Library("bpfree", "DEF")
_LIBRARY.define("stream_bits(Tensor key, int n, int salt) -> Tensor")
_LIBRARY.impl("stream_bits", _bits, "CPU")
_LIBRARY.impl("stream_bits", lambda key, n, salt: key.new_empty((*key.shape, n)), "Meta")
"""For torch's compiler an operation without parts: in the C++ that it would write for a processor, integers that wrap are signed,
and so undefined. gcc concludes that a loop over counters ends before they wrap, and stores whole vectors past the end of a
buffer (torch 2.13, gcc 12)."""


@lru_cache(maxsize=16)
def _counters(n: int, first: int) -> np.ndarray:
    """What n numbers from place ``first`` on are counted by, the same for every key."""
    return np.arange(first + 1, first + n + 1, dtype=np.uint64) * np.uint64(_GAMMA)


def _host_bits(key: Tensor, n: int, salt: int, first: int) -> np.ndarray:
    """As :func:`_bits` of one key for which ``on_host`` is true, uint64."""
    value = _mix_host(_counters(n, first) + np.uint64(_mix_int(int(host_value(key)) + _mix_int(salt + 1))))
    value >>= np.uint64(40)
    return value


def _bits_by_host(key: Tensor, n: int, salt: int, first: int) -> Tensor:
    return torch.from_numpy(_host_bits(key, n, salt, first).view(np.int64))


def _fractions_by_host(key: Tensor, n: int, salt: int, first: int) -> Tensor:
    return torch.from_numpy(_host_bits(key, n, salt, first).astype(np.float32) * np.float32(2.0**-24))


def _integers_by_host(key: Tensor, n: int, low: int, high: int, salt: int, first: int) -> Tensor:
    bits = _host_bits(key, n, salt, first)
    bits *= np.uint64(high - low)
    bits >>= np.uint64(24)
    if low:
        bits += np.uint64(low)
    return torch.from_numpy(bits.view(np.int64))


def _first_place(by_row: bool, shape: Sequence[int]) -> int:
    """Place of the first number that this process draws: behind those of the rows before its own."""
    rows = current_rows() if by_row else None
    return 0 if rows is None else rows.first * math.prod(shape[1:])


def uniform(
    key: Tensor, shape: Sequence[int], *, salt: int = 0, dtype: torch.dtype = torch.float32, by_row: bool = False
) -> Tensor:
    """Numbers uniform in [0, 1), on the key's device.

    Args:
        key: 0-D int64, as carried by a batch; or (m,), of m batches.
        shape: of the result; of m keys (m, *shape), each row that of its key.
        salt: separates the streams of one key, such as the index of a block.
        dtype: floating; 24 random bits are used (exact in float32 and wider).
        by_row: the first axis counts the examples of the batch.
    """
    n, first = 1, _first_place(by_row, shape)
    for size in shape:
        n *= size
    if key.ndim == 0 and on_host(key):
        fraction = by_host(_fractions_by_host, key, n, salt, first)
    else:
        fraction = _bits(key, n, salt, first).to(torch.float32).mul_(2.0**-24)
    return fraction.to(dtype).reshape((*key.shape, *shape))


def integers(key: Tensor, shape: Sequence[int], high: int, *, low: int = 0, salt: int = 0, by_row: bool = False) -> Tensor:
    """Integers uniform in [low, high), int64; the bias of at most (high − low) / 2**24 is far below any use here."""
    if len(shape) == 1 and key.ndim == 0 and on_host(key):  # in whole numbers: the product in float64 is exact, too
        return by_host(_integers_by_host, key, shape[0], low, high, salt, _first_place(by_row, shape))
    return (uniform(key, shape, salt=salt, dtype=torch.float64, by_row=by_row) * (high - low)).to(torch.int64).add_(low)


def normal(
    key: Tensor, shape: Sequence[int], *, salt: int = 0, dtype: torch.dtype = torch.float32, by_row: bool = False
) -> Tensor:
    """Standard normal numbers by the transform of Box and Muller (1958)."""
    first = uniform(key, shape, salt=2 * salt + 1_000_003, dtype=torch.float64, by_row=by_row)
    second = uniform(key, shape, salt=2 * salt + 1_000_004, dtype=torch.float64, by_row=by_row)
    radius = torch.sqrt(-2.0 * torch.log1p(-first))
    return (radius * torch.cos(2.0 * torch.pi * second)).to(dtype)
