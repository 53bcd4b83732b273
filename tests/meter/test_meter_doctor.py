"""What is said to the user before a run, and what a calibration finds, on simulated and absent hardware."""

from __future__ import annotations

import time
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from meter_fakes import Clock, Scripted, write_domain
from nvml_simulation import UUID_A, Driver

from bpfree.meter import Detection, Meter, detect, nvml
from bpfree.meter.calibrate import _period, calibrate, counter_period_s
from bpfree.meter.doctor import diagnose


def by_quantity(findings):
    return {finding.quantity: finding for finding in findings}


def test_without_gpu_and_rapl_energy_is_null_and_the_cures_are_named(tmp_path: Path) -> None:
    found = by_quantity(diagnose("cpu", detect("cpu", powercap_root=tmp_path)))
    assert found["time"].verdict == "measured"
    assert found["energy of the GPU"].verdict == "null"
    assert "--device cuda" in found["energy of the GPU"].cure
    assert found["energy of the processor"].verdict == "null"
    assert "virtual machine" in found["energy of the processor"].cure
    assert found["net energy"].verdict == "null"
    assert found["CO2e"].why_null == "there are no joules to compute it from"
    assert "--country" in found["CO2e"].cure
    assert found["FLOPs"].verdict == "computed"
    assert found["peak memory"].verdict == "measured"


def test_every_null_has_a_reason_and_every_number_a_way(tmp_path: Path) -> None:
    for estimate in (False, True):
        for finding in diagnose("cpu", detect("cpu", estimate=estimate, powercap_root=tmp_path)):
            assert (finding.verdict == "null") == (finding.why_null is not None) == (finding.how is None)


def test_here_the_doctor_looks_for_itself() -> None:
    assert by_quantity(diagnose("cpu")).keys() == by_quantity(diagnose("cpu", Detection((), ()))).keys()


def test_a_cuda_device_that_is_not_there_is_a_finding_not_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    finding = by_quantity(diagnose("cuda"))["energy of the GPU"]
    assert finding.verdict == "null"
    assert "torch sees 0 CUDA devices" in finding.why_null
    assert "CUDA build of torch" in finding.cure


def test_an_estimate_is_called_one(tmp_path: Path) -> None:
    found = by_quantity(diagnose("cpu", detect("cpu", estimate=True, powercap_root=tmp_path), country="POL"))
    assert found["energy of the processor"].verdict == "estimated"
    assert "not a measurement" in found["energy of the processor"].how
    assert "661.9" in found["CO2e"].how


def test_rapl_is_described_with_its_period_and_co2e_needs_a_grid(tmp_path: Path) -> None:
    write_domain(tmp_path / "intel-rapl:0", "package-0", 5)
    found = by_quantity(diagnose("cpu", detect("cpu", powercap_root=tmp_path)))
    assert found["energy of the processor"].verdict == "measured"
    assert "at least 0.02 s" in found["energy of the processor"].how
    assert found["energy of the memory"].verdict == "null"
    assert found["CO2e"].why_null == "no grid is named, and none is guessed"


def test_a_package_that_cannot_be_read_leaves_no_energy_of_the_processor(tmp_path: Path) -> None:
    for k in range(2):
        write_domain(tmp_path / f"intel-rapl:{k}", f"package-{k}", 5)
    (tmp_path / "intel-rapl:1" / "energy_uj").write_text("no number")
    found = by_quantity(diagnose("cpu", detect("cpu", powercap_root=tmp_path)))["energy of the processor"]
    assert found.verdict == "null"
    assert found.why_null is not None
    assert found.why_null.startswith("rapl:package-1: the counter is there, but reading it failed")


def test_a_board_is_described_with_its_cross_check(driver: Driver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda index: SimpleNamespace(uuid=UUID_A))
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
    finding = by_quantity(diagnose("cuda"))["energy of the GPU"]
    assert finding.verdict == "measured"
    assert "at least 2 s are resolved" in finding.how
    assert "cross-check that is never added" in finding.how


def test_a_board_in_mig_mode_is_null_with_the_cure(driver: Driver, monkeypatch: pytest.MonkeyPatch) -> None:
    driver.board(UUID_A).mig = 1
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda index: SimpleNamespace(uuid=UUID_A))
    finding = by_quantity(diagnose("cuda:0"))["energy of the GPU"]
    assert finding.verdict == "null"
    assert "MIG is on" in finding.why_null
    assert "-mig 0" in finding.cure


def checks_by_name(checks):
    return {check.name: check for check in checks}


