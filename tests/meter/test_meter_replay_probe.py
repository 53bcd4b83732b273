"""A recorded timeline plays back, says that it is one, and survives being written and read."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bpfree.errors import UsageError
from bpfree.meter import ReplayProbe, Sample, Trace

SAMPLES = [Sample(0.0, clock_mhz=1410), Sample(1.0, clock_mhz=210), Sample(2.0, clock_mhz=1400, power_w=250.0)]


@pytest.mark.parametrize(("time_s", "clock_mhz"), [(0.0, 1410), (0.99, 1410), (1.0, 210), (2.0, 1400), (2.01, None)])
def test_the_last_sample_up_to_that_time(time_s: float, clock_mhz: int | None) -> None:
    sample = ReplayProbe(SAMPLES, name="a.jsonl").sample(time_s)
    assert (sample.time_s, sample.clock_mhz) == (time_s, clock_mhz)


def test_before_the_first_sample_nothing_is_read() -> None:
    assert ReplayProbe([Sample(1.0, clock_mhz=1)], name="a").sample(0.5) == Sample(0.5)


@pytest.mark.parametrize("samples", [[], SAMPLES[::-1]])
def test_a_trace_that_cannot_be_played_is_refused(samples: list[Sample]) -> None:
    with pytest.raises(UsageError, match=r"a\.jsonl"):
        ReplayProbe(samples, name="a.jsonl")


def test_it_never_passes_for_a_measurement() -> None:
    assert ReplayProbe(SAMPLES, name="a.jsonl").origin == "replayed from a.jsonl, not measured in this run"


def test_nothing_sampled_is_a_reason_for_every_quantity() -> None:
    assert set(Trace(()).reasons().values()) == {"nothing was sampled"}


VALUES = st.none() | st.floats(1e-3, 1e6).map(lambda value: round(value, 6))


@given(st.lists(st.tuples(VALUES, VALUES, VALUES), max_size=20))
def test_a_trace_reads_as_it_was_written_and_nothing_unread_becomes_a_number(values: list) -> None:
    samples = tuple(
        Sample(float(k), power_w=power, clock_mhz=clock, temperature_c=warmth) for k, (power, clock, warmth) in enumerate(values)
    )
    text = Trace(samples).lines({"arm": "backprop"})
    assert Trace.read(text) == Trace(samples)
    header, *rows = (json.loads(line) for line in text.splitlines())
    for name in ("power_w", "clock_mhz", "temperature_c"):
        in_none = all(getattr(sample, name) is None for sample in samples)
        assert (name in header["reasons"]) == in_none
        assert sum(name in row for row in rows) == sum(getattr(sample, name) is not None for sample in samples)
