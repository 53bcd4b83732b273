"""Grams of CO2e against hand computation; nothing is guessed."""

from __future__ import annotations

import pytest
from meter_fakes import Clock

from bpfree.countries import THREE_LETTERS
from bpfree.errors import UnknownNameError, UsageError
from bpfree.meter import Meter, ReplaySource, carbon_factor, co2e_g
from bpfree.meter.tracker import codecarbon_window

# g/kWh of 2023 in CodeCarbon 3's table: Our World in Data, from Ember and the Energy Institute.
GRIDS = {"POL": 661.926, "FRA": 56.039, "USA": 369.473}


@pytest.mark.parametrize(("country", "g_per_kwh"), GRIDS.items())
def test_a_fixed_trace_equals_the_hand_computation(clock: Clock, country: str, g_per_kwh: float) -> None:
    source = ReplaySource([0.0, 100.0], [0.0, 18_000.0], clock=clock)  # 180 W
    with Meter("cpu", [source], clock=clock).window() as window:
        clock.now_s += 100.0
    assert window.reading is not None
    factor = carbon_factor(country)
    assert factor is not None
    assert (factor.country, factor.year) == (country, 2023)
    assert factor.source.startswith("codecarbon 3")
    # 18,000 J are 0.005 kWh
    assert co2e_g(window.reading.joules, factor) == pytest.approx(0.005 * g_per_kwh, rel=1e-3)
    assert co2e_g(window.reading.joules, factor, pue=1.2) == pytest.approx(0.006 * g_per_kwh, rel=1e-3)


def test_a_given_factor_comes_before_the_country() -> None:
    factor = carbon_factor("POL", grid_g_per_kwh=100.0)
    assert factor is not None
    assert (factor.g_per_kwh, factor.source, factor.year) == (100.0, "given", None)
    assert co2e_g(3.6e6, factor) == pytest.approx(100.0)


def test_no_country_is_no_factor_and_no_joules_is_no_co2e() -> None:
    assert carbon_factor(None, None) is None
    assert co2e_g(100.0, None) is None
    assert co2e_g(None, carbon_factor("POL")) is None


@pytest.mark.parametrize(
    ("code", "country"),
    [("pol", "POL"), (" POL ", "POL"), ("PL", "POL"), ("pl", "POL"), ("uk", "GBR"), ("GB", "GBR"), ("de", "DEU"), ("CH", "CHE")],
)
def test_two_letters_and_small_ones_are_understood(code: str, country: str) -> None:
    factor = carbon_factor(code)
    assert factor is not None
    assert factor.country == country
    assert factor == carbon_factor(country)


def test_every_code_of_two_letters_is_one_of_the_table() -> None:
    from codecarbon.input import DataSource

    table = DataSource().get_global_energy_mix_data()
    assert set(THREE_LETTERS.values()) == set(table)
    assert all(len(code) == 2 and code.isupper() for code in THREE_LETTERS)
    odd = {code for code, three in THREE_LETTERS.items() if code[0] != three[0]}
    assert odd == {"EL", "KM", "KP", "KY", "PM", "RS", "UK"}, "all others begin alike"


@pytest.mark.parametrize("code", ["XX", "P", "pola"])
def test_what_is_no_code_is_refused(code: str) -> None:
    with pytest.raises(UnknownNameError):
        carbon_factor(code)


def test_an_unknown_country_is_refused_with_the_nearest_codes() -> None:
    """CodeCarbon takes the world mean, 475 g/kWh, without an error."""
    with pytest.raises(UnknownNameError, match=r"did you mean .*POL"):
        carbon_factor("POX")


def test_a_name_instead_of_a_code_is_answered_with_the_code() -> None:
    with pytest.raises(UsageError, match="POL for Poland"):
        carbon_factor("Poland")


def test_a_country_without_an_intensity_of_its_own_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    from codecarbon.input import DataSource

    table = {"AAA": {"country_name": "A", "carbon_intensity": None, "year": 2023}}
    monkeypatch.setattr(DataSource, "get_global_energy_mix_data", lambda self: table)
    with pytest.raises(UnknownNameError):
        carbon_factor("AAA")


@pytest.mark.parametrize("factor", [-1.0, float("nan"), float("inf")])
def test_a_factor_that_is_none_is_refused(factor: float) -> None:
    with pytest.raises(UsageError, match="grid_g_per_kwh"):
        carbon_factor(None, factor)


@pytest.mark.parametrize("pue", [0.9, 0.0, float("nan")])
def test_a_pue_below_one_is_refused(pue: float) -> None:
    with pytest.raises(UsageError, match="pue"):
        co2e_g(1.0, carbon_factor("POL"), pue=pue)


def test_codecarbons_tracker_agrees_with_our_factor_and_names_its_scope(tmp_path, monkeypatch) -> None:
    import time

    monkeypatch.chdir(tmp_path)
    with codecarbon_window("FRA") as check:
        time.sleep(1.2)
        assert check.joules is None
    assert check.joules is not None
    assert check.joules > 0
    assert check.co2e_g == pytest.approx(co2e_g(check.joules, carbon_factor("FRA")), rel=1e-3)
    assert check.scope.startswith("machine by CodeCarbon")
    assert list(tmp_path.iterdir()) == [], "it writes no file"


def test_codecarbons_tracker_refuses_what_it_would_guess() -> None:
    with pytest.raises(UnknownNameError), codecarbon_window("XXX"):
        pass
