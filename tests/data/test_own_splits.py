"""The user's own splits: from arrays and from a file, the test set kept, groups in one piece, and all of it in the digest."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from bpfree.data import Dataset, from_arrays, load
from bpfree.data.groups import grouped_split
from bpfree.errors import BpfreeError, DataError, UsageError
from bpfree.rulesets import Split

RANDOM = np.random.RandomState(0)


def numbered(n: int, start: int) -> tuple[np.ndarray, np.ndarray]:
    """Examples that are their own number, in the second column."""
    number = np.arange(start, start + n)
    return np.column_stack([RANDOM.standard_normal(n), number]).astype(np.float64), number % 3


XT, YT = numbered(30, 0)
XV, YV = numbered(9, 100)
XS, YS = numbered(12, 200)
TRAIN = {"x_train": XT, "y_train": YT}
VALIDATION = {"x_validation": XV, "y_validation": YV}
TEST = {"x_test": XS, "y_test": YS}


def numbers(data: Dataset, split: str) -> list[int]:
    """The numbers of the examples of a split, from their standardised values."""
    assert data.prepared is not None
    column = data.splits[split].x[:, 1].double() / data.prepared.factor[1] + data.prepared.shift[1]
    return [round(float(value)) for value in column]


def both_doors(tmp_path, **arrays) -> Dataset:
    """Of the arrays in Python and of a file with the same names: the same data set."""
    np.savez(tmp_path / "mine.npz", **arrays)
    data, of_file = from_arrays(**arrays), load(tmp_path / "mine.npz")
    assert data.data_digest == of_file.data_digest
    for split in data.splits:
        assert torch.equal(data.splits[split].x, of_file.splits[split].x)
        assert torch.equal(data.splits[split].y, of_file.splits[split].y)
    return data


def test_three_splits_of_the_users_own(tmp_path):
    data = both_doors(tmp_path, **TRAIN, **VALIDATION, **TEST)
    assert numbers(data, "train") == list(range(30))
    assert numbers(data, "validation") == list(range(100, 109))
    assert numbers(data, "test") == list(range(200, 212))
    for split, labels in (("train", YT), ("validation", YV), ("test", YS)):
        assert data.splits[split].y.tolist() == labels.tolist()
    assert data.note == "arrays: 51 examples of shape (2,), split as given."
    torch.testing.assert_close(data.splits["train"].x.mean(0), torch.zeros(2), atol=1e-6, rtol=0)
    assert data.splits["test"].x.mean(0)[1] > 1, "standardised by training alone"


def test_the_test_set_is_kept_and_validation_is_drawn_from_training(tmp_path):
    data = both_doors(tmp_path, **TRAIN, **TEST)
    assert numbers(data, "test") == list(range(200, 212))
    assert sorted(numbers(data, "train") + numbers(data, "validation")) == list(range(30))
    assert data.splits["validation"].y.bincount().tolist() == [2, 2, 2], "15 % of 10 of each class, rounded to even"
    assert "15 % of training validate, test as given" in data.note
    other = from_arrays(**TRAIN, **TEST, split_seed=1)
    assert numbers(other, "validation") != numbers(data, "validation")
    assert numbers(other, "test") == numbers(data, "test")


def test_x_and_y_are_other_names_of_the_training_set():
    assert from_arrays(XT, YT, **TEST).data_digest == from_arrays(**TRAIN, **TEST).data_digest
    assert from_arrays(**TRAIN).data_digest == from_arrays(XT, YT).data_digest


@pytest.mark.parametrize(("kind", "validation"), [("last", 6), ("random", 6), ("random", 0.2), ("stratified", 0.2)])
def test_a_ruleset_divides_the_training_set_where_the_test_set_is_given(kind, validation):
    split = Split(kind=kind, validation=validation, **({"test": 0.1} if kind == "stratified" else {}))
    data = from_arrays(**TRAIN, **TEST, split=split)
    assert data.n("validation") == 6
    assert numbers(data, "test") == list(range(200, 212))
    assert kind != "last" or numbers(data, "validation") == list(range(24, 30))


def test_the_digest_sees_each_split():
    given = {**TRAIN, **VALIDATION, **TEST}
    digests = {from_arrays(**given).split_digest, from_arrays(**TRAIN, **TEST).split_digest, from_arrays(**TRAIN).split_digest}
    for key in given:
        other = given[key].copy()
        other[:3] = other[2::-1]  # the same values in another order
        digests.add(from_arrays(**{**given, key: other}).split_digest)
    swapped = {"x_validation": XS, "y_validation": YS, "x_test": XV, "y_test": YV}
    digests.add(from_arrays(**TRAIN, **swapped).split_digest)
    assert len(digests) == 3 + 6 + 1


def test_pixels_of_own_splits_stay_pixels():
    pixels = {f"x_{split}": RANDOM.randint(0, 256, (9, 5, 5, 3)).astype(np.uint8) for split in ("train", "validation", "test")}
    labels = {f"y_{split}": np.arange(9) % 3 for split in ("train", "validation", "test")}
    data = from_arrays(**pixels, **labels, channels="last")
    assert data.in_shape == (3, 5, 5)
    for split in data.splits:
        assert np.array_equal(data.splits[split].x.numpy(), np.moveaxis(pixels[f"x_{split}"], 3, 1))
    assert data.normalisation is not None
    assert float(data.normalisation.shift) == pytest.approx(pixels["x_train"].mean())


@pytest.mark.parametrize(
    ("arrays", "match"),
    [
        ({**TRAIN, **VALIDATION}, r"x_validation was given without a test set; give x_test and y_test too, or neither"),
        ({**TRAIN, "x_test": XS}, r"test needs both examples and labels; give x_test, y_test"),
        ({**TEST}, r"train needs both examples and labels; give x, y"),
        ({"x": XT, "y": YT, **TRAIN}, r"x and x_train, or y and y_train, are two names of one thing"),
        ({**TRAIN, "x_test": XS[:, :1], "y_test": YS}, r"training examples have shape \(2,\), those of x_test \(1,\)"),
        ({**TRAIN, "x_test": XS, "y_test": YS + 1}, r"y_test has label 3, but training has labels 0 to 2"),
        ({**TRAIN, "x_test": XS, "y_test": YS - 1}, r"y_test has label -1, but training has labels 0 to 2"),
        ({**TRAIN, "x_test": XS, "y_test": YS.astype(float)}, r"whole numbers or strings, got float64; y_test.astype\(int\)"),
        ({**TRAIN, "x_test": XS, "y_test": YS[:5]}, r"x_test has 12 examples and y_test has 5 labels"),
        ({**TRAIN, "x_test": XS[:0], "y_test": YS[:0]}, r"is empty: x_test has shape \(0, 2\)"),
        ({**TRAIN, "x_test": XS * np.nan, "y_test": YS}, r"x_test has 24 values that are NaN .*, the first in example 0"),
        ({"x": XT.reshape(30, 2, 1).astype(np.uint8), "y": YT, "x_test": XS.reshape(12, 2, 1), "y_test": YS},
         r"training examples are uint8, those of x_test float64"),
        ({**TRAIN, **TEST, "groups_test": YS}, r"groups were given for test only; give those of train, test, or of training"),
        ({**TRAIN, "groups": YT[:5]}, r"groups must have shape \(30,\), one for each example, got \(5,\)"),
        ({**TRAIN, "groups": np.where(YT == 1, np.nan, YT)}, r"groups has 10 values that are NaN"),
        ({**TRAIN, "groups": np.array([None, *"abc"] * 8)[:30]}, r"groups has values of several kinds|must have shape"),
        ({**TRAIN, "groups": np.array([None, 1, "a"] * 10, dtype=object)}, r"groups has values of several kinds"),
        ({**TRAIN, "groups": YT}, r"class 0 is in 1 of 3 groups, .* 3 are needed, one for each of train, validation, test"),
        ({**TRAIN, **TEST, "groups": YT, "groups_test": YS}, r"group 0 is in train and in test \(3 such groups\)"),
    ],
)  # fmt: skip
def test_refused(arrays, match):
    with pytest.raises((DataError, UsageError), match=match) as caught:
        from_arrays(**arrays, name="mine")
    assert str(caught.value).startswith("mine")
    assert "\n" not in str(caught.value)


def test_misspelt_names_in_a_file(tmp_path):
    np.savez(tmp_path / "mine.npz", **TRAIN, x_val=XV, y_val=YV, **TEST)
    with pytest.raises(BpfreeError, match=r"has an array x_val, which bpfree does not read; it reads: x, y, groups, x_train"):
        load(tmp_path / "mine.npz")
    np.savez(tmp_path / "half.npz", x_train=XT)
    with pytest.raises(BpfreeError, match=r"has no array y_train, only: x_train"):
        load(tmp_path / "half.npz")
    np.savez(tmp_path / "more.npz", x=XT, y=YT, feature_names=np.array(["a", "b"]))
    assert load(tmp_path / "more.npz").n("train") == 18, "arrays of another name are left alone"


GROUPS = np.repeat(np.arange(20), 6)
OF_GROUPS = np.column_stack([np.zeros(120), np.arange(120)])
LABELS = np.arange(120) % 3


@pytest.mark.parametrize("groups", [GROUPS, np.char.add("patient", GROUPS.astype(str))])
def test_no_group_is_torn_apart(tmp_path, groups):
    data = both_doors(tmp_path, x=OF_GROUPS, y=LABELS, groups=groups)
    where = {split: {groups[k] for k in numbers(data, split)} for split in data.splits}
    assert sum(map(len, where.values())) == len(set(groups)), "each group is in one split"
    assert {split: data.n(split) for split in data.splits} == {"train": 84, "validation": 18, "test": 18}
    assert "no group in two splits" in data.note
    again = from_arrays(OF_GROUPS, LABELS, groups=groups, split_seed=1)
    assert again.split_digest != data.split_digest
    assert data.split_digest != from_arrays(OF_GROUPS, LABELS).split_digest


def test_groups_within_a_given_training_set():
    data = from_arrays(OF_GROUPS, LABELS, groups=GROUPS, x_test=XS, y_test=YS, groups_test=YS + 100)
    train, validation = ({int(GROUPS[k]) for k in numbers(data, split)} for split in ("train", "validation"))
    assert not train & validation
    assert data.n("validation") == 18
    assert numbers(data, "test") == list(range(200, 212))


@pytest.mark.parametrize("seed", range(5))
def test_groups_of_unequal_sizes_and_classes(seed):
    random = np.random.RandomState(seed)
    groups = random.choice(40, 600, p=random.dirichlet(np.ones(40)))
    y = (random.random(600) < 0.1 + 0.2 * (groups % 3)).astype(np.int64)
    split = grouped_split(y, groups, {"validation": 0.15, "test": 0.15}, seed, name="t")
    assert sorted(np.concatenate(list(split.values()))) == list(range(600))
    for one in split:
        assert set(y[split[one]]) == {0, 1}
        for other in split:
            assert one == other or not set(groups[split[one]]) & set(groups[split[other]])
    again = grouped_split(y, groups, {"validation": 0.15, "test": 0.15}, seed, name="t")
    assert all(np.array_equal(split[k], again[k]) for k in split)


def test_a_group_split_is_pinned():
    """These numbers must never change: records of other versions depend on them."""
    split = grouped_split(np.arange(24) % 2, np.arange(24) // 2 % 8, {"validation": 0.2, "test": 0.2}, 0, name="t")
    assert {name: sorted({int(k) // 2 % 8 for k in rows}) for name, rows in split.items()} == {
        "train": [0, 2, 5, 6, 7],
        "validation": [1, 4],
        "test": [3],
    }
