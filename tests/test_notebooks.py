"""The notebooks of docs run as they stand there: their code in this process, and, slowly, in a kernel."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

NOTEBOOKS = sorted((Path(__file__).parents[1] / "docs" / "notebooks").glob("*.ipynb"))
BY_NAME = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


def code(path: Path) -> list[str]:
    return ["".join(cell["source"]) for cell in json.loads(path.read_text())["cells"] if cell["cell_type"] == "code"]


def run(path: Path) -> dict[str, Any]:
    names: dict[str, Any] = {"__name__": "__main__"}  # as in a kernel
    for number, text in enumerate(code(path)):
        exec(compile(text, f"{path.name}[{number}]", "exec", dont_inherit=True), names)
    return names


def test_the_first_comparison(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names = run(next(path for path in NOTEBOOKS if path.stem == "first-comparison"))
    assert names["result"].val_accuracy > 0.8
    assert names["comparison"].directory == Path("runs/first")
    assert {record.arm for record in names["comparison"].records} == {"backprop", "mono-forward", "frozen"}
    assert "not judged" in str(names["comparison"])


def test_the_rule_of_your_own() -> None:
    names = run(next(path for path in NOTEBOOKS if path.stem == "your-own-rule"))
    assert names["mine"] > names["control"]


@BY_NAME
def test_notebooks_are_committed_without_outputs_and_have_short_lines(path: Path) -> None:
    cells = json.loads(path.read_text())["cells"]
    assert [cell for cell in cells if cell.get("outputs") or cell.get("execution_count")] == []
    lines = [line for cell in cells for line in "".join(cell["source"]).splitlines()]
    assert [line for line in lines if len(line) > 130] == []


@pytest.mark.slow
@BY_NAME
def test_notebooks_run_in_a_kernel(path: Path, tmp_path: Path) -> None:
    nbformat = pytest.importorskip("nbformat", reason="the extra docs is not installed")
    nbclient = pytest.importorskip("nbclient", reason="the extra docs is not installed")
    notebook = nbformat.read(path, as_version=4)
    nbclient.NotebookClient(
        notebook, timeout=600, kernel_name="python3", resources={"metadata": {"path": str(tmp_path)}}
    ).execute()
    errors = [each for cell in notebook.cells for each in cell.get("outputs", []) if each["output_type"] == "error"]
    assert errors == []
