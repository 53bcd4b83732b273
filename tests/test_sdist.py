"""The source distribution holds what its own tests, examples and users need."""

from __future__ import annotations

import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

OF_THE_REPOSITORY = {".ci", ".gitignore", ".github", ".pre-commit-config.yaml"}
"""Only of use where the history is."""


def included() -> set[str]:
    content = tomllib.loads((ROOT / "pyproject.toml").read_text())
    return {*content["tool"]["hatch"]["build"]["targets"]["sdist"]["include"], "pyproject.toml"}


def test_whatever_stands_at_the_top_is_included() -> None:
    git = shutil.which("git")
    if git is None or not (ROOT / ".git").exists():
        pytest.skip("there is no git here that says which files are the project's")
    listed = subprocess.run([git, "ls-files"], cwd=ROOT, text=True, capture_output=True, check=True).stdout.splitlines()
    assert {name.partition("/")[0] for name in listed} - OF_THE_REPOSITORY <= included()


def test_type_checkers_are_told_that_there_are_types() -> None:
    """Empty, beside the package: it goes into the wheel with the other files of ``src/bpfree``."""
    assert (ROOT / "src" / "bpfree" / "py.typed").read_bytes() == b""
    assert tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"] == [
        "src/bpfree"
    ]
