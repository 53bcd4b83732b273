"""Grams of CO2 equivalent: joules x PUE x the factor of a stated grid. Without joules or without a grid there is none.

The table is CodeCarbon's (annual means by country, from Our World in Data and Ember), read from the installed package and never
from the network. CodeCarbon itself takes the world mean for a country it does not know; here that is an error.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from importlib.metadata import version

from bpfree.countries import check_country
from bpfree.errors import UsageError
from bpfree.meter.quiet import quiet_codecarbon
from bpfree.units import j_to_kwh

__all__ = ["CarbonFactor", "carbon_factor", "co2e_g"]


@dataclass(frozen=True)
class CarbonFactor:
    """Grams of CO2 equivalent in a kilowatt-hour of a grid, where the number is from, and its year."""

    g_per_kwh: float
    source: str
    year: int | None
    country: str | None = None


def carbon_factor(country: str | None = None, grid_g_per_kwh: float | None = None) -> CarbonFactor | None:
    """The factor of a country (ISO 3166-1: ``"POL"``, ``"PL"`` or in small letters), or one given in g/kWh, which comes first.

    Returns:
        ``None`` when neither is given.

    Raises:
        UnknownNameError: a country that the table does not hold; the nearest codes are offered.
        UsageError: a factor that is negative or not a number.
    """
    if grid_g_per_kwh is not None:
        if not (math.isfinite(grid_g_per_kwh) and grid_g_per_kwh >= 0):
            raise UsageError(f"grid_g_per_kwh must be a number from 0 up, got {grid_g_per_kwh}")
        return CarbonFactor(float(grid_g_per_kwh), "given", None, country)
    if country is None:
        return None
    with quiet_codecarbon():
        from codecarbon.input import DataSource  # slow to import

        table = DataSource().get_global_energy_mix_data()
    code = check_country(country, table)
    entry = table[code]
    source = f"codecarbon {version('codecarbon')} table, {code}"
    return CarbonFactor(float(entry["carbon_intensity"]), source, int(entry["year"]), code)


def co2e_g(joules: float | None, factor: CarbonFactor | None, pue: float = 1.0) -> float | None:
    """Grams of CO2 equivalent of ``joules``.

    Args:
        pue: power usage effectiveness of the building, 1 or more: joules at its meter for one in the machine.

    Returns:
        ``None`` without joules or without a factor.

    Raises:
        UsageError: a PUE below 1.
    """
    if not (math.isfinite(pue) and pue >= 1):
        raise UsageError(f"pue must be a number from 1 up (1 is no overhead), got {pue}")
    if joules is None or factor is None:
        return None
    return j_to_kwh(joules) * pue * factor.g_per_kwh
