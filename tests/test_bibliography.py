"""The papers that are cited: each key names one entry, however many rules cite it."""

from __future__ import annotations

import re
from collections import defaultdict

from bpfree import catalogue
from bpfree.catalogue.cited import cited


def entries() -> list[str]:
    """Of the rules, the data sets and the tools."""
    return [entry for rule in catalogue.rules().values() for entry in rule.bibtex] + list(cited().values())


def test_a_key_has_one_entry() -> None:
    by_key: dict[str, set[str]] = defaultdict(set)
    for entry in entries():
        by_key[re.findall(r"^@\w+\{(\S+),", entry)[0]].add(entry)
    assert {key: each for key, each in by_key.items() if len(each) > 1} == {}


def test_every_author_has_a_first_name_and_every_entry_a_year_and_a_place() -> None:
    for entry in entries():
        authors = " ".join(re.findall(r"author\s*=\s*\{(.*?)\},\n", entry, re.DOTALL)[0].split()).split(" and ")
        people = [author for author in authors if author != "others" and not author.startswith("{")]
        assert [author for author in people if not re.fullmatch(r"[^,]+, \S.*", author)] == [], entry
        assert re.search(r"^\s*year\s*=\s*\{(19|20)\d\d\}", entry, re.MULTILINE), entry
        assert re.search(r"^\s*(journal|booktitle|eprint|howpublished|institution|publisher|url)\s*=", entry, re.MULTILINE), entry
