"""On a real NVIDIA board: counter against integral, idle, load, overhead. ``make test-gpu`` runs it."""

from __future__ import annotations

import pytest
import torch

from bpfree.meter import Meter, live_memory, reset_device_peak
from bpfree.meter.calibrate import calibrate, matrix_load
from bpfree.meter.memory import device_peak
from bpfree.meter.repeat import measure_repeated

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
    pytest.mark.timeout(300),
]


def test_calibration_passes() -> None:
    checks = calibrate(Meter.detect("cuda"), seconds=21.0, load=matrix_load("cuda", 4096))
    for check in checks:
        print(check.text)
    assert all(check.passed is not False for check in checks)


def test_work_costs_more_than_idling_and_is_resolved() -> None:
    meter = Meter.detect("cuda")
    idle_w = meter.measure_idle(3.0)
    repeated = measure_repeated(meter, matrix_load("cuda", 4096), min_s=3.0)
    reading = repeated.reading
    assert reading.joules is not None
    assert reading.resolved
    counter = next(name for name in reading.sources if name.startswith("nvml-counter"))
    assert (reading.sources[counter] or 0) / reading.time_s > 1.2 * idle_w[counter]


def test_live_bytes_are_at_most_what_the_allocator_gave() -> None:
    a = torch.randn(1024, 1024, device="cuda")
    a @ a  # the library's workspace
    torch.cuda.synchronize()
    before = torch.cuda.memory_allocated()
    reset_device_peak("cuda")
    live = live_memory(lambda: [a @ a for _ in range(4)])
    assert live.peak_bytes == 4 * a.nbytes
    allocated = device_peak("cuda").allocated_bytes
    assert allocated is not None
    assert allocated - before >= live.peak_bytes
