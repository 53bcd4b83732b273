"""Energies and grams that may stand beside each other: no estimates, and one carbon factor for all.

An estimate is processor seconds times a constant: it would rank the arms by their seconds and call that energy. Grams by two
factors differ by the grids, not by the arms.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from bpfree.records import Carbon, Energy, Record
from bpfree.units import j_to_kwh

__all__ = ["carbon_words", "factors_of", "is_estimated", "on_one_grid", "without_estimate"]

ESTIMATED = (
    "it was estimated and not measured: processor seconds times a constant, by which no arm is compared; the records have it, "
    "with its interval"
)

_NOTHING = Energy(joules=None, net_joules=None, method=None, scope=None, measured=False, resolved=False)


def is_estimated(record: Record) -> bool:
    """Whether the joules of a record have an estimate in them."""
    return record.energy.joules is not None and not record.energy.measured


def without_estimate(record: Record) -> Record:
    """The record as it is compared: without energies that were estimated, of the run or of its search, and with the reason."""
    guessed, cost = is_estimated(record), record.tuning_energy
    changed: dict[str, Any] = {"reasons": dict(record.reasons)}
    if guessed:
        changed |= {
            "energy": _NOTHING,
            "co2e_g": None,
            "energy_to_target_j": None,
            "history": [entry.model_copy(update={"joules": None}) for entry in record.history],
        }
        changed["reasons"] |= dict.fromkeys(("energy", "co2e_g", "energy_to_target_j"), ESTIMATED)
    if cost is not None and (guessed or "estimate" in str(cost.method)):
        changed["tuning_energy"] = cost.model_copy(update={"joules": None})
        changed["reasons"]["tuning_energy.joules"] = ESTIMATED
    if guessed and record.inference is not None:
        by_batch = {size: cost.model_copy(update={"joules_per_1000": None}) for size, cost in record.inference.by_batch.items()}
        changed["inference"] = record.inference.model_copy(update={"joules_per_1000": None, "by_batch": by_batch})
        keys = ["inference.joules_per_1000", *(f"inference.by_batch.{size}.joules_per_1000" for size in by_batch)]
        changed["reasons"] |= dict.fromkeys(keys, ESTIMATED)
    return record.model_copy(update=changed)


def factors_of(records: Iterable[Record]) -> list[Carbon]:
    """The carbon factors by which the runs were recorded, each once, in the order in which the runs were started."""
    return list({(carbon.g_per_kwh, carbon.pue): carbon for carbon in _given(records)}.values())


def on_one_grid(records: Sequence[Record]) -> list[Record]:
    """The records with grams of the same grid: where they have several factors, or some none, the last one given serves all."""
    given = _given(records)
    return [_by(record, given[-1]) for record in records] if given else list(records)


def _given(records: Iterable[Record]) -> list[Carbon]:
    """The factors of runs that have grams, in the order in which the runs were started."""
    ordered = sorted(records, key=lambda record: record.started_at)
    return [record.carbon for record in ordered if record.co2e_g is not None]


def _by(record: Record, carbon: Carbon) -> Record:
    joules, theirs = record.energy.joules, record.carbon
    if joules is None or carbon.g_per_kwh is None or (theirs.g_per_kwh, theirs.pue) == (carbon.g_per_kwh, carbon.pue):
        return record
    reasons = {key: why for key, why in record.reasons.items() if key.split(".")[0] not in ("co2e_g", "carbon")}
    if carbon.year is None:
        reasons["carbon.year"] = "the factor was given by hand"
    grams = j_to_kwh(joules) * carbon.pue * carbon.g_per_kwh
    return record.model_copy(update={"co2e_g": grams, "carbon": carbon, "reasons": reasons})


def carbon_words(carbon: Carbon) -> str:
    """``"662 g/kWh (codecarbon 3.2.2 table, POL, 2023)"``."""
    where = ", ".join(str(part) for part in (carbon.source, carbon.year) if part is not None)
    building = "" if carbon.pue == 1 else f" × {carbon.pue:g} (PUE)"
    return f"{carbon.g_per_kwh:.3g} g/kWh{building}{f' ({where})' if where else ''}"
