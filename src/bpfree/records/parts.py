"""Parts of a record: what was measured of one run, with units in the names."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, SerializerFunctionWrapHandler, WithJsonSchema, model_serializer

from bpfree.ends import EndReason
from bpfree.text import readable

__all__ = [
    "ByClass",
    "Carbon",
    "Energy",
    "Flops",
    "Health",
    "HistoryEntry",
    "Inference",
    "InferenceAt",
    "Memory",
    "PhaseEnd",
    "Reached",
    "RecordPart",
    "Status",
    "TuningCost",
]

Status = Literal["ok", "diverged", "failed", "interrupted"]

Reached = Annotated[
    float,
    Field(ge=0, allow_inf_nan=True),
    WithJsonSchema({"anyOf": [{"type": "number", "minimum": 0}, {"const": "Infinity"}]}),
]
"""What it took to reach a target; infinite where it was never reached (the one quantity that may be)."""


class RecordPart(BaseModel):
    """Frozen, without unknown fields; infinity is a string in JSON."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=True, ser_json_inf_nan="strings")


class Energy(RecordPart):
    """Energy of one window.

    ``joules`` is gross, ``net_joules`` gross minus idle power x time. ``resolved`` is false when the window is
    shorter than 20 periods of the counter. ``sources`` holds the joules of each source by name.
    """

    joules: float | None
    net_joules: float | None
    method: str | None
    scope: str | None
    measured: bool
    resolved: bool
    sources: dict[str, float | None] = Field(default_factory=dict)


class Carbon(RecordPart):
    """The factor by which joules became grams of CO2 equivalent."""

    g_per_kwh: float | None
    pue: float
    source: str | None
    year: int | None


class TuningCost(RecordPart):
    """What the search for this arm's hyper-parameters cost, shared by all seeds of the arm."""

    joules: float | None
    time_s: float | None
    trials: int
    passes: int
    method: str | None


class InferenceAt(RecordPart):
    """Cost of using the trained model at one batch size: seconds of ``n_calls`` single calls, and examples a second."""

    latency_p50_s: float
    latency_p95_s: float | None
    images_per_s: float
    joules_per_1000: float | None
    n_calls: int


class Inference(RecordPart):
    """Cost of using the trained model, at ``batch_size`` examples a call; ``latency_s`` is the median.

    ``by_batch`` has the same at several sizes, by size; records of earlier versions have none.
    """

    batch_size: int | None
    latency_s: float | None
    joules_per_1000: float | None
    by_batch: dict[str, InferenceAt] = Field(default_factory=dict)


class Flops(RecordPart):
    """Floating-point operations (2 per multiply-add) of a whole training step, and of scoring one batch.

    ``train_step`` is the mean over phases, less orthogonalisation and what closes a pass. ``run_total`` is all of a run: phases
    by their passes, orthogonalisation by its share of steps, the solves at the ends of passes, features of the training split
    that are computed once for a phase; validation is not in it.
    ``mean_step`` is that over the steps of the run.
    """

    train_step: int | None
    evaluation: int | None
    orthogonalisation: int | None
    batch_size: int
    method: str | None
    run_total: int | None = None
    mean_step: int | None = None


class Memory(RecordPart):
    """Bytes by use; ``activations`` is the live peak of a step beyond everything that persists.

    ``feature_cache``: what a rule computes once for all examples and keeps (Cascaded-Forward, on request).
    ``allocator_peak``: the most that torch's allocator of a GPU had handed out over the whole run, validation included.
    """

    weights: int | None
    auxiliary: int | None
    gradients: int | None
    optimiser: int | None
    activations: int | None
    feature_cache: int = 0
    method: str | None
    allocator_peak: int | None = None


class Health(RecordPart):
    """Signs of a net that has stopped to learn, of the final state (``bpfree.train.health``): shares and accuracies by block.

    ``tied_scores`` is one share. All are empty where the run did not end well, and in records of earlier versions.
    """

    dead_units: list[float] = Field(default_factory=list)
    tied_scores: list[float] = Field(default_factory=list)
    block_accuracy: list[float] = Field(default_factory=list)


class HistoryEntry(RecordPart):
    """One pass: clock and joules run from the start of the window, validation included (``eval_time_s`` of it).

    ``train_loss`` and ``val_accuracy`` are null where the loss was not finite; ``improved``: the best pass of its phase so far.
    ``flops``: of training from the start to the end of this pass, as ``flops.run_total`` counts them.
    """

    passes: int
    phase: int
    train_loss: float | None
    val_accuracy: float | None
    val_balanced_accuracy: float | None = None
    val_loss: float | None = None
    improved: bool = False
    time_s: float
    eval_time_s: float | None = None
    joules: float | None
    flops: int | None = None

    def watched(self, metric: str) -> float | None:
        """What a stop rule of this metric has watched (``"validation-loss"``)."""
        by_metric = {"validation-loss": self.val_loss, "balanced-accuracy": self.val_balanced_accuracy}
        return by_metric.get(metric, self.val_accuracy)


class PhaseEnd(RecordPart):
    """Why a phase ended after how many passes of its own: ``itself`` where the rule had no more to do, ``hours`` by the clock."""

    phase: int
    reason: EndReason
    passes: int


class ByClass(RecordPart):
    """The test split by class: ``n`` examples and ``recall`` (null where there are none) of each, in the order of the labels.

    ``labels`` names the classes; it is left out where they are 0, 1, 2 and so on.
    ``balanced_accuracy`` is the mean of the recalls, ``majority_share`` what always naming the most frequent class would score.
    """

    n: list[int]
    recall: list[float | None]
    balanced_accuracy: float
    majority_share: float
    labels: tuple[int, ...] | tuple[str, ...] | None = None

    @model_serializer(mode="wrap")
    def _without_null_labels(self, serialise: SerializerFunctionWrapHandler) -> dict[str, Any]:
        plain = serialise(self)
        if self.labels is None:
            del plain["labels"]
        return plain

    def class_words(self, values: Sequence[str]) -> list[str]:
        """A text for each class, with the name of the class before it where it has one."""
        if self.labels is None:
            return list(values)
        return [f"{readable(str(label))}: {value}" for label, value in zip(self.labels, values, strict=True)]
