"""What :func:`bpfree.fit` returns: a trained rule that predicts, and how it was trained."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from bpfree.algorithms import Algorithm, State
from bpfree.data import Dataset
from bpfree.errors import DataError, UsageError
from bpfree.models import Model, save
from bpfree.models.model import Answer
from bpfree.nets import Chain
from bpfree.numerics.products import products_in
from bpfree.records import HistoryEntry
from bpfree.rulesets import Patience
from bpfree.train.drawing import as_chart, as_html
from bpfree.train.evaluation import Evaluation, evaluate
from bpfree.train.given import check_data
from bpfree.train.health import Health

if TYPE_CHECKING:
    import altair
    import pandas

    from bpfree.meter import Reading

__all__ = ["FitResult", "as_frame", "best_of"]


@dataclass(frozen=True)
class FitResult:
    """A trained net, how it was trained, and what that cost.

    :meth:`predict`, :meth:`predict_proba` and :meth:`scores` take raw examples (arrays, tensors, tables), as the data set was
    made of them, and normalise them as in training. A notebook shows a result as a short table with its curve.

    Attributes:
        net: restored to the best validation state, in evaluation mode: a plain ``nn.Module`` that takes normalised examples.
            Where the rule does not predict by the net's output (Forward-Forward's goodness, sums over heads), calling it raises
            a UsageError that names :meth:`predict`.
        state: heads and whatever else the algorithm needs to predict.
        model: rule, net, state and normalisation together, in the phase that training reached.
        status: ``"ok"``, or ``"diverged"`` when the loss or the validation scores became NaN or infinite.
        val_accuracy: of the restored state, a fraction; None if no pass was finite.
        passes: in total, over all phases.
        history: every pass.
        reading: time and energy of the whole training, validation included; None without a meter. Of a training that was resumed
            from a checkpoint, only of the part since then.
        health: dead units, tied scores and accuracy by block of the restored state; None where it diverged.
        data: what it was trained on.
        seed: of the training.
    """

    net: Chain = field(repr=False)
    state: State = field(repr=False)
    algorithm: Algorithm
    status: Literal["ok", "diverged"]
    val_accuracy: float | None
    passes: int
    history: tuple[HistoryEntry, ...] = field(repr=False)
    reading: Reading | None = field(repr=False)
    health: Health | None = field(repr=False)
    data: Dataset
    model: Model = field(repr=False)
    seed: int

    def predict(self, x: Any, channels: str = "auto") -> Answer:
        """Classes (n,) of raw examples x: a tensor for a tensor, else a numpy array; int64, or names as in ``data.classes``.

        Args:
            channels: how four axes are read where the shape of an example does not tell, see :func:`bpfree.data.from_arrays`.

        Raises:
            DataError: examples of another shape or kind, or one that has no prediction, since its scores are not finite.
        """
        return self.model.predict(x, channels)

    def predict_proba(self, x: Any, channels: str = "auto") -> Answer:
        """Softmax of the scores, (n, classes) float64; how well it is calibrated depends on the rule.

        Raises:
            DataError: as :meth:`predict`.
        """
        return self.model.predict_proba(x, channels)

    def scores(self, x: Any, channels: str = "auto") -> Answer:
        """Class scores (n, classes) of raw examples x; the greatest is the class.

        Raises:
            DataError: examples of another shape or kind.
        """
        return self.model.scores(x, channels)

    def evaluate(self, split: str = "validation", data: Dataset | None = None) -> Evaluation:
        """Accuracy, mean cross-entropy and hits of a split.

        Args:
            split: ``"train"``, ``"validation"`` or ``"test"``; choose by validation and read test once.
            data: another data set than that of the training, with the same normalisation.

        Raises:
            UnknownNameError: there is no such split.
            TestSplitError: the test split was asked of data that do not hold it.
            DataError: other data with examples of another shape, or with classes that were not trained.
        """
        data = self.data if data is None else data
        check_data(data)
        if data is not self.data:
            self._check_alike(data)
        mode = self.net.training
        with products_in(self.model.precision):
            result = evaluate(self.algorithm, self.net, self.state, data, split, self.model.phase, with_loss=True)
        self.net.train(mode)
        return result

    def _check_alike(self, data: Dataset) -> None:
        ours = self.data
        if data.in_shape != ours.in_shape:
            raise DataError(f"{data.name} has examples of shape {data.in_shape}, the net takes {ours.in_shape}; give such ones")
        if data.n_classes > ours.n_classes:
            raise DataError(
                f"{data.name} has {data.n_classes} classes, the net was trained on {ours.n_classes}; leave out those of the "
                "others, or train a net for all of them"
            )
        if data.classes is not None and data.classes != (ours.classes or ())[: data.n_classes]:
            named = "numbers" if ours.classes is None else ", ".join(map(str, ours.classes))
            raise DataError(
                f"{data.name} has the classes {', '.join(map(str, data.classes))}, in training they were {named}; name them alike"
            )

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the model as one safetensors file, which :func:`bpfree.models.load` and ``bpfree predict`` read.

        Beside it a model card of facts is written, ``model.md`` for ``model.safetensors``.

        A net that :func:`bpfree.nets.build` or :func:`bpfree.nets.mlp` did not make is not described in it: ``load`` must be
        given one of the same architecture.

        Raises:
            StorageError: the disk is full, read-only or not permitted; an older file stays whole.
            UsageError: ``path`` is a directory.
        """
        path = Path(path)
        if path.is_dir():
            raise UsageError(f"save takes the path of a file, got the directory {path}; use {path / 'model.safetensors'}")
        save(
            path,
            self.algorithm,
            self.net,
            self.state,
            phase=self.model.phase.index,
            data=self.data,
            val_accuracy=self.val_accuracy,
            seed=self.seed,
            precision=self.model.precision,
        )
        return path

    def to_frame(self) -> pandas.DataFrame:
        """The history as a table of pandas, one row for each pass, its number as the index.

        Raises:
            UsageError: pandas is not installed.
        """
        return as_frame([entry.model_dump() for entry in self.history], list(HistoryEntry.model_fields)).set_index("passes")

    def plot(self) -> altair.LayerChart | altair.FacetChart:
        """Validation accuracy by pass as a chart of altair, the best pass marked; ``.save("a.svg")`` writes it."""
        return as_chart(self.algorithm.name, self.history)

    def _repr_html_(self) -> str:
        time_s = self.history[-1].time_s if self.history else 0.0
        joules, energy = (self.reading.joules if self.reading is not None else None), "not metered"
        if self.reading is not None and joules is not None:
            part = self.reading.time_s < time_s  # resumed: the time is of all sittings, the reading of the last
            energy = f"{joules:.3g} J" + (f" in the {self.reading.time_s:.3g} s since it was resumed" if part else "")
        rows = {
            "rule": repr(self.algorithm),
            "data": repr(self.data),
            "status": self.status,
            "validation accuracy": "none was finite" if self.val_accuracy is None else f"{100 * self.val_accuracy:.2f} %",
            "passes": str(self.passes),
            "time": f"{time_s:.3g} s",
            "energy": energy,
        }
        return as_html(rows, [entry.val_accuracy for entry in self.history])


def best_of(history: Sequence[HistoryEntry], stop: Patience, metric: str = "validation-accuracy") -> float | None:
    """Validation accuracy (or what ``metric`` names) of the final state: of the last phase's best or last finite pass."""
    last_phase = [entry for entry in history if entry.phase == history[-1].phase]
    candidates = [entry for entry in last_phase if entry.improved or not stop.restore_best]
    known = [entry.watched(metric) for entry in candidates if entry.val_accuracy is not None]
    return known[-1] if known else None


def as_frame(rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> pandas.DataFrame:
    """Rows as a table of pandas.

    Raises:
        UsageError: pandas is not installed.
    """
    try:
        import pandas
    except ImportError as error:
        raise UsageError("to_frame needs pandas, which is not installed; use: pip install pandas") from error
    return pandas.DataFrame(list(rows), columns=list(columns))
