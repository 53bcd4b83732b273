"""Every published number as it is read from its CSV, and the messages for what is not published.

``published/numbers.txt`` was compared with the CSVs when it was stored: per cent became fractions, watt-hours joules, and the
runs of one arm a mean with twice their standard deviation. After a change of a table, read the difference of what this writes::

    python -m tests.test_published_values
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bpfree import published
from bpfree.errors import UnknownNameError, UsageError
from bpfree.published.numbers import number_of

STORED = Path(__file__).parent / "published" / "numbers.txt"


def lines() -> Iterator[str]:
    """A line for each table, one for its origin, and one for each of its numbers: what is published, with five digits."""
    for table in published.tables():
        origin = published.source(table)
        yield f"{table}: second hand {origin.second_hand}; {origin.words}"
        for number in published.numbers(table):
            assert number.table == table
            assert number.second_hand == origin.second_hand
            shown = {"source": number.source.removeprefix(origin.words)}
            for field in dataclasses.fields(number):
                value = getattr(number, field.name)
                if field.name not in ("table", "source", "second_hand") and value not in (None, ""):
                    shown[field.name] = text(value)
            yield "  " + "; ".join(f"{name} {value}" for name, value in shown.items() if value)


def text(value: Any) -> str:
    if isinstance(value, tuple):
        return " to ".join(map(text, value))
    return f"{value:.5g}" if isinstance(value, float) else str(value)


def test_every_number_of_every_table() -> None:
    assert list(lines()) == STORED.read_text(encoding="utf-8").splitlines()


def test_what_several_rows_share_is_that_of_the_first() -> None:
    """A later row says ``same`` or nothing; accuracies and costs are means over the rows that have them."""
    shared = {"dataset": "mnist", "net": "mlp:1x8", "algorithm": "pepita", "variant": "staged", "protocol": "own"}
    rows = [
        shared
        | {"test_accuracy": "90", "note": "table 3", "gpu_energy_wh": "1", "time_ratio_to_bp": "2", "difference_points": "1"},
        shared | {"test_accuracy": "94", "note": "same", "gpu_energy_wh": "4", "time_ratio_to_bp": "9", "difference_points": "5"},
    ]
    number = number_of("t", rows, "A paper", second_hand=False)
    assert (number.source, number.time_ratio, number.difference) == ("A paper (table 3)", 2.0, pytest.approx(0.01))
    assert (number.accuracy, number.energy_j, number.n_runs) == (pytest.approx(0.92), pytest.approx(9000.0), "2")
    assert number.key == ("mnist", "mlp:1x8", "pepita", "staged", "own")
    assert number.spread == pytest.approx((0.92 - 0.04 * 2**0.5, 0.92 + 0.04 * 2**0.5))


@pytest.mark.parametrize(
    ("row", "n_runs", "words"),
    [
        ({"seeds": "7", "runs": "3", "test_accuracy_sd": "1"}, "7", "mean ± 2 SD of 7 runs"),
        ({"runs": "3", "test_accuracy_sd": "1"}, "3", "mean ± 2 SD of 3 runs"),
        ({"seeds": "7"}, "7", "no spread published"),
    ],
)
def test_the_number_of_runs_is_that_of_seeds_or_else_of_runs(row: dict[str, str], n_runs: str, words: str) -> None:
    place = {"dataset": "mnist", "net": "mlp:1x8", "algorithm": "pepita", "test_accuracy": "90"}
    number = number_of("t", [place | row], "A paper", second_hand=False)
    assert (number.n_runs, number.spread_words) == (n_runs, words)


def test_a_number_is_found_by_all_that_identifies_it() -> None:
    found = published.find("spyra2026-uniform", "cifar10", "mlp:3x2000", "mono-forward", "staged", "matched-passes")
    assert (found.accuracy, found.protocol) == (pytest.approx(0.6136), "matched-passes")
    assert published.find("pepita2022", "mnist", "mlp:1x1024", "pepita").accuracy == pytest.approx(0.9801)
    for table in published.tables():
        for number in published.numbers(table):
            assert published.find(table, *number.key) is number


def test_messages_name_what_was_asked_and_what_there_is() -> None:
    with pytest.raises(UnknownNameError, match=r"published table.*mf2052.*mf2025"):
        published.source("mf2052")
    with pytest.raises(UnknownNameError):
        published.numbers("mf2052")
    with pytest.raises(UsageError) as error:
        published.find("mf2025", "mnist", "mlp:2x1000", "pepita", variant="staged")
    assert str(error.value) == (
        "the published table mf2025 has no number for mnist mlp:2x1000 pepita staged; for this data set and net it has: "
        "backprop; mono-forward"
    )
    with pytest.raises(UsageError, match=r"no number for mnist mlp:9x9 pepita; for this data set and net it has: none$"):
        published.find("mf2025", "mnist", "mlp:9x9", "pepita")


if __name__ == "__main__":
    STORED.write_text("\n".join(lines()) + "\n", encoding="utf-8")
