"""What a run costs: seconds, joules, grams of CO2e, FLOPs, bytes. Unmeasured is ``None``, with its reason.

::

    meter = Meter.detect("cpu")
    with meter.window() as window:
        ...
    window.reading.joules, window.reading.reasons
"""

from bpfree.meter.carbon import CarbonFactor, carbon_factor, co2e_g
from bpfree.meter.detect import Detection, detect
from bpfree.meter.estimate import EstimateSource
from bpfree.meter.flops import IN_PLACE_FORMULAS, FlopCount, FlopCountError, count_flops, counting_flops
from bpfree.meter.memory import (
    DevicePeak,
    Followed,
    Labels,
    LiveMemory,
    device_peak,
    followed_memory,
    live_memory,
    reset_device_peak,
    resident_peak_bytes,
    tensor_bytes,
)
from bpfree.meter.meter import Meter, Window
from bpfree.meter.reading import Reading
from bpfree.meter.repeat import Repeated, measure_repeated
from bpfree.meter.replay import ReplayProbe, ReplaySource
from bpfree.meter.sources import EnergySource, Missing, SourceError
from bpfree.meter.timeline import Probe, Sample, Spread, Trace, spread

__all__ = [
    "IN_PLACE_FORMULAS",
    "CarbonFactor",
    "Detection",
    "DevicePeak",
    "EnergySource",
    "EstimateSource",
    "FlopCount",
    "FlopCountError",
    "Followed",
    "Labels",
    "LiveMemory",
    "Meter",
    "Missing",
    "Probe",
    "Reading",
    "Repeated",
    "ReplayProbe",
    "ReplaySource",
    "Sample",
    "SourceError",
    "Spread",
    "Trace",
    "Window",
    "carbon_factor",
    "co2e_g",
    "count_flops",
    "counting_flops",
    "detect",
    "device_peak",
    "followed_memory",
    "live_memory",
    "measure_repeated",
    "reset_device_peak",
    "resident_peak_bytes",
    "spread",
    "tensor_bytes",
]
