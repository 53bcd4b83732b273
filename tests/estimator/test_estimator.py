"""The classifier in the places where people of scikit-learn put one, and what it says of input that it cannot take."""

from __future__ import annotations

import pickle
import re
import warnings
from typing import Any

import numpy as np
import pandas
import pytest
import scipy.sparse
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.datasets import load_breast_cancer, load_digits, load_iris
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.model_selection import GridSearchCV, cross_val_score, train_test_split
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import nn

from bpfree.algorithms import MonoForward
from bpfree.nets import mlp
from bpfree.sklearn import BpfreeClassifier, SparseInputWarning, tables

QUICK: dict[str, Any] = {"hidden": (16,), "lr": 0.02, "batch_size": 16, "max_passes": 12, "patience": None, "random_state": 0}


@pytest.fixture(scope="module")
def iris() -> tuple[np.ndarray, np.ndarray]:
    return load_iris(return_X_y=True)


def classifier(rule: Any = "mono-forward", **options: Any) -> BpfreeClassifier:
    return BpfreeClassifier(rule, **(QUICK | options))


def test_a_pipeline_a_grid_search_and_a_calibration(iris: tuple[np.ndarray, np.ndarray]) -> None:
    x, y = iris
    pipeline = make_pipeline(StandardScaler(), classifier())
    grid = {"bpfreeclassifier__rule": ["backprop", "mono-forward"], "bpfreeclassifier__lr": [1e-7, 0.02]}
    search = GridSearchCV(pipeline, grid, cv=2).fit(x, y)
    assert search.best_params_["bpfreeclassifier__lr"] == 0.02
    assert search.best_score_ > 0.85
    calibrated = CalibratedClassifierCV(classifier(), cv=2).fit(x, y)
    assert calibrated.predict_proba(x).shape == (150, 3)
    assert calibrated.score(x, y) > 0.85


@pytest.mark.parametrize(("load", "passes"), [(load_breast_cancer, 25), (load_digits, 15)], ids=["breast-cancer", "digits"])
def test_as_good_as_the_mlp_of_scikit_learn(load: Any, passes: int) -> None:
    """Cross-validated, within a point; equal hidden sizes, passes, rate and batches (seconds: benchmarks/sklearn_mlp.py)."""
    x, y = load(return_X_y=True)
    options: dict[str, Any] = {"batch_size": 64, "random_state": 0}
    theirs = MLPClassifier((64,), learning_rate_init=3e-3, max_iter=passes, **options)
    ours = BpfreeClassifier("mono-forward", hidden=(64,), lr=3e-3, max_passes=passes, patience=None, **options)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        least = cross_val_score(make_pipeline(StandardScaler(), theirs), x, y, cv=3).mean() - 0.01
    assert cross_val_score(make_pipeline(StandardScaler(), ours), x, y, cv=3).mean() >= least


LABELS: dict[str, Any] = {
    "strings": np.array(["setosa", "versicolor", "virginica"]),
    "objects": np.array(["a", "b", "c"], dtype=object),
    "gaps": np.array([-7, 3, 1000]),
    "bool": np.array([False, True, True]),
    "floats": np.array([0.0, 2.0, 5.0]),
}


@pytest.mark.parametrize("kind", LABELS)
def test_labels_of_any_kind_come_back(kind: str, iris: tuple[np.ndarray, np.ndarray]) -> None:
    x, y = iris
    labels = LABELS[kind][y]
    fitted = classifier().fit(x, labels)
    predicted = fitted.predict(x)
    assert predicted.dtype == labels.dtype
    assert (predicted == labels).mean() > 0.85
    assert fitted.classes_.tolist() == sorted(set(labels.tolist()))
    assert (fitted.classes_[fitted.predict_proba(x).argmax(1)] == predicted).all()


def test_a_table_of_pandas_keeps_the_names_of_its_columns(iris: tuple[np.ndarray, np.ndarray]) -> None:
    x, y = iris
    table = pandas.DataFrame(x, columns=["a", "b", "c", "d"])
    fitted = classifier().fit(table, pandas.Series(y))
    assert fitted.feature_names_in_.tolist() == ["a", "b", "c", "d"]
    assert (fitted.predict(table) == classifier().fit(x, y).predict(x)).all()
    with pytest.raises(ValueError, match="feature names"):
        fitted.predict(table[["b", "a", "c", "d"]])


