"""The code of README and docs: Python runs, commands are those that there are.

Each Python snippet is run: here, by the test that is named beside its page, or it is a fragment whose names are looked up.
Commands are parsed as the command line parses them; those of README and of the first page are run as they stand (slow).
"""

from __future__ import annotations

import contextlib
import io
import re
import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from bpfree.algorithms import building
from bpfree.cli import run
from bpfree.cli.app import app

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    *sorted(DOCS.glob("*.md")),
    ROOT / "examples/bpfree-random-heads/README.md",
]

RUN_HERE = {"start.md", "read-a-verdict.md"}
RUN_ELSEWHERE = {
    "docs/own-net.md": "tests/train/test_own_net_page.py",
    "docs/scikit-learn.md": "tests/estimator/test_sklearn_page.py",
    "README.md": "tests/test_use_page.py",
    "docs/use.md": "tests/test_use_page.py",
    "examples/bpfree-random-heads/README.md": "tests/authors/test_example.py",
}
FRAGMENTS = {
    "docs/your-own-rule.md": "lines from inside a rule; examples/bpfree-random-heads and the notebook run them whole",
    "CONTRIBUTING.md": "a test class for a rule that does not exist",
}
PLACEHOLDERS = {
    "DIR...": "runs",
    "runs/*/model.safetensors": "runs/a/model.safetensors",
    "NET": "mlp",
    "COMMAND": "list",
    "SUITE": "mf2025",
    "RUN-DIRECTORY": "runs",
    "NAME": "my-rule",
    "RULE": "mono-forward",
}
"""What stands in a page for a value of the reader."""


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


def python_of(page: Path) -> list[str]:
    return re.findall(r"^ *```python\n(.*?)^ *```", page.read_text(), re.DOTALL | re.MULTILINE)


def commands_of(page: Path) -> Iterator[str]:
    """Commands of code blocks, fenced or indented, and those between back-quotes; lines that go on are joined."""
    text = page.read_text()
    fenced = re.findall(r"^ *```([\w{}-]*)\n(.*?)^ *```", text, re.DOTALL | re.MULTILINE)
    blocks = [body for language, body in fenced if language in ("", "console")]
    outside = re.sub(r"^ *```.*?^ *```", "", text, flags=re.DOTALL | re.MULTILINE)
    blocks += re.findall(r"^    (?:bpfree|python) .*$", outside, re.MULTILINE)
    blocks += [" ".join(inline.split()) for inline in re.findall(r"(?<!`)`((?:bpfree|python benchmarks)[^`]+)`(?!`)", outside)]
    for block in blocks:
        for line in re.sub(r" *\\\n\s*", " ", block).splitlines():
            command = line.strip().removeprefix("$ ").removeprefix(".venv/bin/")
            if command.startswith(("bpfree ", "python benchmarks/")):
                yield " ".join(command.split())


def arguments(command: str) -> list[str]:
    words = shlex.split(command.split(" && ")[0], comments=True)
    return [PLACEHOLDERS.get(word, word) for word in words]


def parse(words: list[str]) -> None:
    """Parse as the command line does; nothing is run.

    Raises:
        Exception: typer's, for an unknown command or option, or a value of another kind.
    """
    at: Any = typer.main.get_command(app)
    while hasattr(at, "commands") and words and not words[0].startswith("-"):
        assert words[0] in at.commands, f"bpfree has no command {words[0]}"
        at, words = at.commands[words[0]], words[1:]
    if not hasattr(at, "commands") and words and "--help" not in words:  # a command may be named without its arguments
        at.make_context("bpfree", list(words))


def source_of(script: Path) -> str:
    """Of a script of benchmarks, with the folder of its parts; and what argparse adds."""
    parts = [script, *script.with_name(f"{script.stem}_kit").glob("*.py")]
    return '"--help"' + "".join(part.read_text() for part in parts if part.is_file())


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_python_snippet_is_run_or_a_named_fragment(page: Path) -> None:
    if python_of(page):
        assert (page.name in RUN_HERE and page.parent == DOCS) or name_of(page) in RUN_ELSEWHERE | FRAGMENTS


def test_the_lists_name_what_there_is() -> None:
    for page, test in RUN_ELSEWHERE.items():
        assert python_of(ROOT / page) or page.startswith("examples"), page
        assert (ROOT / test).is_file()
    assert all(python_of(ROOT / page) for page in FRAGMENTS)


@pytest.mark.parametrize("name", sorted(RUN_HERE))
def test_the_snippets_of_a_page_run_in_their_order(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        for snippet in python_of(DOCS / name):
            exec(compile(snippet, name, "exec", dont_inherit=True), names)
    if name == "read-a-verdict.md":
        assert f"\n```\n{printed.getvalue()}```\n" in (DOCS / name).read_text()
    else:
        assert "not judged: 2 seeds, at least 5 are needed" in printed.getvalue()


def test_the_names_of_a_fragment_can_be_imported() -> None:
    fragment = python_of(DOCS / "your-own-rule.md")[0]
    called = set(re.findall(r"(?<![.\w])(\w+)\(", fragment))
    assert called
    assert called - set(building.__all__) == set()
    for text in python_of(DOCS / "your-own-rule.md"):
        compile(text, "your-own-rule.md", "exec")


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_commands_parse_and_scripts_take_their_options(page: Path) -> None:
    wrong = []
    for command in dict.fromkeys(commands_of(page)):
        program, *words = arguments(command)
        if program == "bpfree":
            try:
                parse(words)
            except Exception as error:  # noqa: BLE001  # typer's errors have no public common class
                wrong.append(f"{command}: {error}")
            continue
        script = ROOT / words[0]
        options = [word.partition("=")[0] for word in words[1:] if word.startswith("--")]
        wrong += [f"{command}: {words[0]} has no {option}" for option in options if f'"{option}"' not in source_of(script)]
        wrong += [] if script.is_file() else [f"{command}: there is no {words[0]}"]
    assert wrong == []


def test_a_wrong_command_would_be_seen() -> None:
    parse(["compare", "--seeds", "3"])
    for words in (["compare", "--seed", "3"], ["compare", "--seeds", "three"], ["nothing"], ["measure", "nothing"]):
        with pytest.raises((AssertionError, typer.BadParameter, Exception)):
            parse(words)


@pytest.mark.slow
@pytest.mark.parametrize(("page", "least"), [(DOCS / "start.md", 6), (ROOT / "README.md", 1)], ids=["start", "README"])
def test_the_commands_of_the_first_pages_run(page: Path, least: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """But for those that install or need a GPU, and with the run directory and the files that the page takes for given."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    shutil.copytree(ROOT / "benchmarks" / "results" / "mnist-mlp-2x1000", tmp_path / "runs" / "2026-11-21-digits")
    rows = [f"{i % 7},{i % 5},{'ab'[i % 7 > 3]}" for i in range(120)]
    (tmp_path / "my.csv").write_text("\n".join(["width,height,species", *rows, ""]))
    import numpy as np

    np.savez(tmp_path / "my.npz", x=np.random.default_rng(0).normal(size=(120, 6)), y=np.arange(120) % 2)
    (tmp_path / "mine.py").write_text(
        "from torch import nn\n\ndef make(shape, n):\n    return nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, n))\n"
    )
    ran = 0
    for command in dict.fromkeys(commands_of(page)):
        words = arguments(command)
        if "cuda" in words:
            continue
        if words[1] == "plan":
            words[words.index("mnist")] = "digits"
        if command.startswith("bpfree cite") or "RUN" not in command:
            assert run(words[1:]) == 0, command
            ran += 1
    assert ran >= least
