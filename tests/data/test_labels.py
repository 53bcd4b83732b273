"""Labels of any kind: numbered in their sorted order, with their names; 0 to K - 1 are what they always were."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch

from bpfree.data import from_arrays
from bpfree.errors import DataError

X = np.random.RandomState(0).standard_normal((30, 2))
Y = np.arange(30) % 3
PLAIN = from_arrays(X, Y)

WORDS = np.array(["zebra", "ant", "mole"])[Y]  # numbers 2, 0, 1 of the sorted names


@pytest.mark.parametrize(
    ("labels", "classes", "numbers"),
    [
        (WORDS, ("ant", "mole", "zebra"), [2, 0, 1]),
        (WORDS.astype("S"), ("ant", "mole", "zebra"), [2, 0, 1]),
        (WORDS.astype(object), ("ant", "mole", "zebra"), [2, 0, 1]),
        (WORDS.tolist(), ("ant", "mole", "zebra"), [2, 0, 1]),
        (pd.Series(WORDS), ("ant", "mole", "zebra"), [2, 0, 1]),
        (pd.Series(WORDS, dtype="category"), ("ant", "mole", "zebra"), [2, 0, 1]),
        (np.array([7, 3, 9])[Y], (3, 7, 9), [1, 0, 2]),
        (pd.Series(np.array([7, 3, 9])[Y], dtype="Int64").astype(object), (3, 7, 9), [1, 0, 2]),
        (np.array([7, 3, 9], dtype=np.uint8)[Y], (3, 7, 9), [1, 0, 2]),
        (torch.tensor([-1, 0, 1])[torch.from_numpy(Y)], (-1, 0, 1), [0, 1, 2]),
        (Y + 1, (1, 2, 3), [0, 1, 2]),
        (Y * 10**12, (0, 10**12, 2 * 10**12), [0, 1, 2]),
        (Y.astype(str), ("0", "1", "2"), [0, 1, 2]),
    ],
)
def test_names_and_numbers_by_value(labels, classes, numbers):
    data = from_arrays(X, labels)
    assert data.classes is not None
    assert data.classes == classes
    assert [type(each) for each in data.classes] == [type(each) for each in classes]
    assert data.n_classes == 3
    same = from_arrays(X, np.array(numbers)[Y])
    for split in data.splits:
        assert torch.equal(data.splits[split].y, same.splits[split].y)
        assert torch.equal(data.splits[split].x, same.splits[split].x)
    assert data.split_digest != same.split_digest, "the names of classes are part of the contents"


@pytest.mark.parametrize("labels", [Y, Y.astype(np.uint8), Y.tolist(), Y.astype(object), torch.from_numpy(Y)])
def test_numbers_from_0_have_no_other_names(labels):
    data = from_arrays(X, labels)
    assert data.classes is None
    assert data.split_digest == PLAIN.split_digest == "a66bae284b8401d0fac756af06be49fb8d7e61cbc1dacd97734922fb51150aa4"


def test_names_stay_with_every_view():
    data = from_arrays(X, WORDS)
    for view in (data.without_test(), data.limited(6), data.to("cpu"), data.weighted("balanced")):
        assert view.classes == ("ant", "mole", "zebra")


def test_labels_of_own_splits_are_numbered_as_in_training():
    data = from_arrays(x_train=X, y_train=WORDS, x_test=X[:4], y_test=["mole", "zebra", "mole", "ant"])
    assert data.splits["test"].y.tolist() == [1, 2, 1, 0]
    data = from_arrays(x_train=X, y_train=Y * 5, x_test=X[:2], y_test=[10, 0])
    assert (data.classes, data.splits["test"].y.tolist()) == ((0, 5, 10), [2, 0])


@pytest.mark.parametrize(
    ("training", "test", "match"),
    [
        (WORDS, ["mole", "cat"], r"y_test has label 'cat', but training has the labels 'ant', 'mole', 'zebra'; give training"),
        (Y * 5, [5, 7], r"y_test has label 7, but training has the labels 0, 5, 10;"),
        (Y, ["0", "1"], r"y_test has label '0', but training has labels 0 to 2;"),
        (WORDS, [0, 1], r"y_test has label 0, but training has the labels 'ant', 'mole', 'zebra';"),
        (WORDS, ["ant", None], r"y_test has 1 missing labels"),
    ],
)
def test_classes_unseen_in_training(training, test, match):
    with pytest.raises(DataError, match=match):
        from_arrays(x_train=X, y_train=training, x_test=X[:2], y_test=np.array(test, dtype=object))
