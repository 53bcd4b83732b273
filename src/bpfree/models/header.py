"""The header of a saved model: what is not a tensor."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

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
        val_accuracy: of these weights, a fraction; null where it is unknown.
        seed: of the training, from which the initial weights can be drawn again; null where it is unknown.
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
    seed: int | None = None
    precision: Precision = "float32"
    versions: dict[str, str]
