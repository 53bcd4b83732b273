"""YAML documents by name or path: each mistake in one line, of the kind's class of error."""

from __future__ import annotations

from pathlib import Path

import pytest

from bpfree.errors import RulesetError, UnknownNameError, UsageError
from bpfree.yaml_files import Kind, parse

SUITES = Kind("suite", "bpfree.bench.suites", UsageError, 1)


def test_a_document_of_the_package_and_a_users_file(tmp_path: Path) -> None:
    named = SUITES.read(SUITES.names()[0])
    assert (named.by_name, named.place) == (True, SUITES.names()[0])
    path = tmp_path / "mine.yaml"
    path.write_text("a: 1\n2: [3]\n")
    source = SUITES.read(path)
    assert (source.by_name, source.place, source.fields) == (False, str(path), {"name": "mine", "a": 1, "2": [3]})
    path.write_text("name: other\n")
    assert SUITES.read(str(path)).fields == {"name": "other"}


@pytest.mark.parametrize("name", ["", "bare"])
def test_a_word_is_a_name_and_anything_else_a_path(tmp_path: Path, name: str) -> None:
    if name:
        with pytest.raises(UnknownNameError, match="unknown suite 'bare'; known: "):
            SUITES.read(name)
    with pytest.raises(UsageError, match=r"cannot read suite .*: (No such file|Is a directory).*; known by name: "):
        SUITES.read(tmp_path / name)
    with pytest.raises(UsageError, match=r"cannot read suite bare.yml: No such file"):
        SUITES.read("bare.yml")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\nb: 2\na: 3\n", "suite x, line 3 is not YAML: 'a' stands there twice"),
        ("a: {b: 1, b: 2}\n", "'b' stands there twice"),
        ("a: [", "suite x, line 1 is not YAML"),
        ("- 1\n", "suite x must be a list of 'key: value' lines, got list"),
        ("", "got NoneType"),
    ],
)
@pytest.mark.parametrize("error", [UsageError, RulesetError])
def test_text_that_is_no_document(text: str, message: str, error: type) -> None:
    with pytest.raises(error, match=message) as caught:
        parse(text, "suite x", error)
    assert "\n" not in str(caught.value)


def test_a_newer_version_is_refused_with_the_cure(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("schema_version: 2\n")
    with pytest.raises(UsageError, match=r"suite .*mine.yaml has schema_version 2, .* reads up to 1; update it with: pip"):
        SUITES.read(path)
    path.write_text("schema_version: 1\n")
    assert SUITES.read(path).fields["schema_version"] == 1
