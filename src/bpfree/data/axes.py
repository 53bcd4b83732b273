"""Which axis of four holds the channels.

Two clues, either of which may speak. An axis of at most four is channels: where the second axis is and the last is not, or the
other way round. A picture is square: where the remaining two axes are equal for one reading and not for the other. What speaks
must agree; where it does not, or where neither speaks, the array is refused and the user says which it is. So (n, 3, 32, 32) and
(n, 13, 64, 64) have channels first, (n, 28, 28, 1) and (n, 16, 16, 4) channels last; (n, 20, 1, 1), (n, 3, 8, 3) and (n, 5, 8, 9)
are refused.
"""

from __future__ import annotations

import warnings

import numpy as np

from bpfree.data.array_kinds import Array, check_numbers
from bpfree.errors import DataError, UsageError, unknown_name

__all__ = ["CHANNELS", "ChannelsWarning", "as_examples", "check_channels"]

CHANNELS = ("auto", "first", "last")
"""How four axes are read: by the rule above, as (n, channels, height, width), or as (n, height, width, channels)."""

_FEW = 4
"""The longest axis that is taken for channels: grey, with transparency, colour, colour with transparency."""


class ChannelsWarning(UserWarning):
    """Four axes were read as (n, height, width, channels) by the rule, without being told so."""


def check_channels(channels: str) -> None:
    """Raise UnknownNameError where ``channels`` is not one of :data:`CHANNELS`."""
    if channels not in CHANNELS:
        raise unknown_name("order of channels", channels, CHANNELS)


def as_examples(x: Array, channels: str, name: str) -> Array:
    """Numbers as (n, features) or (n, c, h, w): a view, whose channels may have been moved.

    Raises:
        DataError: no numbers, another number of axes, or four that can be read in two ways.
        UsageError: ``channels`` is given for what has no axis of channels.
    """
    check_channels(channels)
    check_numbers(x, name)
    if x.ndim not in (2, 3, 4):
        raise DataError(
            f"{name}: x must have 2 axes (n, features), 3 (n, h, w) or 4 (n, c, h, w), got shape {x.shape}; "
            + ("give x.reshape(-1, 1)" if x.ndim == 1 else "give x.reshape(len(x), -1)")
        )
    if x.ndim < 4:
        if channels != "auto":
            raise UsageError(
                f"{name}: channels {channels} was asked, but x has shape {x.shape}, which has no axis of channels; leave it out"
            )
        return x[:, None] if x.ndim == 3 else x
    return np.moveaxis(x, 3, 1) if _are_last(x.shape, channels, name) else x


def _are_last(shape: tuple[int, ...], channels: str, name: str) -> bool:
    if channels != "auto":
        return channels == "last"
    _, a, b, c = shape
    short = [] if (a <= _FEW) == (c <= _FEW) else [c <= _FEW]
    square = [] if (b == c) == (a == b) else [a == b]
    spoken = {*short, *square}
    if len(spoken) != 1:
        raise DataError(
            f"{name}: x with examples of shape {shape[1:]} can be {_words(a, b, c)}, or {_words(c, a, b)}; say "
            "--channels first or --channels last (in Python channels='first' or 'last')"
        )
    (last,) = spoken
    if last:
        warnings.warn(
            f"{name}: x with examples of shape {shape[1:]} is read as {_words(c, a, b)}, channels last; "
            "--channels first (in Python channels='first') overrules it",
            ChannelsWarning,
            stacklevel=5,
        )
    return last


def _words(channels: int, height: int, width: int) -> str:
    return f"{channels} channel{'s' * (channels > 1)} of {height} x {width}"
