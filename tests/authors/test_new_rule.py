"""``bpfree new-rule``: the package that it writes passes the kit, and a name that cannot be used writes nothing."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from bpfree.cli import run
from bpfree.cli.new_rule import write_package

ROOT = Path(__file__).parents[2]


def test_the_package(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Its files, and four checks of the kit in this process; the whole kit is below."""
    assert run(["new-rule", "own-rule-2", "--to", str(tmp_path / "packages")]) == 0
    folder = tmp_path / "packages" / "own-rule-2"
    assert capsys.readouterr().out.startswith(f"wrote {folder}: the rule is in src/own_rule_2/rule.py")
    project = tomllib.loads((folder / "pyproject.toml").read_text())["project"]
    assert project["name"] == "own-rule-2"
    assert project["entry-points"]["bpfree.algorithms"] == {"own-rule-2": "own_rule_2.rule:OwnRule2"}
    assert not [path for path in folder.rglob("*") if "$" in path.name or path.suffix == ".txt"]
    for command in (["check", "--select=E,F,I,UP,B"], ["format", "--check"]):
        options = ["--isolated", "--line-length=130", "."]
        subprocess.run([sys.executable, "-m", "ruff", *command, *options], cwd=folder, check=True, capture_output=True)
    for place in ("src", "tests"):
        monkeypatch.syspath_prepend(str(folder / place))
    kit = importlib.import_module("test_rule").TestOwnRule2()
    (rule,) = kit.rules
    kit.test_golden_trajectory(rule)
    kit.test_docstring_has_every_section(rule)
    kit.test_closed_form_equals_autograd(rule, "dense")
    kit.test_cost_equals_the_count(rule)


@pytest.mark.slow  # a minute: every check of the kit
def test_the_package_passes_the_whole_kit(tmp_path: Path) -> None:
    """In a process of its own; the package is on the path and not installed."""
    folder = write_package("own-rule", tmp_path)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT / "src"), str(folder / "src")])}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-W", "error::UserWarning", "tests"]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
    assert "85 passed" in done.stdout


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("Own", "a rule cannot be called 'Own'; write small letters, digits and single hyphens, such as my-rule"),
        ("2nd", "cannot be called"),
        ("a--b", "cannot be called"),
        ("../a", "cannot be called"),
        ("backprop", "there is a rule backprop already, in bpfree"),
        ("json", "the module of json would be json, which Python has already"),
        ("class", "which Python has already"),
    ],
)
def test_a_name_that_cannot_be_used(name: str, told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["new-rule", name, "--to", str(tmp_path)]) == 2
    message = capsys.readouterr().err
    assert told in message
    assert message.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_a_folder_that_exists_is_left_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "mine").mkdir()
    assert run(["new-rule", "mine", "--to", str(tmp_path)]) == 2
    assert f"{tmp_path / 'mine'} exists; choose another name, or another place with --to DIR" in capsys.readouterr().err
    assert not list((tmp_path / "mine").iterdir())


def test_a_place_that_cannot_be_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("")
    assert run(["new-rule", "mine", "--to", str(tmp_path / "file")]) == 2
    assert capsys.readouterr().err.count("\n") == 1
