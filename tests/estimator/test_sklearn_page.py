"""The Python of docs/scikit-learn.md runs as it stands there, in its order, with smaller layers and fewer passes."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

PAGE = (Path(__file__).parents[2] / "docs" / "scikit-learn.md").read_text()
SNIPPETS = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
QUICK = {"(256, 256), lr=1e-3": "(16,), lr=2e-2, max_passes=4", "[1e-3, 3e-3]": "[2e-2]", "cv=5": "cv=2", "cv=3": "cv=2"}


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_the_three_snippets(capsys: pytest.CaptureFixture[str]) -> None:
    names: dict[str, Any] = {}
    for snippet in SNIPPETS:
        for long, quick in QUICK.items():
            snippet = snippet.replace(long, quick)
        exec(snippet, names)
    assert len(SNIPPETS) == 3
    assert names["search"].best_score_ > 0.93
    assert set(names["search"].best_params_) == {"bpfreeclassifier__rule", "bpfreeclassifier__lr"}
    accuracies = {line.split()[0]: float(line.split()[1]) for line in capsys.readouterr().out.splitlines()}
    assert accuracies["load_breast_cancer"] > 0.93
    assert accuracies["load_digits"] > 0.75
