"""The real nvidia-ml-py binding against a simulated driver: the right joules, or null and why."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import nvml_simulation
import psutil
import pynvml
import pytest
import torch
from nvml_simulation import UUID_A, UUID_B, Driver

from bpfree.errors import DeviceError
from bpfree.meter import Meter, SourceError, detect, nvml
from bpfree.meter.reading import summed

COUNTER, POWER = f"nvml-counter:GPU-{UUID_A[:8]}", f"nvml-power:GPU-{UUID_A[:8]}"


def meter_for(uuid: str = UUID_A) -> Meter:
    """A meter of the board alone; the work of these tests is a script, so there is no device to wait for."""
    sources, missing, probe = nvml.detect_nvml(uuid)
    return Meter("cpu", sources, missing=missing, probe=probe)


def test_the_binding_has_loaded_the_simulation(driver: Driver) -> None:
    pynvml.nvmlInit()
    assert hasattr(pynvml.nvmlLib, "sim_now_ns")
    before = driver.n_calls
    nvml.detect_nvml(UUID_A)
    assert driver.n_calls > before


def test_no_simulation_remains_afterwards(driver_library: Path) -> None:
    with nvml_simulation.loaded(driver_library):
        pynvml.nvmlInit()
    try:
        left = ctypes.CDLL(nvml_simulation.SONAME)
    except OSError:
        return
    assert not hasattr(left, "sim_now_ns")


def test_millijoules_become_joules_once(driver: Driver) -> None:
    meter = meter_for()
    with meter.window() as window:
        driver.board(UUID_A).energy_mj += 12_345
        assert window.joules_so_far() == pytest.approx(12.345)
    reading = window.reading
    assert reading is not None
    assert reading.joules == pytest.approx(12.345)
    assert (reading.method, reading.scope, reading.measured) == ("nvml-counter", "gpu-board", True)
    assert not reading.resolved, "a window of microseconds is below 20 periods of the counter"


def test_counter_and_power_are_one_board_not_two(driver: Driver) -> None:
    sources, missing, _ = nvml.detect_nvml(UUID_A)
    assert [source.name for source in sources] == [COUNTER, POWER]
    assert [source.name for source in summed(sources)] == [COUNTER]
    assert missing == []


def test_boards_are_found_by_uuid_when_torch_numbers_them_in_another_order(
    driver: Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """CUDA_VISIBLE_DEVICES=1,0: torch's device 0 is the driver's second board."""
    torch_order = (UUID_B, UUID_A)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda index: SimpleNamespace(uuid=torch_order[index]))
    for index, uuid in enumerate(torch_order):
        found = detect(f"cuda:{index}", powercap_root=Path("/nonexistent"))
        source = found.sources[0]
        assert source.name == f"nvml-counter:GPU-{uuid[:8]}"
        before = source.joules()
        driver.board(uuid).energy_mj += 7_000
        assert source.joules() - before == pytest.approx(7.0)
        other = driver.board(torch_order[1 - index])
        other.energy_mj += 9_000
        assert source.joules() - before == pytest.approx(7.0), "the other board's joules must not show"


def test_a_device_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with pytest.raises(DeviceError, match="cuda:2 is not there: torch sees 2"):
        detect("cuda:2")


def test_a_reset_counter_is_null_not_negative_and_not_a_guess(driver: Driver) -> None:
    with meter_for().window() as window:
        driver.board(UUID_A).energy_mj = 3
    reading = window.reading
    assert reading is not None
    assert reading.joules is None
    assert reading.sources[COUNTER] is None
    assert "went back from 5000000 to 3" in reading.reasons["energy.joules"]


def test_after_a_reset_the_next_window_measures_again(driver: Driver) -> None:
    meter = meter_for()
    with meter.window():
        driver.board(UUID_A).energy_mj = 3
    with meter.window() as window:
        driver.board(UUID_A).energy_mj += 2_000
    assert window.reading is not None
    assert window.reading.joules == pytest.approx(2.0)


def test_a_wrap_of_the_64_bit_counter_goes_on_counting(driver: Driver) -> None:
    gpu = driver.board(UUID_A)
    gpu.energy_mj = 2**64 - 40
    with meter_for().window() as window:
        gpu.energy_mj = 60
    assert window.reading is not None
    assert window.reading.joules == pytest.approx(0.1)


def test_a_counter_that_stands_still_is_null_not_zero(driver: Driver) -> None:
    with meter_for().window() as window:
        time.sleep(0.01)
    reading = window.reading
    assert reading is not None
    assert reading.joules is None
    assert "too short for a counter" in reading.reasons[f"energy.sources.{COUNTER}"]


def test_power_without_counter_is_integrated(tmp_path: Path) -> None:
    """A driver before Volta: the symbol is missing altogether."""
    if nvml_simulation.compiler() is None:
        pytest.skip("needs a C compiler")
    library = nvml_simulation.compile_driver(tmp_path / "old", "-DNO_COUNTER")
    with nvml_simulation.loaded(library) as driver:
        meter = meter_for()
        driver.board(UUID_A).power_mw = 200_000
        with meter.window() as window:
            time.sleep(0.35)
        reading = window.reading
    assert reading is not None
    assert reading.method == "nvml-power"
    assert reading.joules == pytest.approx(200 * reading.time_s, rel=0.05)
    assert [entry.name for entry in meter.missing] == [COUNTER]
    assert "Volta" in meter.missing[0].cure


@pytest.mark.parametrize("error", [pynvml.NVML_ERROR_NOT_SUPPORTED, pynvml.NVML_ERROR_NO_PERMISSION])
def test_a_refused_counter_is_missing_with_its_cure(driver: Driver, error: int) -> None:
    driver.board(UUID_A).energy_error = error
    sources, missing, _ = nvml.detect_nvml(UUID_A)
    assert [source.name for source in sources] == [POWER]
    assert [entry.name for entry in missing] == [COUNTER]
    cure = "administrator" if error == pynvml.NVML_ERROR_NO_PERMISSION else "Volta"
    assert cure in missing[0].cure


def test_everything_refused_is_null_with_both_reasons(driver: Driver) -> None:
    gpu = driver.board(UUID_A)
    gpu.energy_error = gpu.power_error = gpu.probe_error = pynvml.NVML_ERROR_NO_PERMISSION
    with meter_for().window() as window:
        pass
    reading = window.reading
    assert reading is not None
    assert (reading.joules, reading.sources) == (None, {})
    assert reading.reasons["energy.joules"].count("Insufficient Permissions") == 2


def test_mig_is_refused_because_its_energy_is_that_of_all_instances(driver: Driver) -> None:
    driver.board(UUID_A).mig = 1
    sources, missing, _ = nvml.detect_nvml(UUID_A)
    assert sources == []
    assert "MIG is on" in missing[0].reason
    assert "nvidia-smi -mig 0" in missing[0].cure


def test_a_mig_instance_is_refused(driver: Driver) -> None:
    driver.board(UUID_A).uuid = f"MIG-{UUID_A}".encode()
    sources, missing, _ = nvml.detect_nvml(UUID_A)
    assert sources == []
    assert "MIG instance" in missing[0].reason


def test_an_unknown_uuid_is_missing(driver: Driver) -> None:
    sources, missing, probe = nvml.detect_nvml("cccccccc-0000")
    assert (sources, probe) == ([], None)
    assert "no board of this UUID" in missing[0].reason


def test_without_a_driver_the_cure_is_named(driver: Driver) -> None:
    driver.set("sim_init_error", pynvml.NVML_ERROR_DRIVER_NOT_LOADED)
    sources, missing, probe = nvml.detect_nvml(UUID_A)
    driver.set("sim_init_error", 0)
    assert (sources, probe) == ([], None)
    assert "--gpus all" in missing[0].cure


def test_a_co_tenant_is_flagged_and_the_joules_stay(driver: Driver) -> None:
    gpu = driver.board(UUID_A)
    gpu.n_processes = 2
    gpu.pids[0], gpu.pids[1] = os.getpid(), 4_000_000
    with meter_for().window() as window:
        gpu.energy_mj += 1_000
    reading = window.reading
    assert reading is not None
    assert reading.joules == pytest.approx(1.0)
    assert reading.flags["co-tenant"].startswith("another process computed on the same board")


def test_alone_on_the_board_nothing_is_flagged(driver: Driver) -> None:
    gpu = driver.board(UUID_A)
    gpu.n_processes, gpu.pids[0] = 1, os.getpid()
    with meter_for().window() as window:
        gpu.energy_mj += 1_000
    assert window.reading is not None
    assert window.reading.flags == {}


def test_in_a_container_one_stranger_is_ourselves(driver: Driver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    gpu = driver.board(UUID_A)
    gpu.n_processes, gpu.pids[0] = 1, 4_000_000
    _, _, probe = nvml.detect_nvml(UUID_A)
    assert probe is not None
    assert probe.others() is None
    gpu.n_processes, gpu.pids[1] = 2, 4_000_001
    assert probe.others() is not None


@pytest.mark.parametrize(
    ("busy_board", "busy_processor", "scopes", "words"),
    [
        (False, False, {"gpu-board", "cpu-package"}, None),
        (True, False, {"gpu-board"}, "another process computed on the same board"),
        (False, True, {"gpu-board"}, None),  # what the processor does draws nothing from the board
        (False, True, {"gpu-board", "cpu-package"}, "other processes kept 1 of 2 processors busy"),
    ],
)
def test_a_board_is_idle_without_other_processes_and_a_package_without_load(
    driver: Driver, monkeypatch: pytest.MonkeyPatch, busy_board: bool, busy_processor: bool, scopes: set[str], words: str | None
) -> None:
    monkeypatch.setattr(psutil, "cpu_count", lambda: 2)
    now = (1.0, 10.0, 100.0)
    monkeypatch.setattr(nvml, "processor_seconds", lambda process: now)
    gpu = driver.board(UUID_A)
    gpu.n_processes, gpu.pids[0] = int(busy_board), 4_000_000
    _, _, probe = nvml.detect_nvml(UUID_A)
    assert probe is not None
    probe.open()
    now = (1.0, 10.0 + 10.0 * busy_processor, 120.0)
    assert probe.not_idle(scopes) == words


@pytest.mark.parametrize("error", [pynvml.NVML_ERROR_GPU_IS_LOST, pynvml.NVML_ERROR_DRIVER_NOT_LOADED])
def test_a_driver_that_vanishes_in_mid_run_leaves_what_was_measured_until_then(driver: Driver, error: int) -> None:
    meter = meter_for()
    with meter.window() as window:
        driver.board(UUID_A).energy_mj += 4_000
        assert window.joules_so_far() == pytest.approx(4.0)
        driver.set("sim_error", error)
        assert window.joules_so_far() is None
    driver.set("sim_error", 0)
    reading = window.reading
    assert reading is not None
    assert reading.joules is None
    assert reading.time_s > 0
    assert "4 J had been measured by then" in reading.reasons[f"energy.sources.{COUNTER}"]
    assert "NVML says" in reading.reasons["energy.joules"]


def test_a_dead_source_raises_what_the_driver_said(driver: Driver) -> None:
    source = nvml.detect_nvml(UUID_A)[0][0]
    source.joules()
    driver.set("sim_error", pynvml.NVML_ERROR_GPU_IS_LOST)
    with pytest.raises(SourceError, match="GPU is lost"):
        source.joules()
    driver.set("sim_error", 0)


def live_reading(driver: Driver, *, counter_w: float, power_w: float, seconds: float):
    """A window over a counter that runs at ``counter_w`` while the power query answers ``power_w``."""
    gpu = driver.board(UUID_A)
    meter = meter_for()
    meter.sources[1].period_s = 0.02  # this driver's power is of now, not the average of a second
    driver.go_live(gpu, watts=power_w)
    with meter.window() as window:
        time.sleep(seconds)
        # The live counter follows power_mw; what it is to count more or less is added by hand.
        gpu.energy_mj += round((counter_w - power_w) * window.elapsed_s() * 1e3)
    return window


def test_counter_and_integral_that_agree_are_not_flagged(driver: Driver) -> None:
    window = live_reading(driver, counter_w=300.0, power_w=300.0, seconds=2.2)
    reading = window.reading
    assert reading is not None
    assert reading.joules == pytest.approx(300 * reading.time_s, rel=0.02)
    assert reading.sources[POWER] == pytest.approx(300 * reading.time_s, rel=0.02)
    assert reading.resolved
    assert reading.flags == {}


def test_a_disagreement_above_five_per_cent_is_flagged(driver: Driver) -> None:
    reading = live_reading(driver, counter_w=300.0, power_w=270.0, seconds=2.2).reading
    assert reading is not None
    assert reading.joules == pytest.approx(300 * reading.time_s, rel=0.02)
    assert POWER in reading.flags["cross-check"]
    assert "(-10." in reading.flags["cross-check"] or "(-9." in reading.flags["cross-check"]


def test_the_timeline_shows_spiky_clocks(driver: Driver) -> None:
    from bpfree.meter.timeline import spread

    gpu = driver.board(UUID_A)
    meter = meter_for()
    with meter.window() as window:
        for clock_mhz in (1410, 210, 1410, 210, 1410):
            gpu.sm_clock_mhz = clock_mhz
            time.sleep(0.15)
    clocks = spread(window.timeline, "clock_mhz")
    assert clocks is not None
    assert (clocks.least, clocks.most) == (210, 1410)
    assert clocks.variation > 0.2
    first = window.timeline[0]
    assert (first.power_w, first.utilisation, first.temperature_c, first.memory_bytes) == (
        100.0,
        0.5,
        40,
        1 << 30,
    )
    times = [sample.time_s for sample in window.timeline]
    assert times == sorted(times)
    assert times[0] < 0.1


def test_what_the_probe_may_not_read_is_none(driver: Driver) -> None:
    driver.board(UUID_A).probe_error = pynvml.NVML_ERROR_NOT_SUPPORTED
    _, _, probe = nvml.detect_nvml(UUID_A)
    assert probe is not None
    sample = probe.sample(0.0)
    assert (sample.clock_mhz, sample.utilisation, sample.temperature_c, sample.memory_bytes) == (None,) * 4
    assert sample.power_w == 100.0


def test_the_sampler_takes_less_than_a_hundredth_of_a_processor(driver: Driver) -> None:
    driver.go_live(driver.board(UUID_A), watts=100.0)
    with meter_for().window() as window:
        time.sleep(2.0)
    assert window.reading is not None
    assert len(window.timeline) >= 15, "ten samples a second are promised"
    assert 0 < window.sampler_cpu_s < 0.01 * window.reading.time_s


def test_another_process_loads_it_as_a_driver_is_loaded(driver_library: Path) -> None:
    """Nothing is patched here: the loader finds the library by its name, as on a machine with a driver."""
    code = "import pynvml\nfrom bpfree.meter.nvml import detect_nvml\nprint([m.reason for m in detect_nvml('aaaa')[1]])\n"
    environment = {**os.environ, "LD_LIBRARY_PATH": str(driver_library.parent)}
    out = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True).stdout
    assert "no board of this UUID" in out


def test_the_driver_says_its_version(driver: Driver) -> None:
    assert nvml.driver_version() == "999.12.3"
    driver.set("sim_error", pynvml.NVML_ERROR_GPU_IS_LOST)
    assert nvml.driver_version() is None
