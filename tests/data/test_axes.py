"""Which axis holds the channels: the rule, what overrules it, and what it refuses."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

from bpfree.data import ChannelsWarning, from_arrays, load, load_examples
from bpfree.errors import BpfreeError, DataError, UnknownNameError, UsageError

Y = np.arange(12) % 2


def numbered(*shape: int) -> np.ndarray:
    return np.arange(np.prod(shape, dtype=int)).reshape(shape).astype(np.float32)


FIRST = [(1, 28, 28), (3, 32, 32), (3, 8, 9), (2, 5, 7), (4, 16, 16), (13, 8, 8), (64, 6, 6), (4, 6, 5), (3, 4, 4), (1, 4, 4)]
LAST = [(28, 28, 1), (16, 16, 4), (16, 16, 2), (32, 32, 3), (8, 9, 3), (8, 8, 13), (9, 5, 1), (4, 4, 3)]
UNCLEAR = [(20, 1, 1), (1, 1, 20), (3, 8, 3), (5, 8, 9), (16, 4, 4), (4, 4, 16), (3, 3, 3), (8, 8, 8), (1, 28, 1)]


@pytest.mark.parametrize("shape", FIRST)
def test_channels_first(shape):
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # nothing is moved, so nothing is said
        assert from_arrays(numbered(12, *shape), Y).in_shape == shape


@pytest.mark.parametrize("shape", LAST)
def test_channels_last_are_moved_and_said_in_one_line(shape):
    a, b, c = shape
    with pytest.warns(
        ChannelsWarning, match=rf"mine: .* read as {c} channels? of {a} x {b}, .*--channels first .* overrules"
    ) as said:
        moved = from_arrays(numbered(12, *shape), Y, "mine")
    assert len(said) == 1
    assert "\n" not in str(said[0].message)
    assert moved.in_shape == (c, a, b)


@pytest.mark.parametrize("shape", UNCLEAR)
def test_what_can_be_both_is_refused(shape):
    a, b, c = shape
    with pytest.raises(
        DataError, match=rf"mine: .* {a} channels? of {b} x {c}, or {c} channels? of {a} x {b}; say --channels first"
    ):
        from_arrays(numbered(12, *shape), Y, "mine")


@pytest.mark.parametrize("shape", [*FIRST, *LAST, *UNCLEAR])
def test_the_user_overrules_the_rule(shape):
    a, b, c = shape
    x = numbered(12, *shape)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert from_arrays(x, Y, channels="first").in_shape == (a, b, c)
        assert from_arrays(x, Y, channels="last").in_shape == (c, a, b)
        told, turned = from_arrays(x, Y, channels="last"), from_arrays(np.moveaxis(x, 3, 1), Y, channels="first")
    assert told.data_digest == turned.data_digest
    assert np.array_equal(told.splits["train"].x.numpy(), turned.splits["train"].x.numpy())


def test_channels_of_what_has_none():
    for x in (numbered(12, 5), numbered(12, 5, 5)):
        with pytest.raises(UsageError, match=r"channels last was asked, but x has shape .* leave it out"):
            from_arrays(x, Y, channels="last")
    with pytest.raises(UnknownNameError, match="unknown order of channels 'lst'; did you mean last"):
        from_arrays(numbered(12, 5, 5, 3), Y, channels="lst")
    with pytest.raises(UsageError, match="the order of channels in digits is known"):
        load("digits", channels="last")


def test_in_a_file(tmp_path):
    np.savez(tmp_path / "mine.npz", x=numbered(12, 20, 1, 1), y=Y)
    assert load(tmp_path / "mine.npz", channels="first").in_shape == (20, 1, 1)
    assert load(tmp_path / "mine.npz", channels="last").in_shape == (1, 20, 1)
    with pytest.raises(BpfreeError, match="say --channels first"):
        load(tmp_path / "mine.npz")


def test_new_examples_are_read_as_the_model_takes_them(tmp_path):
    path = tmp_path / "new.npz"
    np.savez(path, x=numbered(5, 20, 1, 1))
    assert load_examples(path, (20, 1, 1)).shape == (5, 20, 1, 1)
    assert load_examples(path, (1, 20, 1)).shape == (5, 1, 20, 1)
    assert load_examples(path, channels="last").shape == (5, 1, 20, 1)
    with pytest.raises(DataError, match="say --channels first"):
        load_examples(path, (7, 7, 7))
