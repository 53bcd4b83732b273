"""A rule's step replaced for a test by a function that does more in Python."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from bpfree.algorithms import Algorithm

__all__ = ["replace_learn"]


def replace_learn(monkeypatch: pytest.MonkeyPatch, rule: type[Algorithm[Any]], learn: Callable[..., Any]) -> None:
    """``learn`` in the place of the rule's, called for every step: what Python does in it cannot be repeated from a list."""
    monkeypatch.setattr(rule, "learn", learn)
    monkeypatch.setattr(rule, "replays", False)
