"""Hyper-parameters as dataclass fields that know their range, how to read themselves from text, and what to say when wrong.

Two kinds. *Structural* ones (int, bool, str) are part of the computation. *Numeric* ones (float) are what a search changes:
they live as 0-D tensors in the state, so that a new trial neither recompiles nor moves anything.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bpfree.errors import UsageError, unknown_name

__all__ = [
    "Admitted",
    "Value",
    "check",
    "choice",
    "flag",
    "hold",
    "natural",
    "number",
    "numeric",
    "params",
    "parse",
    "read",
    "readout_field",
]

Value = bool | int | float | str


@dataclass(frozen=True)
class Admitted:
    """The values that a hyper-parameter may have.

    Attributes:
        kind: float, int, bool or str.
        low, high: of a number; ``open_low`` leaves ``low`` itself out.
        choices: of a text.
        readout: see :func:`choice`.
    """

    kind: type
    low: float = -math.inf
    high: float = math.inf
    open_low: bool = False
    choices: tuple[str, ...] = ()
    readout: bool = False

    def words(self) -> str:
        if self.choices:
            return "one of " + ", ".join(self.choices)
        if self.kind is bool:
            return "true or false"
        noun = "a whole number" if self.kind is int else "a finite number"
        low = "" if self.low == -math.inf else f" {'above' if self.open_low else 'at least'} {self.low:g}"
        high = "" if self.high == math.inf else f"{' and' if low else ''} at most {self.high:g}"
        return noun + low + high

    def holds(self, value: object) -> bool:
        if self.choices:
            return isinstance(value, str) and value in self.choices
        if self.kind is bool:
            return isinstance(value, bool)
        if isinstance(value, bool) or not isinstance(value, int if self.kind is int else int | float):
            return False
        above = value > self.low if self.open_low else value >= self.low
        return math.isfinite(value) and above and value <= self.high

    def read(self, text: str) -> Value | None:
        """The value that ``text`` stands for, or None if it stands for none."""
        if self.choices:
            return text
        if self.kind is bool:
            return {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}.get(text.lower())
        try:
            return self.kind(text)
        except ValueError:
            return None


def number(default: float, *, low: float = -math.inf, high: float = math.inf, above: float | None = None) -> Any:
    """A numeric hyper-parameter: a finite float at least ``low`` (or strictly above ``above``) and at most ``high``."""
    bound = Admitted(float, low if above is None else above, high, open_low=above is not None)
    return dataclasses.field(default=default, metadata={"range": bound})


def natural(default: int, *, low: int = 1, high: float = math.inf) -> Any:
    """A structural whole number."""
    return dataclasses.field(default=default, metadata={"range": Admitted(int, low, high)})


def choice(default: str, options: Sequence[str], *, readout: bool = False) -> Any:
    """A structural choice between names.

    Args:
        readout: whether it says how classes are read out of the learned weights, and nothing else: the same weights may then be
            asked in each of these ways. At most one field of a rule does.
    """
    return dataclasses.field(default=default, metadata={"range": Admitted(str, choices=tuple(options), readout=readout)})


def flag(default: bool) -> Any:
    """A structural switch."""
    return dataclasses.field(default=default, metadata={"range": Admitted(bool)})


def _range(field: dataclasses.Field[Any]) -> Admitted:
    admitted: Admitted = field.metadata["range"]
    return admitted


def readout_field(rule: Any) -> tuple[str, tuple[str, ...]] | None:
    """Name and values of the field that says how classes are read out; None where the net's output is the only way."""
    for field in dataclasses.fields(rule):
        if _range(field).readout:
            return field.name, _range(field).choices
    return None


def params(rule: Any) -> dict[str, Value]:
    """All hyper-parameters of a rule, for the record."""
    return {field.name: getattr(rule, field.name) for field in dataclasses.fields(rule)}


def numeric(rule: Any) -> dict[str, float]:
    """The numeric hyper-parameters (floats) of a rule, which a search may change without recompiling."""
    return {
        field.name: float(getattr(rule, field.name)) for field in dataclasses.fields(rule) if isinstance(field.default, float)
    }


def check(name: str, instance: Any) -> None:
    """Check every field of a rule against its range.

    Raises:
        UsageError: naming rule, hyper-parameter, what was got and what is admitted.
    """
    for field in dataclasses.fields(instance):
        hold(name, field.name, _range(field), getattr(instance, field.name))


def hold(name: str, key: str, admitted: Admitted, value: object) -> None:
    """Refuse a value outside its range, as :func:`check`."""
    if not admitted.holds(value):
        raise UsageError(f"{name}: {key} must be {admitted.words()}, got {value!r}")


def parse(name: str, rule: type[Any], texts: Mapping[str, str | Value]) -> dict[str, Any]:
    """Read hyper-parameters of ``rule`` from text (``--set lr=1e-3``); values that are no text pass through.

    Raises:
        UsageError: an unknown hyper-parameter (with the nearest names) or a text that stands for no value.
    """
    return read(name, {field.name: _range(field) for field in dataclasses.fields(rule)}, texts)


def read(name: str, ranges: Mapping[str, Admitted], texts: Mapping[str, str | Value]) -> dict[str, Any]:
    """As :func:`parse`, where only the ranges of a rule are known."""
    values: dict[str, Value] = {}
    for key, text in texts.items():
        if key not in ranges:
            raise unknown_name(f"hyper-parameter of {name}", key, ranges)
        admitted = ranges[key]
        value = admitted.read(text) if isinstance(text, str) else text
        if value is None:
            raise UsageError(f"{name}: {key} must be {admitted.words()}, got {text!r}")
        if admitted.kind is float and isinstance(value, int) and not isinstance(value, bool):
            value = float(value)
        values[key] = value
    return values
