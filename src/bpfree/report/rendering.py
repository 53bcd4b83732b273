"""Fills the template of a page: unknown names are errors, all text is escaped, the style sheet is inside."""

from __future__ import annotations

from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from bpfree._version import __version__

__all__ = ["fill"]


def fill(template: str, **values: Any) -> str:
    """The template with its values; ``version`` and ``css`` are always among them."""
    loader = PackageLoader("bpfree.report")
    environment = Environment(
        loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True,
        keep_trailing_newline=True,
    )  # fmt: skip
    css = loader.get_source(environment, "page.css")[0]
    return environment.get_template(template).render(version=__version__, css=Markup(css.strip()), **values)
