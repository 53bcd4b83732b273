"""CodeCarbon's offline tracker over the same window: a second opinion of a larger scope, never a result.

It takes the whole machine: processor and memory, modelled where not measured, and every graphics board. Only the offline tracker
is used: without a network, the online one silently assumes the grid of Quebec.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from bpfree.meter.carbon import carbon_factor
from bpfree.meter.quiet import quiet_codecarbon
from bpfree.units import J_PER_WH

__all__ = ["CrossCheck", "codecarbon_window"]

SCOPE = "machine by CodeCarbon: processor, memory and all graphics boards, modelled where not measured"


@dataclass
class CrossCheck:
    """What CodeCarbon measured in the window; ``None`` until the window is closed, or where it measured nothing."""

    scope: str = SCOPE
    joules: float | None = None
    co2e_g: float | None = None
    reason: str | None = "the window is still open"


@contextmanager
def codecarbon_window(country: str) -> Iterator[CrossCheck]:
    """Run CodeCarbon's offline tracker during a window. It writes no file and uses no network.

    Raises:
        UnknownNameError: a country that its table does not hold.
    """
    factor = carbon_factor(country)
    assert factor is not None
    check = CrossCheck()
    with quiet_codecarbon(), warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # its new way to write no file is not in 3.0
        from codecarbon import OfflineEmissionsTracker  # slow to import

        tracker = OfflineEmissionsTracker(
            country_iso_code=factor.country,
            save_to_file=False,
            log_level="critical",
            allow_multiple_runs=True,
            measure_power_secs=1,
        )
        tracker.start()
    try:
        yield check
    finally:
        with quiet_codecarbon():
            tracker.stop()
        data = tracker.final_emissions_data
        if data is not None and data.energy_consumed > 0:
            check.joules, check.reason = data.energy_consumed * 1000 * J_PER_WH, None
            check.co2e_g = data.emissions * 1000
        else:
            check.reason = "CodeCarbon measured nothing in this window"