def test_calibration_without_hardware_says_what_it_found() -> None:
    checks = checks_by_name(calibrate(Meter("cpu", missing=detect("cpu").missing), seconds=0.2))
    assert checks["sources"].passed is None
    assert "no energy source to calibrate" in checks["sources"].text
    assert checks["overhead"].passed


def test_calibration_of_a_simulated_board(driver: Driver) -> None:
    gpu = driver.board(UUID_A)
    driver.go_live(gpu, watts=60.0, period_s=0.02)
    sources, missing, probe = nvml.detect_nvml(UUID_A)
    for source in sources:
        source.period_s = 0.02  # the simulation is that fast; the defaults would need 20 s

    def load() -> None:
        if gpu.power_mw == 60_000:  # the board begins to work: the counter goes on from where it is
            now_mj = round(sources[0].joules() * 1e3)
            gpu.energy_mj = 5_000_000 + now_mj
            driver.go_live(gpu, watts=240.0, period_s=0.02)
        time.sleep(0.01)

    meter = Meter("cpu", sources, missing=missing, probe=probe)
    checks = checks_by_name(calibrate(meter, seconds=1.0, load=load))
    name = f"GPU-{UUID_A[:8]}"
    assert checks[f"power:nvml-counter:{name}"].passed
    assert checks[f"power:nvml-counter:{name}"].value == pytest.approx(240.0, rel=0.05)
    assert checks[f"period:nvml-counter:{name}"].value == pytest.approx(0.02, rel=0.2)
    assert checks[f"agreement:{name}"].passed
    assert checks["overhead"].passed


def test_calibration_finds_a_counter_that_is_slower_than_assumed(driver: Driver) -> None:
    driver.go_live(driver.board(UUID_A), watts=60.0, period_s=0.2)
    source = nvml.detect_nvml(UUID_A)[0][0]
    assert counter_period_s(source, seconds=1.1) == pytest.approx(0.2, rel=0.1)


def test_a_counter_that_does_not_move_has_no_period(driver: Driver) -> None:
    assert counter_period_s(nvml.detect_nvml(UUID_A)[0][0], seconds=0.1) is None


def test_calibration_tells_a_dead_source_from_a_good_one() -> None:
    clock = Clock()
    source = Scripted(clock=clock)
    source.dead = True
    meter = Meter("cpu", [source], sleep=clock.sleep)
    checks = checks_by_name(calibrate(meter, seconds=0.1))
    assert checks[f"power:{source.name}"].passed is False
    assert "died" in checks[f"power:{source.name}"].text


def test_a_source_that_dies_has_no_period() -> None:
    source = Scripted(clock=Clock())
    source.dead = True
    check = _period(source, 0.1)
    assert (check.name, check.value, check.unit, check.passed) == (f"period:{source.name}", None, "s", False)
    assert check.text.startswith(f"{source.name} failed while it was read: ")


def test_calibration_fails_an_integral_that_disagrees(driver: Driver) -> None:
    clock = Clock()
    good = Scripted("nvml-counter:GPU-a", clock=clock, watts=100.0, scope="gpu-board", method="nvml-counter")
    bad = Scripted("nvml-power:GPU-a", clock=clock, watts=80.0, scope="gpu-board", method="nvml-power")
    meter = Meter("cpu", [good, bad], clock=clock, sleep=clock.sleep)
    checks = checks_by_name(calibrate(meter, seconds=1.0, load=lambda: clock.sleep(0.1)))
    assert checks["agreement:GPU-a"].passed is False
    assert checks["agreement:GPU-a"].value == pytest.approx(-0.2)


@pytest.mark.parametrize(("load_w", "passed"), [(100.0, True), (10.0, False)])
def test_calibration_fails_a_source_that_does_not_see_the_load(load_w: float, passed: bool) -> None:
    clock = Clock()
    source = Scripted("plug:wall", clock=clock, watts=10.0, scope="machine", method="replay", period_s=0.01)

    def load() -> None:
        clock.sleep(0.1)
        source.extra_j += (load_w - 10.0) * 0.1

    meter = Meter("cpu", [source], clock=clock, sleep=clock.sleep)
    check = checks_by_name(calibrate(meter, seconds=1.0, load=load))["power:plug:wall"]
    assert check.passed is passed
    assert check.value == pytest.approx(load_w)
    assert "10 W idle" in check.text


def test_peak_memory_is_the_allocators_on_a_gpu_and_that_of_live_tensors_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    how = {device: by_quantity(diagnose(device))["peak memory"].how for device in ("cpu", "cuda")}
    assert how["cpu"].startswith("peak of live tensor bytes")
    assert how["cuda"].startswith("peak of torch's allocator")