def test_a_sparse_table_is_made_dense_aloud_or_refused(
    iris: tuple[np.ndarray, np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    x, y = iris
    sparse = scipy.sparse.csr_matrix(x)
    with pytest.warns(SparseInputWarning, match=r"shape \(150, 4\) and is made dense"):
        fitted = classifier().fit(sparse, y)
    with pytest.warns(SparseInputWarning):
        assert (fitted.predict(sparse) == fitted.predict(x)).all()
    monkeypatch.setattr(tables, "MOST_BYTES", 1000)
    with pytest.raises(ValueError, match=r"GiB once it is dense.*TruncatedSVD"):
        classifier().fit(sparse, y)


def test_partial_fit_learns_batch_by_batch(iris: tuple[np.ndarray, np.ndarray]) -> None:
    x, y = iris
    order = np.random.default_rng(0).permutation(len(y))
    online = classifier()
    for _ in range(6):
        for rows in np.array_split(order, 3):
            online.partial_fit(x[rows], y[rows], classes=[0, 1, 2])
    assert online.score(x, y) > 0.85
    assert online.n_iter_ == len(online.history_) == 18
    later = classifier().fit(x, y)
    before = later.loss_curve_[-1]
    assert later.partial_fit(x, y).loss_curve_[-1] < before


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda c, x, y: c.partial_fit(x, y), "needs every label that there will be; give classes=np.unique(all_y)"),
        (lambda c, x, y: c.partial_fit(x, y, classes=[0, 1]), "y has the label 2, which is not among the classes [0, 1]"),
        (
            lambda c, x, y: c.partial_fit(x, y, [0, 1, 2]).partial_fit(x, y, [0, 1]),
            "classes=[0, 1] is not the same as in the first",
        ),
        (
            lambda c, x, y: c.set_params(rule_params={"schedule": "staged"}, hidden=(8, 8)).partial_fit(x, y, [0, 1, 2]),
            "in 2 phases (block 1 of 2, block 2 of 2), which partial_fit cannot; use fit",
        ),
    ],
)
def test_what_partial_fit_cannot_do(call: Any, words: str, iris: tuple[np.ndarray, np.ndarray]) -> None:
    with pytest.raises(ValueError, match=re.escape(words)):
        call(classifier(), *iris)


def test_class_weights_move_the_decision(iris: tuple[np.ndarray, np.ndarray]) -> None:
    x, y = iris
    hard = x[50:], np.where(y[50:] == 1, "b", "a")
    plain, heavy = classifier().fit(*hard), classifier(class_weight={"a": 1.0, "b": 50.0}).fit(*hard)
    assert (heavy.predict(hard[0]) == "b").sum() > (plain.predict(hard[0]) == "b").sum()
    classifier(class_weight="balanced").fit(*hard)
    with pytest.raises(ValueError, match="class_weight has the label 'c', which y does not have"):
        classifier(class_weight={"c": 2.0}).fit(*hard)
    with pytest.raises(ValueError, match="class_weight must be None, 'balanced' or a mapping"):
        classifier(class_weight=[1.0, 2.0]).fit(*hard)


def test_pickled_and_cloned(iris: tuple[np.ndarray, np.ndarray]) -> None:
    x, y = iris
    fitted = classifier("forward-forward", hidden=(32,)).fit(x, y)
    again = pickle.loads(pickle.dumps(fitted))
    np.testing.assert_array_equal(again.predict_proba(x), fitted.predict_proba(x))
    fresh = clone(fitted)
    assert not hasattr(fresh, "model_")
    np.testing.assert_array_equal(fresh.fit(x, y).predict_proba(x), fitted.predict_proba(x))
    with pytest.raises(NotFittedError):
        clone(fitted).predict(x)
    assert repr(classifier(hidden=(8,))) == (
        "BpfreeClassifier(batch_size=16, hidden=(8,), lr=0.02, max_passes=12,\n                 patience=None, random_state=0)"
    )


def test_what_training_was_like_is_kept(iris: tuple[np.ndarray, np.ndarray]) -> None:
    x, y = iris
    fitted = classifier(metric="validation-accuracy").fit(x, y)
    assert fitted.n_iter_ == len(fitted.loss_curve_) == len(fitted.validation_scores_) == 12
    of_numpy = classifier(batch_size=np.int64(16), max_passes=np.int64(12), lr=np.float32(0.02)).fit(x, y)
    assert of_numpy.n_iter_ == 12
    assert fitted.best_validation_score_ == max(fitted.validation_scores_)
    assert fitted.history_[0]["passes"] == 1 and fitted.history_[0]["train_loss"] == fitted.loss_curve_[0]
    assert fitted.decision_function(x).shape == (150, 3)
    two = classifier().fit(x[:100], y[:100])
    decision = two.decision_function(x[:100])
    assert decision.shape == (100,)
    assert ((decision > 0) == (two.predict(x[:100]) == 1)).all()


