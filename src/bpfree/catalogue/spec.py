"""Reading the text that names a net: ``FAMILY[:WORDS][:key=value...]``, as in ``--net vit:depth=2:width=32``."""

from __future__ import annotations

from bpfree.errors import UsageError
from bpfree.text import key_values

__all__ = ["Spec"]


class Spec:
    """One net's text, taken apart; a family asks for what it knows, and :meth:`close` refuses what it did not ask for.

    Attributes:
        text: as it was written, for messages.
        family: what stands before the first colon.
        words: the piece behind it, unless that is ``key=value``; else empty.

    Raises:
        UsageError: an empty piece, a later one that is no ``key=value``, or a key that is given twice.
    """

    def __init__(self, text: str) -> None:
        self.text = text
        self.family, *pieces = text.split(":")
        if "" in pieces:
            raise UsageError(f"the net {text!r} has nothing behind a colon; write FAMILY[:WORDS][:key=value], such as mlp:3x2000")
        self.words = pieces.pop(0) if pieces and "=" not in pieces[0] else ""
        self._options = key_values(pieces, form="key=value, such as activation=tanh", where=f"the net {text!r}")
        self._asked: list[str] = []

    def word(self, key: str, default: str) -> str:
        """The option ``key``, as text."""
        self._asked.append(key)
        return self._options.pop(key, default)

    def natural(self, key: str, default: int, *, least: int = 1) -> int:
        """The option ``key``, a whole number of at least ``least``."""
        value = self.word(key, str(default))
        if not value.isdecimal() or int(value) < least:
            raise UsageError(f"the net {self.text!r}: {key} must be a whole number of at least {least}, got {value!r}")
        return int(value)

    def widths(self, default: tuple[int, ...], example: str) -> tuple[int, ...]:
        """The words as widths, ``32-64``; ``default`` where there are none.

        Args:
            example: of a good spec, for the message.
        """
        if not self.words:
            return default
        numbers = self.words.split("-")
        if not all(number.isdecimal() and int(number) > 0 for number in numbers):
            raise UsageError(f"cannot read the net {self.text!r}; write whole numbers of at least 1, such as {example}")
        return tuple(int(number) for number in numbers)

    def width(self, default: int, example: str) -> int:
        """The words as one width."""
        first, *others = self.widths((default,), example)
        if others:
            raise UsageError(f"the net {self.text!r} takes one width, got {1 + len(others)}; write {example}")
        return first

    def layers(self) -> list[int]:
        """The words as the widths of layers: ``3x2000`` (depth and width), or ``512-256-128``."""
        try:
            if "x" in self.words:
                depth, width = (int(number) for number in self.words.split("x"))
                widths = [width] * depth
            else:
                depth, widths = 1, [int(number) for number in self.words.split("-")]
        except ValueError:
            raise UsageError(
                f"cannot read the net {self.text!r}; write mlp:DEPTHxWIDTH (mlp:3x2000) or mlp:WIDTH-WIDTH-... (mlp:512-256-128)"
            ) from None
        if depth < 1 or min(widths, default=0) < 1:
            raise UsageError(f"the net {self.text!r} has a depth or width below 1; each must be at least 1")
        return widths

    def rest(self) -> dict[str, str]:
        """Every option that was not asked for yet, as text."""
        options, self._options = self._options, {}
        return options

    def no_words(self) -> None:
        """Refuse words of a family that takes none."""
        if self.words:
            raise UsageError(f"the net {self.text!r} takes no {self.words!r}; write {self.family}, or {self.family}:key=value")

    def close(self) -> None:
        """Refuse options that do not exist."""
        if self._options:
            known = ", ".join(self._asked) or "none"
            raise UsageError(f"the net {self.text!r} has an unknown option {min(self._options)!r}; known: {known}")
