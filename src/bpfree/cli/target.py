"""``--target``: a validation accuracy for all data sets, or one for each."""

from __future__ import annotations

from bpfree.errors import UsageError

__all__ = ["Target", "parse_target"]

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


def _fraction(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not 0 < value <= 1:
        raise UsageError(f"--target must be an accuracy above 0 and at most 1, such as 0.95, got {text!r}")
    return value
