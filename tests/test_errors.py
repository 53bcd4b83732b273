"""Errors: one line, the nearest names, and the built-in types that a caller expects."""

from __future__ import annotations

import pytest

from bpfree import errors
from bpfree.errors import BpfreeError, UnknownNameError, UsageError, unknown_name

NAMES = ("backprop", "forward-forward", "mono-forward", "pepita")


@pytest.mark.parametrize(
    ("asked", "offer"),
    [
        ("backprob", "did you mean backprop?"),
        ("mono-foward", "did you mean mono-forward?"),
        ("for-forward", "did you mean forward-forward or mono-forward?"),
        ("zzz", "known: backprop, forward-forward, mono-forward, pepita"),
        ("", "known: "),
    ],
)
def test_unknown_names_offer_the_nearest_or_all(asked: str, offer: str) -> None:
    message = str(unknown_name("algorithm", asked, NAMES))
    assert message.startswith(f"unknown algorithm {asked!r}; ")
    assert offer in message


def test_unknown_names_take_any_iterable_and_are_usage_errors() -> None:
    error = unknown_name("net", "x", iter({"mlp": 1}))
    assert type(error) is UnknownNameError
    assert issubclass(UnknownNameError, UsageError)
    assert str(error) == "unknown net 'x'; known: mlp"


def test_at_most_three_names_are_offered() -> None:
    message = str(unknown_name("net", "net0", [f"net{k}" for k in range(1, 9)]))
    assert message.count(" or ") == 2


@pytest.mark.parametrize("name", [name for name in errors.__all__ if name.endswith("Error")])
def test_every_error_is_ours_and_a_value_error(name: str) -> None:
    """The command line catches BpfreeError; a caller in Python catches ValueError."""
    error = getattr(errors, name)
    assert issubclass(error, BpfreeError)
    assert error is BpfreeError or issubclass(error, ValueError)
    assert error.__doc__
