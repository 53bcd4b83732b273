"""The pages that are made of the code: every rule, option, column and public name has its place, and links to them lead there."""

from __future__ import annotations

import csv
import html
import importlib
import inspect
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from bpfree import catalogue
from bpfree.algorithms import bibtex_of, rule_class
from bpfree.testing.docstrings import SECTIONS
from tools.docs_pages import DOCS, write
from tools.docs_pages.api_pages import public_modules
from tools.docs_pages.command_pages import commands
from tools.docs_pages.markdown import as_markdown, escaped
from tools.docs_pages.record_pages import SCHEMA

ROOT = Path(__file__).parents[1]
PAGES = [page for page in sorted(DOCS.glob("*.md")) if page.stem != "design-notes"]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the folder of generated pages, in its place beside the pages of docs."""
    docs = tmp_path_factory.mktemp("docs")
    write(docs / "generated")
    return docs / "generated"


def columns() -> list[str]:
    path = ROOT / "benchmarks" / "results" / "mnist-mlp-2x1000" / "report" / "summary.csv"
    with path.open() as lines:
        return next(csv.reader(lines))


def options() -> list[tuple[str, str]]:
    """Name of the page of each command, and each option."""
    return [
        (name.replace(" ", "-"), option)
        for name, command in commands()
        for parameter in command.params
        for option in parameter.opts
        if option.startswith("--")
    ]


@pytest.mark.parametrize("name", list(catalogue.rules()))
def test_a_rule_has_a_page_with_its_sections_hyper_parameters_and_papers(made: Path, name: str) -> None:
    text = (made / "rules" / f"{name}.md").read_text()
    assert text.startswith(f"# {name}\n")
    assert [heading for heading in SECTIONS if f"\n## {heading}\n" not in text] == []
    assert [key for key in catalogue.rules()[name].ranges if f"| `{key}` |" not in text] == []
    assert [entry for entry in bibtex_of(rule_class(name)) if entry not in text] == []
    assert "\n## Measured\n" in text


def test_every_rule_has_a_curve_and_its_rows_of_the_marks(made: Path) -> None:
    assert {path.stem for path in (made / "rules").glob("*.svg")} == set(catalogue.rules())
    assert (made / "rules" / "mono-forward.svg").read_text().count("<polyline") >= 3
    assert [name for name in catalogue.rules() if f"| {name}" not in (made / "rules" / f"{name}.md").read_text()] == []


def test_every_option_has_a_heading_on_the_page_of_its_command(made: Path) -> None:
    pages = {path.stem: path.read_text() for path in (made / "commands").glob("*.md")}
    missing = [(page, option) for page, option in options() if not re.search(rf"^````{{option}}.*{option}\b", pages[page], re.M)]
    assert missing == []


def test_every_column_and_every_field_of_a_record_is_explained(made: Path) -> None:
    text = (made / "columns.md").read_text()
    assert [column for column in columns() if f"`{column}`" not in text] == []
    schema, fields = json.loads(SCHEMA.read_text()), (made / "records.md").read_text()
    assert [name for name in schema["properties"] if f"| `{name}` |" not in fields] == []
    assert [name for name in schema["$defs"] if f"\n## {name}\n" not in fields] == []


def test_every_public_name_is_listed(made: Path) -> None:
    for module in public_modules():
        text = (made / "api" / f"{module}.md").read_text()
        package = importlib.import_module(module)
        names = {name for name in package.__all__ if not name.startswith("__") and not inspect.ismodule(getattr(package, name))}
        listed = re.findall(r"^`+\{py:(?:function|class|exception|data)\} (\w+)", text, re.MULTILINE)
        assert set(listed) == names, module


def test_links_lead_to_pages_that_are_made(made: Path) -> None:
    for page in [*DOCS.glob("*.md"), *made.rglob("*.md")]:
        folder = page.parent if made in page.parents else made.parent
        links = [link for link in re.findall(r"\]\(([^)#\s]+)", page.read_text()) if "://" not in link]
        if made not in page.parents:
            links = [link for link in links if link.startswith("generated/")]
        elif page.name.startswith("choose-"):
            folder = made.parent  # included by a page one folder up
        there = [(folder / link).resolve() for link in links]
        in_docs = [DOCS / path.relative_to(made.parent) for path in there if not path.exists()]
        assert [path for path in in_docs if not path.exists()] == [], page


def test_no_address_of_an_object_and_no_path_of_this_machine(made: Path) -> None:
    texts = {page.name: page.read_text() for page in made.rglob("*.md")}
    assert [name for name, text in texts.items() if " at 0x" in text or str(ROOT) in text] == []


def test_a_docstring_as_markdown() -> None:
    doc = """First line with a *star and :class:`~bpfree.nets.Chain`.

    Update
    ------
    For x:

        y = x * 2

    >>> 1 + 1
    2

    Args:
        x: of shape (n, *shape),
            and more.

    Raises:
        UsageError: always.
    """
    assert as_markdown(doc).split("\n\n") == [
        r"First line with a \*star and `bpfree.nets.Chain`.",
        "## Update",
        "For x:",
        "```text\ny = x * 2\n```",
        "```pycon\n>>> 1 + 1\n2\n```",
        "**Arguments**",
        r"- `x`: of shape (n, \*shape), and more.",
        "**Raises**",
        "- `UsageError`: always.",
    ]
    assert escaped("``a*b`` and a*b") == r"``a*b`` and a\*b"


def lost_words(page: str, site: str) -> list[str]:
    """Words of a page that its page of the site does not have; code, comments, images and targets of links do not count."""
    text = re.sub(r"^ *```.*?^ *```|<!--.*?-->|!\[[^\]]*\]\([^)]*\)|\]\([^)]*\)", " ", page, flags=re.DOTALL | re.MULTILINE)
    shown = set(re.findall(r"\w+", html.unescape(re.sub(r"<[^>]+>", " ", site))))
    return [word for word in re.findall(r"\w+", text) if word not in shown and not word.isdigit()]


def test_a_paragraph_that_the_site_leaves_out_is_seen() -> None:
    page = "Of it\n% nothing [there](words.md).\n\n```python\ncode\n```\n"
    assert lost_words(page, "<p>Of it</p>") == ["nothing", "there"]
    assert lost_words(page, "<p>Of it\n% nothing <a href='words.html'>there</a>.</p>") == []


@pytest.mark.slow
def test_the_site_builds_without_a_warning_and_a_search_finds_every_name(tmp_path: Path) -> None:
    pytest.importorskip("sphinx", reason="the extra docs is not installed")
    from sphinx.search.en import SearchEnglish

    command = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "--quiet", "-b", "html", str(DOCS), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    lost = {page.name: lost_words(page.read_text(), (tmp_path / f"{page.stem}.html").read_text()) for page in PAGES}
    assert {name: words for name, words in lost.items() if words} == {}
    text = (tmp_path / "searchindex.js").read_text()
    index = json.loads(text[text.index("(") + 1 : text.rindex(")")])
    english = SearchEnglish({})

    def pages(name: str) -> set[str]:
        """Pages that a search for a name finds, as the script of the site searches: by all its words, and by names of objects."""
        words = [word for word in re.findall(r"\w+", name.lower()) if word not in english.stopwords]
        by_word = []
        for word in words:
            at = [index[where].get(english.stem(word), []) for where in ("terms", "titleterms")]
            by_word.append({number for each in at for number in (each if isinstance(each, list) else [each])})
        numbers = set.intersection(*by_word) if by_word else set()
        for prefix, objects in index["objects"].items():
            numbers |= {number for number, _, _, _, last in objects if name in f"{prefix}.{last}".lower()}
        return {index["docnames"][number] for number in numbers}

    sought = [(f"generated/rules/{name}", name) for name in catalogue.rules()]
    sought += [(f"generated/commands/{page}", option) for page, option in options()]
    sought += [("generated/columns", column) for column in columns()]
    sought += [("generated/records", field) for field in json.loads(SCHEMA.read_text())["properties"]]
    assert [(page, name) for page, name in sought if page not in pages(name)] == []
