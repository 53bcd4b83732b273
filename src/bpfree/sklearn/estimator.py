"""A classifier with scikit-learn's interface, trained by any rule."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any, Self, cast, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_random_state
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data

from bpfree.algorithms import Algorithm, State
from bpfree.data import Dataset
from bpfree.errors import UsageError, unknown_name
from bpfree.models import Model
from bpfree.nets import Chain
from bpfree.records import HistoryEntry
from bpfree.rulesets import Metric, Patience
from bpfree.sklearn.parts import as_class_weights, as_net, as_rule, plain
from bpfree.sklearn.tables import as_batch, as_dataset, as_dense, check_in_shape
from bpfree.train import ShortBudgetWarning, default_stop, fit, initialise, training
from bpfree.train.given import check_whole

__all__ = ["BpfreeClassifier"]


FEW_TO_VALIDATE = 100
"""Validation examples below which their loss is watched. Breast-cancer, 46 of them, backprop and Mono-Forward at lr 1e-3, 40
passes, five folds: 96.1 and 96.3 % of the test examples by accuracy, 97.5 and 97.7 % by loss. Digits, 144 of them, 60 passes:
97.2 and 96.8 % by accuracy, 96.3 and 96.7 % by loss."""


class BpfreeClassifier(ClassifierMixin, BaseEstimator):
    """A neural network trained without backpropagation (or with it), as a scikit-learn classifier.

    Features are standardised by the training examples, so raw ones can be given; a scaler before it does no harm. A share of the
    examples validates: it ends training and chooses the best pass.

    Sample weights are not taken: data sets weigh classes, never single examples, so that every rule sees the same batches.
    ``class_weight`` is taken by the rules that declare ``weighs_classes``; the others refuse it.

    Args:
        rule: a name (``bpfree list rules``) such as ``"mono-forward"`` or ``"backprop"``, or an instance of a rule.
        hidden: width of each hidden layer.
        activation: of the hidden layers: ``relu``, ``leaky-relu``, ``tanh`` or ``identity``.
        net: another net than an MLP of ``hidden``: a text such as ``"cnn3"``, a :class:`bpfree.nets.Chain`, an ``nn.Sequential``,
            or a function of (in_shape, n_classes) that returns one.
        in_shape: (channels, height, width) of the images that the rows of X are; None for a table.
        lr: learning rate; None for the rule's default.
        weight_decay: None for the rule's default.
        rule_params: further hyper-parameters of the rule, such as ``{"schedule": "staged"}``.
        batch_size: examples in a step, at most all of the training examples.
        max_passes: cap on the passes over the training examples; ``"auto"`` is 100, or more on small sets
            (:func:`bpfree.train.default_stop`).
        patience: passes without improvement on validation before training ends, None for never; ``"auto"`` is 10, or a tenth of
            the passes on small sets.
        validation_fraction: of the examples of every class; with 0 the training examples validate too.
        metric: what ends training and chooses the best pass: ``"validation-accuracy"``, ``"balanced-accuracy"`` or
            ``"validation-loss"`` (cross-entropy of the scores). ``"auto"`` is the accuracy, but the loss where fewer than 100
            examples validate: their accuracy has few values, and the first pass of many equal ones would be chosen.
        class_weight: ``"balanced"``, or a mapping of labels to weights, or None.
        dtype: number format of the net, ``"float32"`` or ``"float64"``.
        device: ``"cpu"`` or ``"cuda"``.
        random_state: a number, a ``RandomState`` or None: of the split, the initial parameters and the order of batches.
        verbose: show a progress bar.

    Attributes:
        classes_: (K,) the labels, sorted.
        n_features_in_, feature_names_in_: of X.
        model_: the trained :class:`bpfree.models.Model`; ``model_.net`` is the net.
        n_iter_: passes over the training examples.
        history_: one mapping for each pass: accuracies, loss, seconds.
        loss_curve_: mean training loss of each pass.
        validation_scores_: validation accuracy of each pass.
        best_validation_score_: validation accuracy of the parameters that are kept; None where no pass was finite.
    """

    def __init__(
        self,
        rule: str | Algorithm = "mono-forward",
        *,
        hidden: Sequence[int] = (256, 256),
        activation: str = "relu",
        net: Any = None,
        in_shape: tuple[int, ...] | None = None,
        lr: float | None = None,
        weight_decay: float | None = None,
        rule_params: Mapping[str, Any] | None = None,
        batch_size: int = 64,
        max_passes: int | str = "auto",
        patience: int | str | None = "auto",
        validation_fraction: float = 0.15,
        metric: str = "auto",
        class_weight: str | Mapping[Any, float] | None = None,
        dtype: str = "float32",
        device: str = "cpu",
        random_state: Any = None,
        verbose: bool = False,
    ) -> None:
        self.rule = rule
        self.hidden = hidden
        self.activation = activation
        self.net = net
        self.in_shape = in_shape
        self.lr = lr
        self.weight_decay = weight_decay
        self.rule_params = rule_params
        self.batch_size = batch_size
        self.max_passes = max_passes
        self.patience = patience
        self.validation_fraction = validation_fraction
        self.metric = metric
        self.class_weight = class_weight
        self.dtype = dtype
        self.device = device
        self.random_state = random_state
        self.verbose = verbose

    def fit(self, X: Any, y: Any) -> Self:
        """Train on X (n, features) and labels y (n,) of any kind.

        Raises:
            ValueError: data or parameters that cannot be used, in one line with the cure.
        """
        x, y = self._checked(X, y, reset=True)
        self.classes_, labels = np.unique(y, return_inverse=True)
        self._check_classes()
        seed = self._seed()
        shape = check_in_shape(self.in_shape, x.shape[1])
        data = as_dataset(x, labels.astype(np.int64), len(self.classes_), shape, self.validation_fraction, seed)
        data = self._weighted(data)
        batch_size = self._batch_size(data)
        algorithm, net = self._rule(), self._net(shape)
        stop = self._stop(data.n("train"), data.n("validation"), batch_size)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ShortBudgetWarning)  # the warning below says it in scikit-learn's words
            result = fit(algorithm, net, data, stop, seed=seed, batch_size=batch_size, progress=self.verbose)
        self.model_, self._prepared = result.model, data.prepared
        self._state: State = result.state
        self._note(result.history, result.val_accuracy)
        self._seed_of_next = seed + 1
        if result.status == "diverged":
            self._warn("the loss became infinite or NaN, and training ended; use a lower lr")
        elif result.passes >= stop.max_passes and stop.patience is not None:
            self._warn(f"training ended at the cap of {stop.max_passes} passes; raise max_passes")
        return self

    def partial_fit(self, X: Any, y: Any, classes: Any = None) -> Self:
        """One pass over X and y, from where the estimator is: after :meth:`fit`, or from fresh parameters.

        The first call fixes the classes and the standardisation, so its examples should be like those to come.

        Args:
            classes: (K,) every label that there will be; needed in the first call.

        Raises:
            ValueError: as :meth:`fit`; a first call without classes, a label that is not among them, or a rule of several phases.
        """
        first = not hasattr(self, "model_")
        x, y = self._checked(X, y, reset=first)
        if first:
            if classes is None:
                raise UsageError(
                    "the first call of partial_fit needs every label that there will be; give classes=np.unique(all_y)"
                )
            self.classes_ = np.unique(np.asarray(classes))
            self._check_classes()
        elif classes is not None and not np.array_equal(np.unique(np.asarray(classes)), self.classes_):
            raise UsageError(
                f"classes={list(classes)} is not the same as in the first call, {self.classes_.tolist()}; leave it out"
            )
        if unknown := sorted(set(y.tolist()) - set(self.classes_.tolist()), key=str):
            raise UsageError(f"y has the label {unknown[0]!r}, which is not among the classes {self.classes_.tolist()}; give all")
        labels = np.searchsorted(self.classes_, y).astype(np.int64)
        shape = check_in_shape(self.in_shape, x.shape[1])
        if first:
            self._begin(x, labels, shape)
        assert self._prepared is not None
        data = self._weighted(as_batch(x, labels, len(self.classes_), shape, self._prepared))
        algorithm, net = self.model_.algorithm, self.model_.net
        _check_one_phase(algorithm, net)
        stop = Patience(None, 1, restore_best=False)
        size, seed = self._batch_size(data), self._seed_of_next
        (progress,) = training(algorithm, net, data, stop, batch_size=size, seed=seed, state=self._state)
        self._seed_of_next += 1
        net.eval()
        self.model_.guard_net()
        self._note([progress.entry], progress.val_accuracy, goes_on=not first)
        return self

    def predict(self, X: Any) -> NDArray[Any]:
        """The label of each row of X."""
        numbers = self._answer("predict", X)
        return self.classes_[numbers]

    def predict_proba(self, X: Any) -> NDArray[np.float64]:
        """Softmax of the scores, (n, K), in the order of ``classes_``; how well it is calibrated depends on the rule."""
        return self._answer("predict_proba", X)

    def decision_function(self, X: Any) -> NDArray[np.float64]:
        """Class scores (n, K); for two classes (n,), the score of the second less that of the first."""
        scores = self._answer("scores", X).astype(np.float64)
        return scores[:, 1] - scores[:, 0] if scores.shape[1] == 2 else scores

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags

    def _checked(self, X: Any, y: Any, *, reset: bool) -> tuple[NDArray[Any], NDArray[Any]]:
        x, y = validate_data(self, X, y, reset=reset, accept_sparse=True, dtype=[np.float64, np.float32])
        check_classification_targets(y)
        return as_dense(x), y

    def _answer(self, method: str, X: Any) -> NDArray[Any]:
        """Of a method of the model, for a table."""
        check_is_fitted(self, "model_")
        x = as_dense(validate_data(self, X, reset=False, accept_sparse=True, dtype=[np.float64, np.float32]))
        shape = self.model_.net.in_shape
        return getattr(self.model_, method)(x.reshape(len(x), *shape), "first" if len(shape) == 3 else "auto")

    def _check_classes(self) -> None:
        if len(self.classes_) < 2:
            raise UsageError(
                f"a classifier needs at least 2 classes, got 1 class: {self.classes_.tolist()}; add examples of another"
            )

    def _rule(self) -> Algorithm:
        return as_rule(self.rule, {**(self.rule_params or {}), "lr": self.lr, "weight_decay": self.weight_decay})

    def _net(self, in_shape: tuple[int, ...]) -> Chain:
        if self.dtype not in ("float32", "float64"):
            raise UsageError(f"dtype must be 'float32' or 'float64', got {self.dtype!r}")
        net = as_net(self.net, self.hidden, self.activation, in_shape, len(self.classes_))
        return net.to(getattr(torch, self.dtype))

    def _weighted(self, data: Dataset) -> Dataset:
        return data.weighted(as_class_weights(self.class_weight, self.classes_)).to(self.device)

    def _batch_size(self, data: Dataset) -> int:
        size = plain(self.batch_size)
        check_whole("batch_size", size, 1)
        return min(size, data.n("train"))

    def _seed(self) -> int:
        return int(check_random_state(self.random_state).randint(2**31 - 1))

    def _stop(self, n_train: int, n_validation: int, batch_size: int) -> Patience:
        usual = default_stop(n_train, batch_size)
        chosen: list[int | None] = []
        for name, value, default in (
            ("patience", self.patience, usual.patience),
            ("max_passes", self.max_passes, usual.max_passes),
        ):
            if isinstance(value, str):
                if value != "auto":
                    raise UsageError(f"{name} must be a whole number or 'auto', got {value!r}")
                value = default
            chosen.append(plain(value))
        patience, max_passes = chosen
        if max_passes is None:
            raise UsageError("max_passes must be a whole number or 'auto', got None")
        metric = self.metric
        if metric == "auto":
            metric = "validation-loss" if n_validation < FEW_TO_VALIDATE else "validation-accuracy"
        if metric not in get_args(Metric):
            raise unknown_name("metric", metric, ("auto", *get_args(Metric)))
        return Patience(patience, max_passes, metric=cast(Metric, metric))

    def _begin(self, x: NDArray[Any], labels: NDArray[np.int64], shape: tuple[int, ...]) -> None:
        """Fresh parameters and the standardisation of the first examples."""
        seed = self._seed()
        data = as_dataset(x, labels, len(self.classes_), shape, 0.0, seed)
        algorithm, net = self._rule(), self._net(shape)
        _check_one_phase(algorithm, net)
        self._state = initialise(algorithm, net, seed, torch.device(self.device))
        self._prepared, self._seed_of_next = data.prepared, seed
        self.model_ = Model(algorithm, net, self._state, algorithm.phases(net)[-1], data.prepared)

    def _note(self, history: Sequence[HistoryEntry], best: float | None, *, goes_on: bool = False) -> None:
        """Write the attributes that say how training went."""
        before = self.history_ if goes_on else []
        self.history_ = [*before, *(entry.model_dump() for entry in history)]
        self.n_iter_ = len(self.history_)
        self.loss_curve_ = [entry["train_loss"] for entry in self.history_]
        self.validation_scores_ = [entry["val_accuracy"] for entry in self.history_]
        self.best_validation_score_ = best

    def _warn(self, words: str) -> None:
        warnings.warn(f"{type(self).__name__}: {words}", ConvergenceWarning, stacklevel=3)


def _check_one_phase(algorithm: Algorithm, net: Chain) -> None:
    phases = algorithm.phases(net)
    if len(phases) > 1:
        names = ", ".join(phase.name for phase in phases)
        raise UsageError(f"{algorithm.name} trains this net in {len(phases)} phases ({names}), which partial_fit cannot; use fit")
