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


def test_classes_with_names_are_named(runs):
    records = [imbalanced(arm, seed, (1.0, 0.5)) for arm in ("backprop", "mono-forward") for seed in (0, 1)]
    named = [
        record.model_copy(update={"by_class": record.by_class.model_copy(update={"labels": ["healthy", "ill"]})})
        for record in records
        if record.by_class is not None
    ]
    (built,) = build_tables(read_material([runs(records=named)]))
    assert "recall by class healthy: 100.0, ill: 50.0" in "\n".join(markdown_table(built))


def test_labels_are_left_out_where_classes_have_no_names():
    seen = ByClass(n=[1, 2], recall=[1.0, None], balanced_accuracy=1.0, majority_share=2 / 3)
    assert set(seen.model_dump()) == {"n", "recall", "balanced_accuracy", "majority_share"}
    for labels in ((3, 7), ("3", "7")):
        named = ByClass.model_validate_json(seen.model_copy(update={"labels": labels}).model_dump_json())
        assert named.labels == labels
        assert named.class_words(["a", "b"]) == ["3: a", "7: b"]


def test_an_arm_that_equals_the_majority_is_flagged_and_no_other(table):
    runs, records = table
    material = read_material([runs(records=records)])
    found = [flag for flag in flags(build_tables(material), material) if flag.key == "majority-class"]
    assert [flag.text for flag in found] == [
        "2 of 2 runs of backprop are no better than always naming the most frequent class (97.0 %): balanced accuracy 50.0 %. "
        "Watch stop.metric: balanced-accuracy instead."
    ]
