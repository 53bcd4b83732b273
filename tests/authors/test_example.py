"""The example package: the commands of its README, as they stand there, lead to a row in a report."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import site
import subprocess
import venv
from pathlib import Path

import pytest

from bpfree.catalogue.extensions import extensions
from bpfree.cli import run

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "bpfree-random-heads"
README = (EXAMPLE / "README.md").read_text()
BLOCKS = re.findall(r"^ *```(\w*)\n(.*?)^ *```$", README, re.DOTALL | re.MULTILINE)
COMMANDS = [line.strip() for language, block in BLOCKS if not language for line in block.splitlines()]
"""Of the README, in order."""

INSTALL, LIST, CITE, COMPARE, REPORT, *_, KIT = COMMANDS

ONE_THREAD = {"OMP_NUM_THREADS": "1", "BPFREE_DATA": ""}
OFFLINE = {"PIP_NO_INDEX": "1", "PIP_NO_DEPS": "1", "PIP_NO_BUILD_ISOLATION": "0", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
"""pip installs what is there; 0 stands for no isolation."""


class Shell:
    """A new environment that sees the packages of this one, in a folder with a copy of the examples."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        shutil.copytree(
            ROOT / "examples", folder / "examples", ignore=shutil.ignore_patterns("*.egg-info", "build", "__pycache__")
        )
        venv.create(folder / "env", with_pip=False, symlinks=True)
        (packages,) = (folder / "env").glob("lib/python*/site-packages")
        (packages / "outside.pth").write_text("\n".join([str(ROOT / "src"), *site.getsitepackages()]) + "\n")
        self.bin = folder / "env" / "bin"
        for command in ("pip", "bpfree", "pytest"):
            script = self.bin / command
            script.write_text(f'#!/bin/sh\nexec "{self.bin / "python"}" -m {command} "$@"\n')
            script.chmod(0o755)

    def run(self, command: str) -> str:
        """What a command prints; it must succeed."""
        environment = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "PIP_", "BPFREE"))}
        environment |= {**ONE_THREAD, **OFFLINE, "PATH": f"{self.bin}{os.pathsep}{os.environ['PATH']}"}
        done = subprocess.run(command, shell=True, cwd=self.folder, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
        return done.stdout


def arms_measured(out: Path) -> set[str]:
    rows = [json.loads(line) for line in (out / "records.jsonl").read_text().splitlines()]
    assert re.search(r"<code>head_scale = ", (out / "report" / "index.html").read_text())
    return {row["arm"] for row in rows if row["status"] == "ok"}


def test_from_the_package_to_a_row_in_a_report(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """pip builds and installs the package; the commands of bpfree are run in this process, which has imported torch."""
    installed = tmp_path / "installed"
    Shell(tmp_path).run(f"{INSTALL} --target {installed}")
    monkeypatch.syspath_prepend(str(installed))
    monkeypatch.chdir(tmp_path)
    extensions.cache_clear()
    try:
        for command in (LIST, CITE, COMPARE, REPORT):
            assert run(shlex.split(command)[1:]) == 0
    finally:
        extensions.cache_clear()
    shown = capsys.readouterr().out
    for text in ("from bpfree-random-heads 0.1.0", "searched: head_scale log-uniform 0.1 to 10", "@article{mostafa2018deep,"):
        assert text in shown
    assert arms_measured(tmp_path / "runs" / "random-heads") == {"backprop", "random-heads"}


@pytest.mark.slow  # two kits of a minute each, and every command imports torch
def test_every_command_of_the_readme_as_it_stands_there(tmp_path: Path) -> None:
    shell = Shell(tmp_path)
    shown = [shell.run(command) for command in COMMANDS]
    assert "random-heads" in shown[COMMANDS.index(REPORT)]
    assert arms_measured(tmp_path / "runs" / "random-heads") == {"backprop", "random-heads"}
    assert "passed" in shown[COMMANDS.index(KIT)]
    assert "passed" in shell.run("pytest examples/bpfree-random-heads/tests")


def test_the_readme_names_files_that_exist() -> None:
    named = re.findall(r"^\| `([^`]+)`", README, re.MULTILINE)
    assert len(named) == 4
    assert [name for name in named if not (EXAMPLE / name).is_file()] == []
    assert (EXAMPLE / "../../docs/your-own-rule.md").is_file()
