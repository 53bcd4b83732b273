"""Small text formats that several commands and packages share."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable

from bpfree.errors import UsageError

__all__ = ["key_values", "readable", "slug"]


def key_values(pieces: Iterable[str], *, form: str, option: str = "", where: str = "") -> dict[str, str]:
    """Read pieces such as ``"lr=1e-3"`` into a dictionary.

    Args:
        form: what should be written, for the message.
        option: name of the option before each piece, for the message, such as ``"--set"``.
        where: what the pieces belong to, for the message, such as ``"the arm 'backprop:lr'"``.

    Raises:
        UsageError: a piece without ``=``, or without a key before it; a key that is given twice (one of them would be ignored).
    """
    values: dict[str, str] = {}
    for piece in pieces:
        key, equals, value = piece.partition("=")
        if not equals or not key:
            what = f"{option} {piece!r}" if option else f"{piece!r}"
            raise UsageError(f"cannot read {what}{f' in {where}' if where else ''}; write {form}")
        if key in values:
            what = " ".join(word for word in (where, option) if word) or "the text"
            raise UsageError(f"{what} gives {key} twice, {values[key]!r} and {value!r}; give it once")
        values[key] = value
    return values


def readable(text: str) -> str:
    """The text with bytes of file names that are no UTF-8 as escapes, so that it can be written anywhere."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


LONGEST = 80
"""Characters of a slug; a file name may have 255 bytes, and several slugs may be in one."""


def slug(text: str, *, keep: str = "") -> str:
    """A part of a file name: letters, digits and the characters of ``keep``, other runs as one hyphen; may be empty.

    A long text is cut, and a digest of it added.
    """
    short = re.sub(rf"[^A-Za-z0-9{re.escape(keep)}]+", "-", text).strip(f"-{keep}")
    if len(short) <= LONGEST:
        return short
    digest = hashlib.sha256(text.encode(errors="surrogateescape")).hexdigest()[:8]
    return f"{short[: LONGEST - 9].rstrip(f'-{keep}')}-{digest}"
