"""What the docstring of a rule says: its sections, and the papers that it cites."""

from __future__ import annotations

import inspect
import re
import sys

__all__ = ["NO_PAPER", "bibtex_of", "documentation", "has_no_paper", "sections"]

NO_PAPER = "There is no paper."
"""Under References, in place of BibTeX; then the deviations need no numbers."""


def documentation(rule: type) -> str:
    """The docstring of the class if it has sections, else that of its module."""
    of_class = inspect.cleandoc(rule.__doc__ or "")
    if sections(of_class):
        return of_class
    return inspect.cleandoc(sys.modules[rule.__module__].__doc__ or "")


def sections(text: str) -> dict[str, str]:
    """Heading to body, in order; a heading is underlined with dashes."""
    parts = re.split(r"^(\S.*)\n-{3,}[ \t]*$", text, flags=re.MULTILINE)
    return {heading.strip(): body.strip("\n") for heading, body in zip(parts[1::2], parts[2::2], strict=True)}


def bibtex_of(rule: type) -> tuple[str, ...]:
    """The BibTeX entries of the docstring, in order."""
    return tuple(re.findall(r"^@\w+\{.*?^\}", documentation(rule), re.MULTILINE | re.DOTALL))


def has_no_paper(rule: type) -> bool:
    """Whether the docstring says under References that there is no paper."""
    return NO_PAPER in sections(documentation(rule)).get("References", "")
