"""An accuracy beside the share of the most frequent class, balanced accuracy and recall by class."""

from __future__ import annotations

import pytest

from bpfree.records import ByClass
from bpfree.report.flags import flags
from bpfree.report.material import read_material
from bpfree.report.model import build_tables
from bpfree.report.tables import markdown_table, text_table

from .conftest import make_record


def imbalanced(arm: str, seed: int, recalls: tuple[float, ...], n: tuple[int, ...] = (97, 3)):
    accuracy = sum(recall * of for recall, of in zip(recalls, n, strict=True)) / sum(n)
    seen = ByClass(n=list(n), recall=list(recalls), balanced_accuracy=sum(recalls) / len(n), majority_share=max(n) / sum(n))
    record = make_record(arm, seed)
    return record.model_copy(update={"test_accuracy": accuracy, "by_class": seen})


@pytest.fixture
def table(runs):
    """Backprop names class 0 for every example; Mono-Forward finds two of three examples of class 1."""
    records = [imbalanced("backprop", seed, (1.0, 0.0)) for seed in (0, 1)]
    records += [imbalanced("mono-forward", seed, (0.99, 2 / 3)) for seed in (0, 1)]
    return runs, records


def test_the_majority_balanced_accuracy_and_recalls_stand_beside_the_accuracy(table):
    runs, records = table
    (built,) = build_tables(read_material([runs(records=records)]))
    lines = "\n".join(markdown_table(built))
    assert "97.00 ± 0.00 (the same for all seeds; majority 97.0, balanced 50.0, recall by class 100.0, 0.0)" in lines
    assert "majority 97.0, balanced 82.8, recall by class 99.0, 66.7" in lines
    assert all("majority 97.0" in row[1] for row in text_table(built).rows)


def test_an_arm_that_equals_the_majority_is_flagged_and_no_other(table):
    runs, records = table
    material = read_material([runs(records=records)])
    found = [flag for flag in flags(build_tables(material), material) if flag.key == "majority-class"]
    assert [flag.text for flag in found] == [
        "2 of 2 runs of backprop are no better than always naming the most frequent class (97.0 %): balanced accuracy 50.0 %. "
        "Watch stop.metric: balanced-accuracy instead."
    ]
