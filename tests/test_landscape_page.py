"""docs/landscape.md says what the committed documents hold, as benchmarks/landscape_page.py writes it."""

from __future__ import annotations

import importlib.util
import json
import re
from pathlib import Path
from types import ModuleType

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
