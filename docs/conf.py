"""Sphinx: ``make docs`` builds the pages of this folder as they are, and those that are made of the code (tools/docs_pages)."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

DOCS = Path(__file__).parent
ROOT = DOCS.parent
sys.path[:0] = [str(ROOT), str(ROOT / "src")]

from bpfree._version import __version__  # noqa: E402

project = "bpfree"
author = "The bpfree developers"
release = version = __version__
extensions = ["myst_parser", "sphinx_copybutton"]
exclude_patterns = ["_build", "generated/choose-*.md", "design-notes.md"]
html_theme = "furo"
html_title = f"bpfree {__version__}"
html_show_copyright = False
html_copy_source = False
smartquotes = False  # it would write an option --seeds with a dash
myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 4
myst_fence_as_directive: list[str] = []
myst_disable_syntax = ["myst_line_comment"]  # a line of a paragraph may begin with a per cent sign
copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True

# Types in signatures are shown, not linked: those of torch and numpy have their pages elsewhere. Every other link is checked.
nitpicky = True
nitpick_ignore_regex = [("py:.*", ".*")]
# Pages keep the headings that GitHub shows; a type that two modules export has two targets, of which the first is linked.
suppress_warnings = ["myst.header", "ref.python"]

# make docs-links: pages of other sites. Those of the repository itself are files here, which tests/test_documents.py looks for.
linkcheck_ignore = [r"https://github.com/bpfree/bpfree(/.*)?", r"http://(localhost|127\.0\.0\.1).*"]
linkcheck_timeout = 20
linkcheck_retries = 2
linkcheck_anchors = False

REPOSITORY = "https://github.com/bpfree/bpfree/blob/main"
REST = "<!-- every page that no list above names -->"


def rest_of_pages(index: str) -> str:
    """A list of contents with the pages of this folder that the index does not name."""
    named = set(re.findall(r"^(?:.*<)?([\w/-]+)>?$", index, re.MULTILINE))
    matched = {page.stem for pattern in re.findall(r"^([\w-]+\*)$", index, re.MULTILINE) for page in DOCS.glob(f"{pattern}.md")}
    others = {page.stem for page in DOCS.glob("*.md")} - named - matched - {"index", "design-notes"}
    left = sorted(others)
    return "\n".join(["```{toctree}", ":caption: More", ":maxdepth: 1", ":hidden:", "", *left, "```"]) if left else ""


def only_matching(index: str) -> str:
    """Without the patterns that match no page, and without a list of contents that has nothing else."""
    for pattern in re.findall(r"^([\w-]+\*)$", index, re.MULTILINE):
        if not any(DOCS.glob(f"{pattern}.md")):
            index = index.replace(f"{pattern}\n", "")
    return re.sub(r"```\{toctree\}\n(?::.*\n)+\n```\n", "", index)


def change_source(_app: Any, docname: str, source: list[str]) -> None:
    """Lead links to files outside of this folder to the repository; fill the end of the contents."""
    if not docname.startswith("generated/"):
        source[0] = re.sub(r"\]\(\.\./([^)]+)\)", rf"]({REPOSITORY}/\1)", source[0])
        source[0] = source[0].replace("](design-notes.md)", f"]({REPOSITORY}/docs/design-notes.md)")
    if docname == "index":
        source[0] = only_matching(source[0].replace(REST, rest_of_pages(source[0])))


def setup(app: Any) -> None:
    """Called by Sphinx."""
    from tools.docs_pages import write

    app.connect("builder-inited", lambda _: write())
    app.connect("source-read", change_source)
