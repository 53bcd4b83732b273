"""Numbers as people write them in YAML, checked, and the base of what holds them."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

__all__ = ["Count", "Fraction", "Natural", "NonNegative", "Part", "Positive", "Share", "Word", "number"]


def number(value: object) -> object:
    """Refuse ``true`` as a number; take ``1e-4``, which YAML 1.1 reads as text; make -0.0 into 0.0."""
    if isinstance(value, bool):
        raise ValueError("a number is needed, not true or false")
    if isinstance(value, str):
        try:
            value = float(value) if not value.strip().lstrip("+-").isdigit() else int(value)
        except ValueError:
            raise ValueError("a number is needed, not text") from None
    return 0.0 if isinstance(value, float) and value == 0.0 else value


NonNegative = Annotated[float, BeforeValidator(number), Field(ge=0, allow_inf_nan=False)]
Positive = Annotated[float, BeforeValidator(number), Field(gt=0, allow_inf_nan=False)]
Fraction = Annotated[float, BeforeValidator(number), Field(gt=0, lt=1)]
Share = Annotated[float, BeforeValidator(number), Field(gt=0, le=1)]
Count = Annotated[int, BeforeValidator(number), Field(ge=1)]
Natural = Annotated[int, BeforeValidator(number), Field(ge=0)]
Word = Annotated[str, Field(pattern=r"\S")]


class Part(BaseModel):
    """A part of a ruleset: frozen, without unknown keys."""

    model_config = ConfigDict(extra="forbid", frozen=True)
