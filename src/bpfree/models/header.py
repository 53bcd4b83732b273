"""The header of a saved model: what is not a tensor."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from bpfree.data import ClassNames, Columns
from bpfree.numerics.products import Precision

__all__ = ["SCHEMA", "ModelHeader"]

SCHEMA = 1
"""Version of the header."""


class ModelHeader(BaseModel):
    """What is not a tensor.

    Attributes:
        net: specification, such as ``"mlp:2x256"``; null for a net that has none (a user's own module).
        phase: index of the phase whose scores the model gives.
        dataset, split_digest: what it was trained on; null where that is unknown.
        normalised: the file has the numbers by which stored values are normalised; if not, they are taken as they are.
        pixels: stored values are whole, from 0 to 255.
        data_note: one line about data and split. data_digest: of contents, split and normalisation.
        n_train, n_validation: examples of the training; null where data were not given.
        val_accuracy: of these weights, a fraction; null where it is unknown.
        test_accuracy, n_test: of these weights on the test split; null where it was not read.
        ruleset_digest: of the rules under which it was trained; null for a training under none.
        seed: of the training, from which the initial weights can be drawn again; null where it is unknown.
        classes: labels as the user has them, in the order of the scores; null where they are 0 to n_classes - 1.
        columns: how rows of a table become examples; null where it was trained on arrays.
        precision: of products, in training and since (:mod:`bpfree.numerics.products`).
    """

    model_config = ConfigDict(frozen=True, extra="ignore", populate_by_name=True, serialize_by_alias=True)

    schema_version: int = Field(default=SCHEMA, alias="schema")
    algorithm: str
    params: dict[str, bool | int | float | str]
    net: str | None
    in_shape: tuple[int, ...]
    n_classes: int
    dtype: Literal["float32", "float64", "bfloat16", "float16"]
    phase: int
    dataset: str | None
    split_digest: str | None
    normalised: bool
    pixels: bool
    val_accuracy: float | None
    data_note: str | None = None
    data_digest: str | None = None
    n_train: int | None = None
    n_validation: int | None = None
    test_accuracy: float | None = None
    n_test: int | None = None
    ruleset_digest: str | None = None
    seed: int | None = None
    precision: Precision = "float32"
    classes: ClassNames | None = None
    columns: Columns | None = None
    versions: dict[str, str]

    @model_validator(mode="after")
    def _parts_fit(self) -> ModelHeader:
        if self.classes is not None and (len(self.classes) != self.n_classes or len(set(self.classes)) != self.n_classes):
            raise ValueError(f"{self.n_classes} classes need as many names, all different, got {len(self.classes)}")
        if self.columns is not None and self.in_shape != (self.columns.n_features,):
            raise ValueError(f"examples of shape {self.in_shape} cannot come from {self.columns.n_features} features of a table")
        return self
