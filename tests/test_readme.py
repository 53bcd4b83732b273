"""Tables and picture of README and docs/results.md are those of the committed runs; README stays a page for a minute."""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree

import pytest

from bpfree import catalogue, rulesets
from tools.docs_pages.measured import counted_costs, runs
from tools.readme import PICTURE, ROOT, TABLES, filled
from tools.readme.picture import ACCURACY, ENERGY, MARGIN, picture
from tools.readme.tables import digits_table, fashion_table, mnist_table, summary

README = (ROOT / "README.md").read_text()
RESULTS = " ".join((ROOT / "docs" / "results.md").read_text().split())


@pytest.mark.parametrize("page", TABLES, ids=lambda page: page.name)
def test_the_tables_of_a_page_are_those_of_the_committed_runs(page: Path) -> None:
    assert page.read_text() == filled(page), "make them again: python -m tools.readme"


def test_the_picture_is_that_of_the_committed_run() -> None:
    assert PICTURE.read_text() == picture(), "make it again: python -m tools.readme"
    assert f"]({PICTURE.relative_to(ROOT)})" in README


def test_a_table_by_value() -> None:
    backprop, joint, staged, deep = (line.strip("| ").split(" | ") for line in ordered(mnist_table()))
    assert backprop == ["backprop", "98.06 ± 0.08", "", "", "5.29 s", "855 J"]
    assert joint[:4] == ["mono-forward (joint)", "98.16 ± 0.18", "+0.10 [−0.07, +0.26]", "equivalent"]
    assert staged[4:] == ["×0.82 [0.77, 0.89]", "×0.75 [0.70, 0.81]"]
    assert deep[0] == "deep-supervision"
    assert "| mono-forward (joint) | 89.15 ± 0.41 | −0.12 [−0.39, +0.15] | inconclusive |" in fashion_table()
    assert len(digits_table().splitlines()) == 7


def ordered(table: str) -> list[str]:
    """Rows without headings, in the order that the test names them."""
    order = ("| backprop", "| mono-forward (joint)", "| mono-forward (staged)", "| deep")
    return sorted(table.splitlines()[2:], key=lambda line: [line.startswith(start) for start in order].index(True))


def test_the_picture_has_what_the_table_has() -> None:
    tree = ElementTree.fromstring(picture())
    texts = ["".join(each.itertext()) for each in tree.iter("{http://www.w3.org/2000/svg}text")]
    assert {"mono-forward (joint)", "mono-forward (staged)", "deep-supervision"} <= set(texts)
    assert {"+0.10", "×1.20", "+0.08", "×0.75", "+0.07", "×1.17"} <= set(texts)
    assert len(list(tree.iter("{http://www.w3.org/2000/svg}circle"))) == 2 * 3
    assert 100 * rulesets.load("claim").equivalence_margin == MARGIN
    for row in summary("mnist-mlp-2x1000")[1:]:
        for end in ("low95", "high95"):
            assert 0 < ACCURACY.place(100 * float(row[f"{end}_difference_fraction"])) < 1
            assert 0 < ENERGY.place(float(row[f"{end}_energy_ratio"])) < 1


def test_step_of_backprop_in_the_text() -> None:
    row = next(each for each in summary("mnist-mlp-2x1000") if each["arm"] == "backprop")
    step_ms = 1000 * float(row["mean_training_time_s"]) / float(row["mean_steps_count"])
    gflop = float(row["mean_step_flops"]) / 1e9
    (text,) = re.findall(
        r"backprop's step took ([\d.]+) ms, and at the data sheet's 67 TFLOP/s its ([\d.]+) GFLOP take ([\d.]+) ms", RESULTS
    )
    assert text == (f"{step_ms:.2f}", f"{gflop:.2f}", f"{gflop / 67:.2f}")


def test_readme_is_read_in_a_minute() -> None:
    """The question, two commands, one picture, one table of results, three links to pages, and the rule to try first."""
    assert len(re.findall(r"\w+", re.sub(r"```.*?```|<!--.*?-->|^\|.*$|\(.*?\)", "", README, flags=re.DOTALL | re.M))) < 420
    assert len(re.findall(r"^!\[", README, re.M)) == 1
    assert len(re.findall(r"^- \[[^\]]+\]\(docs/[\w-]+\.md\)", README, re.M)) == 3
    assert re.findall(r"\]\(docs/[\w-]+\.md\)", README.partition("## Go on")[0]) == []
    first = re.search(r"\*\*Which rule first\?\*\* `([\w-]+)`", README)
    assert first is not None and first[1] in catalogue.rules()
    assert "`make docs`" in README
    assert "processor" in README.partition("<!-- end -->")[2].partition("## ")[0]


def test_numbers_behind_the_rule_to_try_first() -> None:
    accuracies = {(run["arm"], run["net"], run["dataset"]): 100 * run["test_accuracy"] for run in runs()}
    tokens = [accuracies[f"{arm}:lr=1e-3", "vit", "fashion-mnist[10000]"] for arm in ("backprop", "mono-forward")]
    assert f"{tokens[0] - tokens[1]:.1f} points below on small transformers" in " ".join(README.split())
    deep = {row["arm"]: row for row in counted_costs() if (row["net"], row["batch_size"]) == ("mlp:32x256", 1024)}
    bytes_of = {arm: sum(value or 0 for value in deep[arm]["memory"].values()) for arm in ("backprop", "mono-forward")}
    assert "half of the memory" in " ".join(README.split())
    assert 0.45 < bytes_of["mono-forward"] / bytes_of["backprop"] < 0.55
