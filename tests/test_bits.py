"""Packed correctness: text and back, and text that is none."""

import base64

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bpfree.bits import pack_correct, unpack_correct
from bpfree.errors import UsageError


@given(st.lists(st.booleans(), max_size=70))
def test_there_and_back(correct):
    assert unpack_correct(pack_correct(correct)).tolist() == correct


def test_the_format_by_hand():
    """The first example is the highest bit: 1000 0000 1 is the bytes 0x80 0x80."""
    assert pack_correct([True, *[False] * 7, True]) == "9:" + base64.b64encode(b"\x80\x80").decode()


def test_ten_thousand_examples_take_less_than_two_kilobytes():
    assert len(pack_correct(np.ones(10_000, dtype=bool))) < 2000


@pytest.mark.parametrize("text", ["", "gIA=", "9:gA==", "8:gIA=", "-1:", "9:!!!!", "x:gIA=", "9:gIA", "³:gA=="])
def test_other_text_is_refused(text):
    with pytest.raises(UsageError, match="COUNT:BASE64"):
        unpack_correct(text)


@pytest.mark.parametrize("values", [np.ones((2, 2), dtype=bool), [1, 0], [0.5]])
def test_only_booleans_are_packed(values):
    with pytest.raises(UsageError, match="one boolean"):
        pack_correct(values)
