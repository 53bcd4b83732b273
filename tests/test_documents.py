"""README, CONTRIBUTING and docs agree with the project: layers, links, commands of make."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]


def layers_of_pyproject() -> list[set[str]]:
    """Packages by layer, the highest first."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    (lines,) = [contract["layers"] for contract in contracts if contract["type"] == "layers"]
    return [{name.strip(" ()").removeprefix("bpfree.") for name in line.split("|")} for line in lines]


def layers_of_contributing() -> list[set[str]]:
    """The same from the list under the heading `Layers`: a line without a number is a layer of its own."""
    section = (ROOT / "CONTRIBUTING.md").read_text().split("## Layers")[1]
    block = section.split("```")[1].strip("\n")
    return [set(re.findall(r"[a-z_]+", re.sub(r"\(.*?\)", "", line))) for line in block.splitlines()]


def test_contributing_lists_the_layers_that_the_linter_checks() -> None:
    assert layers_of_contributing() == layers_of_pyproject()


def test_every_package_has_a_layer() -> None:
    source = ROOT / "src" / "bpfree"
    packages = {path.stem for path in source.iterdir() if path.suffix == ".py" or (path / "__init__.py").is_file()}
    assert packages - {"__init__", "__main__", "_version"} == set().union(*layers_of_pyproject())


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_relative_links_lead_somewhere(path: Path) -> None:
    links = re.findall(r"\]\(([^)#]+)", path.read_text())
    made = tuple(f"{folder}generated/" for folder in ("", "docs/"))  # pages that are made by make docs: tests/test_docs_pages.py
    here = [link for link in links if "://" not in link and not link.startswith(made)]
    assert [link for link in here if not (path.parent / link).exists()] == []


def test_commands_of_make_exist() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = {name for path in DOCUMENTS for name in re.findall(r"(?:^|`)make ([a-z-]+)", path.read_text(), re.MULTILINE)}
    assert {"compare", "test", "mutate"} <= named & targets
    assert named - targets == set()


def test_readme_begins_with_two_sentences() -> None:
    first = (ROOT / "README.md").read_text().split("\n\n")[1]
    assert len(re.findall(r"[.!?](\s|$)", first)) == 2


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_lines_have_one_width(path: Path) -> None:
    lines = path.read_text().splitlines()
    assert [line for line in lines if len(line) > 130 and not line.startswith("|") and "](" not in line] == []
