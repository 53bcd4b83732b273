"""docs/landscape.md says what the committed documents hold, as benchmarks/landscape_page.py writes it."""

from __future__ import annotations

import importlib.util
import json
import re
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tests.report.golden import write_first

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results"
PAGE = ROOT / "docs" / "landscape.md"


@pytest.fixture(scope="module")
def writer() -> ModuleType:
    """benchmarks/landscape_page.py."""
    spec = importlib.util.spec_from_file_location("landscape_page", ROOT / "benchmarks" / "landscape_page.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_is_made_of_the_committed_documents(writer: ModuleType) -> None:
    text = PAGE.read_text()
    links = re.findall(r"\]\(\.\./benchmarks/results/([^/)]+)/([^)]+)\)", text)
    names = list(dict.fromkeys(name for name, _ in links))
    assert set(names) == {path.parent.name for path in RESULTS.glob("landscape-*/landscape.json")}
    documents = {name: json.loads((RESULTS / name / "landscape.json").read_text()) for name in names}
    figures = {name: [file for of, file in links if of == name] for name in names}
    for name in names:
        assert set(figures[name]) == {path.name for path in (RESULTS / name).glob("*.svg")}
        summary = writer.page({name: documents[name]}, {name: figures[name]}).replace(f"](figures:{name}/", "](")
        assert (RESULTS / name / "summary.md").read_text() == summary
    assert text == writer.page(documents, figures).replace("](figures:", "](../benchmarks/results/")


def test_documents_are_complete_and_name_no_place() -> None:
    for path in RESULTS.glob("landscape-*/landscape.json"):
        document = json.loads(path.read_text())
        assert document["complete"]
        assert {Path(model["file"]).is_absolute() for model in document["models"]} == {False}


def test_one_seed_has_no_interval_and_the_page_says_so(writer: ModuleType) -> None:
    (path,) = RESULTS.glob("landscape-digits-*/landscape.json")
    document = json.loads(path.read_text())
    for rows in document["comparison"].values():
        for row in rows.values():
            row["interval"] |= {"low": None, "high": None, "n": 1}
            if "difference" in row:
                row["difference"] |= {"low": None, "high": None, "n": 1}
                row["verdict"] = row["sentence"] = "not judged: 1 paired seed, at least 5 are needed"
    text = " ".join(writer.page({"one": document}, {"one": []}).split())
    assert "not judged in 5 measures: mean rise over slices, nats -0.003243 (no interval)" in text
    assert "at least 5 are needed Difference 0.00827 (no interval)." in text
    assert "excludes 0" not in text


NOT_SHOWN = "**A more favourable minimum was not shown in any measure.**"


def document(verdicts: dict[str, tuple[str, str]], dataset: str = "digits") -> dict[str, Any]:
    """With what was said of a rule's measures, in a word and in a sentence."""
    comparison = {name: {"backprop": {}, "mine": {"verdict": word, "sentence": text}} for name, (word, text) in verdicts.items()}
    models = [{"label": "backprop"}, {"label": "mine"}]
    return {"dataset": dataset, "net": "mlp:2x8", "models": models, "comparison": comparison}


def test_the_short_answer_says_no_more_than_was_shown(writer: ModuleType) -> None:
    worse, open_ = ("worse", "worse: +0.5 [+0.1, +0.9], p = 0.01."), ("inconclusive", "inconclusive: +0.5.")
    few = ("not judged: few", "not judged: few")
    assert writer.in_short([document({"loss": open_, "trace": open_})]) == NOT_SHOWN
    assert writer.in_short([document({"loss": worse, "trace": open_}), document({"loss": few, "rise": few}, "mnist")]) == (
        f"{NOT_SHOWN} The opposite was shown by mine on digits, validation loss, nats: +0.5 [+0.1, +0.9], p = 0.01. Not judged, "
        "for want of seeds: mnist, mlp:2x8, 1 seed of each rule."
    )
    better = ("better", "better: -0.5 [-0.9, -0.1], p = 0.02.")
    assert writer.in_short([document({"loss": worse, "rise": better, "accuracy": better})]) == (
        "**A more favourable minimum was shown by mine on digits, mean rise over slices, nats: -0.5 [-0.9, -0.1], p = 0.02.** "
        "The opposite was shown by mine on digits, validation loss, nats: +0.5 [+0.1, +0.9], p = 0.01."
    ), "accuracy is not what was claimed"


def test_runs_at_the_cap_and_arms_by_the_value_of_their_numbers(writer: ModuleType) -> None:
    ended = [
        ("a:lr=2.2e-4", 0, 15),
        ("a:lr=0.00022", 1, 14),
        ("b:schedule=staged:lr=1e-3", 0, 16),
        ("b:schedule=staged:lr=0.001", 1, 3),
    ]
    runs = [{"arm": arm, "seed": seed, "passes": passes} for arm, seed, passes in ended]
    facts = {"command": "python c.py d", "examples": 9, "directions": 2, "points": 3, "radius": 1, "rho": 0.5, "probes": 4}
    made = facts | {"double": False, "training": {"batch_size": 8, "max_passes": 15, "ended": runs}}
    assert writer.capped(made) == "2 of 4 runs ended at the cap of 15 passes"
    text = " ".join(writer.conditions(made))
    assert text.startswith("Made by `python c.py d --seeds 2`. Batch 8, ")
    assert "Passes by seed: a:lr=0.00022: 15, 14; b:schedule=staged:lr=0.001: 16, 3. 2 of 4 runs" in text


def test_the_trace_has_its_standard_error(writer: ModuleType) -> None:
    measured = {"of": ["m"], "trace": 64.39, "trace_error": 5.956, "largest": 11.9}
    table = writer.models_table({"models": [{"name": "m"}], "slices": [], "sharpness": [], "curvature": [measured]})
    assert table[-1] == "| m | 64.39 ± 6 | 11.9 |"


def test_a_run_that_was_resumed_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its first record says that it was interrupted."""
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    spec = importlib.util.spec_from_file_location("landscape_script", ROOT / "benchmarks" / "landscape.py")
    assert spec is not None
    assert spec.loader is not None
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    write_first(tmp_path / "staged-0")
    records = tmp_path / "staged-0" / "records.jsonl"
    ended = json.loads(records.read_text().splitlines()[0])
    why = dict.fromkeys(("status", "val_accuracy", "test_accuracy", "n_test", "correct", "by_class", "inference"), "Ctrl-C")
    cut = ended | dict.fromkeys((*why,)) | {"status": "interrupted", "passes": 1, "reasons": ended["reasons"] | why}
    records.write_text("".join(json.dumps(each) + "\n" for each in (cut, ended)))
    told = script.ended(tmp_path, "staged", 0)
    assert told == {key: ended[key] for key in ("arm", "seed", "passes", "val_accuracy", "test_accuracy", "stops")}
