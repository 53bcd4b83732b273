"""Short names of arms, from what their records say that they fix."""

from __future__ import annotations

__all__ = ["arm_label"]


def arm_label(algorithm: str, variant: str) -> str:
    """``mono-forward (staged, lr=0.03)``: the rule, and what the arm fixes; of a choice the value alone.

    Args:
        algorithm: name of the rule.
        variant: ``key=value:key=value`` as in a record; empty for the plain rule.
    """
    options = ", ".join(_short(option) for option in variant.split(":") if option)
    return f"{algorithm} ({options})" if options else algorithm


def _short(option: str) -> str:
    """A number or a switch is nothing without its name."""
    value = option.partition("=")[2]
    return value if value[:1].isalpha() and value not in ("true", "false") else option
