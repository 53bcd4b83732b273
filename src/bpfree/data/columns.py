"""How the rows of a table of pandas become examples: numbers as they are, categories one-hot in a fixed order.

The description is made of the whole table, before it is split, so that every split seed gives examples of one shape. It travels
with the data set and with the model's file, and new rows are encoded by it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from bpfree.errors import DataError

__all__ = ["Column", "Columns", "check_present", "column_words"]

MOST_CATEGORIES = 1000
"""Of one column; with more it is a name or a number of the row, from which nothing can be learned."""

_SHOWN = 10

_DECIMAL_COMMA = re.compile(r"[-+]?\d*,\d+")


class Column(BaseModel):
    """One column: ``categories``, sorted, are one feature each; null for a column of numbers, which is one feature."""

    model_config = ConfigDict(frozen=True)

    name: str
    categories: tuple[int, ...] | tuple[str, ...] | None = None

    @property
    def n_features(self) -> int:
        """Values of an example that it gives."""
        return 1 if self.categories is None else len(self.categories)


class Columns(BaseModel):
    """The columns that are learned from, in the order of the features, and the one that is learned.

    Attributes:
        target: name of the column of the labels.
        columns: all others but that of the split.
    """

    model_config = ConfigDict(frozen=True)

    target: str
    columns: tuple[Column, ...]

    @classmethod
    def of(cls, frame: Any, target: str, name: str) -> Columns:
        """Describe a table.

        Args:
            frame: of pandas, with the columns to learn from and no others.
            name: of the data set, for messages.

        Raises:
            DataError: values that are missing or infinite, or columns that are neither numbers nor categories.
        """
        check_present(frame, name)
        return cls(target=target, columns=tuple(_column(frame[each], each, name) for each in frame.columns))

    @property
    def n_features(self) -> int:
        """Values of an example."""
        return sum(column.n_features for column in self.columns)

    @property
    def texts(self) -> tuple[str, ...]:
        """Columns whose categories are texts: a file must not give those that look like numbers as numbers."""
        return tuple(each.name for each in self.columns if each.categories is not None and isinstance(each.categories[0], str))

    def encode(self, frame: Any, name: str) -> NDArray[np.float64]:
        """Examples (n, n_features) of a table of pandas; its columns may stand in any order, and others are left out.

        Raises:
            DataError: a column or a value is missing, a category was not in the table that was described, or a column of numbers
                holds something else.
        """
        present = [str(each) for each in frame.columns]
        if missing := [column.name for column in self.columns if column.name not in present]:
            raise DataError(
                f"{name} has no column {column_words(missing)}, which was learned from; it has: {column_words(present)}"
            )
        frame = frame.set_axis(present, axis=1)[[column.name for column in self.columns]]
        if frame.shape[1] != len(self.columns):
            raise DataError(f"{name} has several columns of one name; give each a name of its own")
        check_present(frame, name)
        x = np.empty((len(frame), self.n_features))
        first = 0
        for column in self.columns:
            last = first + column.n_features
            x[:, first:last] = _encoded(frame[column.name], column, name)
            first = last
        return x


def check_present(frame: Any, name: str) -> None:
    """Refuse a table with missing values.

    Raises:
        DataError: with their number in each column.
    """
    counts = frame.isna().sum()
    if lost := [f"{column!r} {count}" for column, count in counts.items() if count]:
        shown = ", ".join(lost[:_SHOWN]) + (", ..." if len(lost) > _SHOWN else "")
        raise DataError(
            f"{name} has missing values, by column: {shown}; fill them in (frame.fillna(frame.median(numeric_only=True))), "
            "or drop those rows (frame.dropna()) or columns"
        )


def column_words(names: Sequence[str]) -> str:
    """Names of columns for a message: the first few."""
    return ", ".join(map(repr, names[:_SHOWN])) + (f", ... ({len(names)} in all)" if len(names) > _SHOWN else "") or "none"


def _column(series: Any, name: str, table: str) -> Column:
    if _is_number(series):
        if infinite := int(np.isinf(series.to_numpy(dtype=np.float64)).sum()):
            raise DataError(f"{table}: column {name!r} has {infinite} infinite values; replace them, or drop those rows")
        return Column(name=name)
    values = _values(series)
    categories = sorted(set(values)) if _of_one_kind(values) else []
    if not categories:
        kinds = sorted({type(value).__name__ for value in values[:1000]})
        raise DataError(
            f"{table}: column {name!r} is {series.dtype} ({', '.join(kinds)}), neither numbers nor categories (text); drop it, "
            "or make it numbers (a date: (frame[c] - frame[c].min()).dt.days) or text (frame[c].astype(str))"
        )
    if len(categories) > MOST_CATEGORIES:
        raise DataError(
            f"{table}: column {name!r} has {len(categories)} categories in {len(values)} rows, at most {MOST_CATEGORIES} can be "
            "one-hot; drop it, or group them"
        )
    if isinstance(categories[0], str) and all(_DECIMAL_COMMA.fullmatch(each) or each.isdigit() for each in categories):
        raise DataError(f"{table}: column {name!r} has numbers written as text, such as {categories[0]!r}; write 1.5, not 1,5")
    return Column(name=name, categories=tuple(categories))


def _is_number(series: Any) -> bool:
    """Whole, floating or bool, of numpy, pandas (nullable) or pyarrow."""
    return not hasattr(series.dtype, "categories") and getattr(series.dtype, "kind", "O") in "biuf"


def _values(series: Any) -> list[Any]:
    return series.astype(object).tolist()


def _of_one_kind(values: Sequence[Any]) -> bool:
    return all(isinstance(value, str) for value in values) or all(
        isinstance(value, int) and not isinstance(value, bool) for value in values
    )


def _encoded(series: Any, column: Column, table: str) -> NDArray[np.float64]:
    """(n, 1) numbers, or (n, categories) zeros and ones."""
    if column.categories is None:
        if not _is_number(series):
            first = next((value for value in _values(series) if not isinstance(value, int | float)), None)
            raise DataError(f"{table}: column {column.name!r} must hold numbers, got {series.dtype}, such as {first!r}; mend it")
        return series.to_numpy(dtype=np.float64)[:, None]
    place = {category: number for number, category in enumerate(column.categories)}
    values = _values(series)
    if unknown := [value for value in values if value not in place]:
        raise DataError(
            f"{table}: column {column.name!r} has {unknown[0]!r} ({len(unknown)} rows with such values), but training had "
            f"{column_words([str(each) for each in column.categories])}; drop those rows, or train with examples of them"
        )
    numbers = np.array([place[value] for value in values], dtype=np.int64)
    return np.asarray(numbers[:, None] == np.arange(len(place)), dtype=np.float64)
