"""Text formats that commands share."""

from __future__ import annotations

import pytest

from bpfree.errors import UsageError
from bpfree.text import key_values, readable, slug


def test_pairs_of_key_and_value() -> None:
    assert key_values(["lr=1e-3", "a=b=c", "empty="], form="key=value") == {"lr": "1e-3", "a": "b=c", "empty": ""}
    assert key_values([], form="key=value") == {}


@pytest.mark.parametrize("piece", ["lr", "", "=3"])
def test_what_is_no_pair_is_refused_with_the_form(piece: str) -> None:
    with pytest.raises(UsageError, match=f"^cannot read '{piece}' in the arm 'x'; write name:key=value$"):
        key_values([piece], form="name:key=value", where="the arm 'x'")
    with pytest.raises(UsageError, match=f"^cannot read --set '{piece}'; write --set key=value$"):
        key_values(["a=1", piece], form="--set key=value", option="--set")


@pytest.mark.parametrize(
    ("text", "keep", "expected"),
    [
        ("mono-forward:schedule=staged", "", "mono-forward-schedule-staged"),
        ("mlp:2x256", ".", "mlp-2x256"),
        ("data.v1.npz", ".", "data.v1.npz"),
        ("data.v1.npz", "", "data-v1-npz"),
        ("..hidden..", ".", "hidden"),
        ("é?", "", ""),
    ],
)
def test_slugs(text: str, keep: str, expected: str) -> None:
    assert slug(text, keep=keep) == expected


def test_a_long_slug_is_cut_and_known_by_a_digest() -> None:
    one, two = slug("a" * 300 + "b"), slug("a" * 300 + "c")
    assert len(one) == len(two) == 80
    assert one != two
    assert slug("a" * 80) == "a" * 80
    assert slug("a" * 79 + "/" + "b" * 9).count("--") == 0


def test_readable_text_has_escapes_for_bytes_that_are_no_text() -> None:
    assert readable("plain ü") == "plain ü"
    assert readable(b"a\xff".decode(errors="surrogateescape")) == "a\\udcff"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"where": "the arm 'x:lr=1:lr=2'"}, "the arm 'x:lr=1:lr=2' gives lr twice, '1' and '2'; give it once"),
        ({"option": "--set"}, "--set gives lr twice, '1' and '2'; give it once"),
        ({}, "the text gives lr twice, '1' and '2'; give it once"),
    ],
)
def test_a_key_that_is_given_twice_is_refused(options: dict[str, str], words: str) -> None:
    with pytest.raises(UsageError, match=f"^{words}$"):
        key_values(["lr=1", "a=3", "lr=2"], form="key=value", **options)
