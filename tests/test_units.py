"""Units as people read them."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bpfree import units
from bpfree.errors import UsageError
from bpfree.units import check_limit, parse_bytes


def test_joules_to_kilowatt_hours() -> None:
    assert units.j_to_kwh(3.6e6) == 1.0
    assert units.J_PER_WH == 3600.0


@pytest.mark.parametrize(
    ("function", "value", "text"),
    [
        (units.format_energy, 0.0, "0 mJ"),
        (units.format_energy, 0.0012, "1.2 mJ"),
        (units.format_energy, 1.0, "1 J"),
        (units.format_energy, 999.4, "999 J"),
        (units.format_energy, 999.9, "1 kJ"),
        (units.format_energy, 5e12, "5000 GJ"),
        (units.format_energy, 1234.5, "1.23 kJ"),
        (units.format_energy, 2e6, "2 MJ"),
        (units.format_energy, 3.21e9, "3.21 GJ"),
        (units.format_energy, -12.0, "-12 J"),
        (units.format_time, 2e-6, "2 µs"),
        (units.format_time, 0.0123, "12.3 ms"),
        (units.format_time, 0.9999, "1 s"),
        (units.format_time, 1.0, "1 s"),
        (units.format_time, 119.0, "119 s"),
        (units.format_time, 200.0, "3 min 20 s"),
        (units.format_time, 7199.4, "119 min 59 s"),
        (units.format_time, 7200.0, "2 h 00 min"),
        (units.format_time, 9000.0, "2 h 30 min"),
        (units.format_time, math.inf, "never"),
        (units.format_bytes, 1.0, "1 B"),
        (units.format_bytes, 1000, "1000 B"),
        (units.format_bytes, 1023, "1023 B"),
        (units.format_bytes, 1024, "1 KiB"),
        (units.format_bytes, 1.5 * 2**20, "1.5 MiB"),
        (units.format_bytes, 2**30, "1 GiB"),
        (units.format_bytes, 3 * 2**40, "3 TiB"),
        (units.format_count, 7, "7"),
        (units.format_count, 3.4e9, "3.4 G"),
        (units.format_count, 12_300, "12.3 k"),
        (units.format_co2, 0.0005, "500 µg"),
        (units.format_co2, 1.5, "1.5 g"),
        (units.format_co2, 2500.0, "2.5 kg"),
        (units.format_percent, 0.9785, "97.85"),
        (units.format_percent, 1.0, "100.00"),
    ],
)
def test_numbers_are_read_as_people_read_them(function, value: float, text: str) -> None:
    assert function(value) == text


@pytest.mark.parametrize(
    "function",
    [
        units.format_energy,
        units.format_time,
        units.format_bytes,
        units.format_count,
        units.format_co2,
        units.format_percent,
    ],
)
def test_what_was_not_measured_is_a_dash_never_zero(function) -> None:
    assert function(None) == "–"


def test_percent_digits() -> None:
    assert units.format_percent(0.12345, 1) == "12.3"


_PREFIXES = {"G": 1e9, "M": 1e6, "k": 1e3, "": 1.0, "m": 1e-3}


@given(st.floats(1e-3, 1e12))
def test_what_is_read_is_what_was_meant(energy_j: float) -> None:
    """Three digits are right, and nothing below the largest unit has an exponent or four digits before the point."""
    number, unit = units.format_energy(energy_j).split(" ")
    assert float(number) * _PREFIXES[unit.removesuffix("J")] == pytest.approx(energy_j, rel=0.006)
    assert "e" not in number
    assert len(number.partition(".")[0]) <= 3 or energy_j >= 999.5e9


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2GiB", 2**31),
        ("1.5 GB", 1_500_000_000),
        ("800kib", 800 * 1024),
        ("12", 12),
        ("3 B", 3),
        (".5MiB", 2**19),
        ("1TB", 10**12),
    ],
)
def test_bytes_are_read_with_their_unit(text: str, expected: int) -> None:
    assert parse_bytes(text) == expected


@pytest.mark.parametrize("text", ["2 bananas", "", "GiB", "-1GiB", "0", "1e9", "2 Gi B", "0.1B"])
def test_what_is_no_amount_of_bytes_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="--max-memory must be bytes above 0 with a unit"):
        parse_bytes(text)


@pytest.mark.parametrize("value", [0.0, -1.0, float("nan"), float("inf")])
def test_a_limit_that_nothing_keeps_is_refused(value: float) -> None:
    check_limit("max_seconds", None)
    check_limit("max_seconds", 1e-9)
    with pytest.raises(UsageError, match="--max-seconds must be above 0"):
        check_limit("max_seconds", value)
