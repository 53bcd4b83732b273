"""``--target``: a validation accuracy for all data sets, or one for each; of a table, the column of the labels."""

from __future__ import annotations

import re

from bpfree.errors import UsageError
from bpfree.sources import TABLES

__all__ = ["Target", "is_column", "parse_target"]

_NUMBER = re.compile(r"[-+]?[\d.]+([eE][-+]?\d+)?")

Target = float | dict[str, float] | None


def parse_target(text: str | None) -> Target:
    """Read ``0.95`` or ``mnist=0.97,cifar10=0.5``.

    Raises:
        UsageError: the text has another form, or an accuracy is not above 0 and at most 1.
    """
    if text is None:
        return None
    if "=" not in text:
        return _fraction(text)
    pairs = [word.partition("=") for word in text.split(",")]
    if any(not name.strip() or not equals for name, equals, _ in pairs):
        raise UsageError(f"cannot read --target {text!r}; write --target 0.95, or --target mnist=0.97,cifar10=0.5")
    return {name.strip(): _fraction(value) for name, _, value in pairs}


def is_column(text: str | None, dataset: str | None, target_column: str | None) -> bool:
    """Whether ``--target`` of ``bpfree compare`` names the column of a table: words, where no other option names it."""
    is_table = dataset is not None and dataset.lower().endswith(TABLES)
    return text is not None and is_table and target_column is None and "=" not in text and _NUMBER.fullmatch(text) is None


def _fraction(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not 0 < value <= 1:
        raise UsageError(f"--target must be an accuracy above 0 and at most 1, such as 0.95, got {text!r}")
    return value
