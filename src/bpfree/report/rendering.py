"""Fills the template of a page: unknown names are errors, all text is escaped, style and scripts are inside.

The page forbids itself everything else: it loads nothing, and runs no script but those whose digests it names.
"""

from __future__ import annotations

import base64
import hashlib
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from bpfree._version import __version__
from bpfree.report.bundle import bundle
from bpfree.report.palette import style_sheet

__all__ = ["fill"]


def fill(template: str, *, has_charts: bool, **values: Any) -> str:
    """The template with its values; ``version``, ``policy``, ``style`` and ``scripts`` are always among them.

    Args:
        has_charts: whether there are charts that a script draws; the scripts of Vega are most of the page.
    """
    loader = PackageLoader("bpfree.report")
    environment = Environment(
        loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True,
        keep_trailing_newline=True,
    )  # fmt: skip
    css = f"{loader.get_source(environment, 'page.css')[0].strip()}\n{style_sheet()}"
    names = ("charts.js", "page.js") if has_charts else ("page.js",)
    codes = [*([bundle()] if has_charts else []), *(loader.get_source(environment, name)[0].strip() for name in names)]
    policy = f"default-src 'none'; style-src {_digest(css)}; script-src {' '.join(map(_digest, codes))}; base-uri 'none'"
    return environment.get_template(template).render(
        version=__version__,
        policy=policy,
        style=Markup(f"<style>{css}</style>"),
        scripts=Markup("\n".join(f"<script>{code}</script>" for code in codes)),
        **values,
    )


def _digest(text: str) -> str:
    """How a policy names a text that may stand in a ``style`` or ``script`` element."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
