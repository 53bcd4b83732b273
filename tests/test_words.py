"""Plain words: what a user reads is free of words that only insiders understand, and local names say what they hold.

Read are README, CONTRIBUTING, docs, and every string of ``src`` (docstrings, help texts, messages); ``literals`` in double
back-quotes are left out.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCES = sorted((ROOT / "src").rglob("*.py"))
DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]

INSTEAD = {
    r"\bhouse\b": "the library, the package",
    r"\b(floor \d|floors)\b": "layer",
    r"\brooms?\b": "package",
    r"\bthe bill\b": "time and energy",
    r"\bpays?( off| for it)?\b": "what is gained or lost",
    r"\blies? to\b": "align with",
    r"\bby the light of\b": "divided by, by",
    r"\bacquaintance\b": "what is known of it",
    r"\bgo(es)? on where\b": "resume",
    r"\bputs? out\b": "return",
    r"\btake it along\b": "lose it",
    r"\b(is|no) (the )?news\b": "report ... first",
    r"\b(afresh|anew)\b": "again",
    r"\b(no|any|some)body\b": "no one in the passive: is not read, any module",
    r"\bits kin\b": "its variants",
    r"\btells? .{1,20} apart\b": "distinguish",
}
"""Patterns that are not written, and what to write instead."""

EMPTY_NAMES = {"found", "kept", "said", "own", "told"}
"""Names of variables that say nothing about what they hold."""


def insiders_words(text: str) -> list[str]:
    """The words of a text that are not written, in their order."""
    plain = re.sub(r"``[^`]*``|`[^`]*`", " ", " ".join(text.split()))
    matches = [match for pattern in INSTEAD for match in re.finditer(pattern, plain, re.IGNORECASE)]
    return [match[0] for match in sorted(matches, key=lambda match: match.start())]


def strings(code: str) -> Iterator[tuple[int, str]]:
    """Line and text of every string of a module, parts of f-strings included."""
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.lineno, node.value


def empty_names(code: str) -> list[tuple[int, str]]:
    """Line and name of every variable, argument and attribute with a name that says nothing."""
    names = []
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store) and node.id in EMPTY_NAMES:
            names.append((node.lineno, node.id))
        elif isinstance(node, ast.arg) and node.arg in EMPTY_NAMES:
            names.append((node.lineno, node.arg))
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store) and node.attr in EMPTY_NAMES:
            names.append((node.lineno, node.attr))
    return sorted(names)


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT / "src" / "bpfree")))
def test_strings_and_names_of_the_source(path: Path) -> None:
    code = path.read_text()
    problems = [
        f"line {line}: write something else for {word!r}" for line, text in strings(code) for word in insiders_words(text)
    ]
    problems += [f"line {line}: name the thing instead of {name!r}" for line, name in empty_names(code)]
    assert problems == []


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_documents(path: Path) -> None:
    text = re.sub(r"```.*?```", " ", path.read_text(), flags=re.DOTALL)
    assert insiders_words(text) == []


def test_the_words_are_recognised() -> None:
    assert insiders_words("The House has two floors. It goes\non where it was.") == ["House", "floors", "goes on where"]
    assert insiders_words("The ``floor`` of `x` is `math.floor(x)`; flooring, householder, payload") == []
    assert insiders_words("How updates lie to backprop's gradient; it tells two arms apart, and nobody pays.") == [
        "lie to",
        "tells two arms apart",
        "nobody",
        "pays",
    ]


def test_the_names_are_recognised() -> None:
    code = "found = 1\nfor kept in x:\n    pass\nwith f() as said:\n    pass\n\nown = [found for found in y]\n"
    assert empty_names(code) == [(1, "found"), (2, "kept"), (4, "said"), (7, "found"), (7, "own")]
    assert empty_names("def f(own, *, kept):\n    self.said = own\nlambda told: 1\n") == [
        (1, "kept"),
        (1, "own"),
        (2, "said"),
        (3, "told"),
    ]
    assert empty_names("print(found, a.own)\nfound_files = 2\n") == []