def test_the_loss_is_watched_where_few_examples_validate(iris: tuple[np.ndarray, np.ndarray]) -> None:
    x, y = iris
    by_loss = classifier().fit(x, y)
    assert by_loss.history_[0]["val_loss"] is not None
    assert classifier(metric="validation-accuracy").fit(x, y).history_[0]["val_loss"] is None
    many = np.repeat(x, 5, axis=0), np.repeat(y, 5)
    assert classifier(max_passes=1).fit(*many).history_[0]["val_loss"] is None
    with pytest.raises(ValueError, match="unknown metric 'validation-los'; did you mean validation-loss"):
        classifier(metric="validation-los").fit(x, y)


def test_without_validation_examples_the_training_examples_are_watched(iris: tuple[np.ndarray, np.ndarray]) -> None:
    x, y = iris
    fitted = classifier(validation_fraction=0).fit(x, y)
    assert fitted.best_validation_score_ == pytest.approx(fitted.score(x, y), abs=1e-9)
    assert classifier().fit(x[[0, 60, 120]], y[[0, 60, 120]]).predict(x).shape == (150,)


def test_a_cap_that_ends_training_is_told(iris: tuple[np.ndarray, np.ndarray]) -> None:
    with pytest.warns(ConvergenceWarning, match="ended at the cap of 2 passes; raise max_passes"):
        classifier(max_passes=2, patience=2).fit(*iris)
    with pytest.warns(ConvergenceWarning, match="the loss became infinite or NaN.*lower lr"):
        classifier("backprop", lr=1e30, rule_params={"optimiser": "sgd"}).fit(*iris)


def _stages(in_shape: tuple[int, ...], n_classes: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(*in_shape, 8), nn.GELU(), nn.Linear(8, n_classes))


@pytest.mark.parametrize(
    "net",
    ["mlp:8:activation=tanh", _stages, _stages((4,), 3), mlp(4, (8,), 3)],
    ids=["text", "function", "Sequential", "Chain"],
)
def test_a_net_of_ones_own(net: Any, iris: tuple[np.ndarray, np.ndarray]) -> None:
    x, y = iris
    given = pickle.dumps(net) if not isinstance(net, str) and not callable(getattr(net, "__code__", None)) else None
    assert classifier(net=net).fit(x, y).score(x, y) > 0.8
    if given is not None:
        assert pickle.dumps(net) == given  # a copy was trained


def test_rows_that_are_images_are_convolved() -> None:
    x, y = load_digits(return_X_y=True)
    x, _, y, _ = train_test_split(x, y, train_size=200, stratify=y, random_state=0)
    fitted = classifier("backprop", net="cnn3:4-4-4", in_shape=(1, 8, 8), max_passes=3).fit(x, y)
    assert fitted.model_.net.in_shape == (1, 8, 8)
    assert fitted.predict(x).shape == (200,)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"rule": "mono-forwrd"}, "unknown algorithm 'mono-forwrd'; did you mean mono-forward"),
        ({"rule": 3}, "rule must be the name of a learning rule"),
        ({"rule": MonoForward()}, "which has its hyper-parameters already; give its name to set lr"),
        ({"rule_params": {"no": 1}}, "unknown hyper-parameter"),
        ({"lr": -1.0}, "lr must be"),
        ({"hidden": ()}, "hidden must hold the width of each hidden layer, such as (256, 256), got ()"),
        ({"hidden": "256"}, "got '256'"),
        ({"hidden": (8, 0)}, "got (8, 0)"),
        ({"net": 7}, "net must be a text such as 'mlp:2x256'"),
        ({"net": mlp(5, (8,), 3)}, "the net takes (5,) and has 3 classes, but X has examples of (4,) and 3 classes"),
        ({"in_shape": (1, 8, 8)}, "in_shape must be (features,) or (channels, height, width) with 4 values"),
        ({"validation_fraction": 1.0}, "validation_fraction must be from 0 to less than 1, got 1.0"),
        ({"max_passes": "all"}, "max_passes must be a whole number or 'auto', got 'all'"),
        ({"max_passes": 0}, "max_passes must be at least 1"),
        ({"max_passes": None}, "max_passes must be a whole number or 'auto', got None"),
        ({"patience": 0}, "patience must be at least 1"),
        ({"device": "cuda:99"}, "cannot use device 'cuda:99'"),
        ({"dtype": "float16"}, "dtype must be 'float32' or 'float64', got 'float16'"),
        ({"batch_size": 0}, "batch_size must be a whole number from 1 up, got 0"),
    ],
)  # fmt: skip
def test_parameters_that_cannot_be_used(options: dict[str, Any], words: str, iris: tuple[np.ndarray, np.ndarray]) -> None:
    with pytest.raises(ValueError, match=re.escape(words)) as caught:
        classifier(**options).fit(*iris)
    assert "\n" not in str(caught.value)


def test_a_rule_that_is_made_is_taken(iris: tuple[np.ndarray, np.ndarray]) -> None:
    x, y = iris
    assert classifier(MonoForward(lr=0.02), lr=None).fit(x, y).score(x, y) > 0.85
