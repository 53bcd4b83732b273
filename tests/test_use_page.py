"""The Python of docs/use.md and of README runs as it stands there; training is cut to one pass."""

from __future__ import annotations

import inspect
import re
import sys
from pathlib import Path
from typing import Any

import pytest
from torch import nn

import bpfree
from bpfree import data
from bpfree.rulesets import Patience

ROOT = Path(__file__).parents[1]


def blocks(page: str) -> list[str]:
    return re.findall(r"```python\n(.*?)```", (ROOT / page).read_text(), re.DOTALL)


def block(word: str) -> str:
    (text,) = [each for each in blocks("docs/use.md") if word in each]
    return text


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, Any]:
    """What a snippet takes for given: some digits."""
    monkeypatch.chdir(tmp_path)
    __import__("bpfree.train.fit")
    monkeypatch.setattr(sys.modules["bpfree.train.fit"], "default_stop", lambda *_: Patience(None, 1))
    test = data.load("digits").splits["test"]
    return {"x": test.x[:60, 0].numpy(), "y": test.y[:60].numpy(), "bpfree": bpfree}


def test_training_predicting_and_saving(names: dict[str, Any], tmp_path: Path) -> None:
    exec(block("bpfree.fit("), names)
    assert names["result"].passes == 1
    assert bpfree.models.load(tmp_path / "model.safetensors").predict(names["x"]).shape == (60,)


def test_the_snippet_of_readme(names: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    (snippet,) = blocks("README.md")
    exec(snippet, {})
    assert 0.1 < float(capsys.readouterr().out) <= 1
    assert names  # in an empty folder, with one pass


def test_the_comparison_is_called_as_it_can_be(names: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    called: list[inspect.BoundArguments] = []
    signature = inspect.signature(bpfree.compare)
    monkeypatch.setattr(sys.modules["bpfree.comparison"], "compare", lambda *a, **k: called.append(signature.bind(*a, **k)))
    names["your_sequential"] = nn.Sequential(nn.Linear(64, 8), nn.ReLU(), nn.Linear(8, 10))
    exec(block("bpfree.compare("), names)
    (call,) = called
    assert call.arguments["changes"] == {"seeds": 5}
