"""Docstrings as Markdown, and small pieces of pages."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable, Sequence

__all__ = ["as_markdown", "escaped", "fenced", "table"]

_FIELDS = {
    "Args:": "Arguments",
    "Attributes:": "Attributes",
    "Raises:": "Raises",
    "Returns:": "Returns",
    "Yields:": "Yields",
    "Example:": "Example",
}
_CODE = re.compile(r"(``.+?``|`[^`]+`)", re.DOTALL)


def escaped(text: str) -> str:
    """Text in which nothing but `code` is markup; a role such as ``:class:`Name``` becomes code."""
    text = re.sub(r":(?:py:)?[a-z]+:`~?([^`]+)`", r"`\1`", text)
    parts = _CODE.split(text)
    return "".join(part if index % 2 else re.sub(r"([*_<>\[\]{}$|~])", r"\\\1", part) for index, part in enumerate(parts))


def fenced(body: str, language: str = "text") -> str:
    """A code block."""
    fence = "```"
    while fence in body:
        fence += "`"
    return f"{fence}{language}\n{inspect.cleandoc(body)}\n{fence}"


def table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table; cells are Markdown already. A numeric column is one whose heading begins with a space."""
    lines = ["| " + " | ".join(heading.strip() for heading in headings) + " |"]
    lines.append("|" + "|".join("---:" if heading.startswith(" ") else "---" for heading in headings) + "|")
    lines += ["| " + " | ".join(cells) + " |" for cells in rows]
    return "\n".join(lines)


def as_markdown(doc: str) -> str:
    """A docstring: paragraphs are escaped, indented blocks and examples are fenced, ``Args:`` and the like become lists.

    Headings underlined with dashes stay as they are.
    """
    blocks = re.split(r"\n\s*\n", inspect.cleandoc(doc))
    out: list[str] = []
    quoted: list[str] = []
    for block in blocks:
        if block.startswith("    ") and not block.lstrip().startswith(">>>"):
            quoted.append(block)
            continue
        if quoted:
            out.append(fenced("\n\n".join(quoted)))
            quoted = []
        out += _block(block)
    if quoted:
        out.append(fenced("\n\n".join(quoted)))
    return "\n\n".join(out)


def _block(block: str) -> list[str]:
    lines = block.split("\n")
    if lines[0].lstrip().startswith(">>>"):
        return [fenced(block, "pycon")]
    if lines[0].startswith("@") and lines[-1] == "}":
        return [fenced(block, "bibtex")]
    if len(lines) > 1 and re.fullmatch(r"-{3,}\s*", lines[1]):
        heading = f"## {lines[0].strip()}"
        rest = "\n".join(lines[2:])
        if rest.startswith("    ") and not rest.lstrip().startswith(">>>"):
            return [heading, fenced(rest)]
        return [heading, *(_block(rest) if rest.strip() else [])]
    if lines[0].strip() in _FIELDS:
        return [f"**{_FIELDS[lines[0].strip()]}**", _items(lines[1:])]
    for index, line in enumerate(lines[1:], start=1):  # text, and then an example or a quoted block without an empty line
        if line.startswith(">>>"):
            return [*_block("\n".join(lines[:index])), fenced("\n".join(lines[index:]), "pycon")]
        if line.strip() in _FIELDS and not line.startswith(" "):
            return [*_block("\n".join(lines[:index])), *_block("\n".join(lines[index:]))]
    text = escaped(block)
    return [re.sub(r"::$", ":", text) if text != "::" else ""]


def _items(lines: Sequence[str]) -> str:
    """``name: words`` at one depth of indentation, longer lines deeper; other text is a paragraph."""
    joined: list[str] = []
    for line in lines:
        deeper = len(line) - len(line.lstrip()) > 4
        if joined and (deeper or not re.match(r"    [\w*, .`]+:", line)):
            joined[-1] += f" {line.strip()}"
        else:
            joined.append(line.strip())
    items = []
    for item in joined:
        name, colon, words = item.partition(": ")
        plain = re.fullmatch(r"[\w*, .`]+", name)
        items.append(f"- `{name.strip('`')}`: {escaped(words)}" if colon and plain else f"- {escaped(item)}")
    return "\n".join(items)
