"""The estimate: processor seconds times the watts of the processor's family, with its interval, on request only."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from meter_fakes import Clock, Scripted, write_domain

from bpfree.meter import EstimateSource, Meter, Missing, detect
from bpfree.meter.calibrate import calibrate
from bpfree.meter.estimate import FAMILIES, UNKNOWN, watts_of


def cpuinfo(vendor: str, family: int, model: int, stepping: int, name: str, flags: str = "fpu sse2") -> str:
    """Two processors of Linux' file."""
    facts = {"vendor_id": vendor, "cpu family": family, "model": model, "model name": name, "stepping": stepping, "flags": flags}
    block = "".join(f"{key}\t: {value}\n" for key, value in {"processor": 0, **facts}.items())
    return f"{block}\n{block}"


AMD, INTEL = "AuthenticAMD", "GenuineIntel"


@pytest.mark.parametrize(
    ("text", "key"),
    [
        (cpuinfo(AMD, 23, 1, 2, "AMD EPYC 7601 32-Core Processor"), "epyc-1"),
        (cpuinfo(AMD, 23, 49, 0, "AMD EPYC 7742 64-Core Processor"), "epyc-2"),
        (cpuinfo(AMD, 25, 1, 1, "AMD EPYC 7763 64-Core Processor"), "epyc-3"),
        (cpuinfo(INTEL, 6, 85, 4, "Intel(R) Xeon(R) Platinum 8180 CPU @ 2.50GHz"), "skylake"),
        (cpuinfo(INTEL, 6, 85, 7, "Intel(R) Xeon(R) Platinum 8280 CPU @ 2.70GHz"), "cascade-lake"),
        (cpuinfo(INTEL, 6, 106, 6, "Intel(R) Xeon(R) Platinum 8380 CPU @ 2.30GHz"), "ice-lake"),
    ],
)
def test_a_family_is_known_by_its_numbers(text: str, key: str) -> None:
    assert watts_of(text) == FAMILIES[key]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Hardware: something else",
        cpuinfo(AMD, 23, 1, 1, "AMD Ryzen 7 1700 Eight-Core Processor"),
        cpuinfo(AMD, 25, 17, 1, "AMD EPYC 9654 96-Core Processor"),
        cpuinfo(INTEL, 6, 85, 11, "Intel(R) Xeon(R) Platinum 8380H CPU"),
        cpuinfo(INTEL, 6, 85, 4, "Intel(R) Core(TM) i9-7980XE CPU"),
        cpuinfo(INTEL, 6, 143, 8, "Intel(R) Xeon(R) Platinum 8480+"),
        "vendor_id: AuthenticAMD\ncpu family: many\nmodel: 1\nstepping: 1\nmodel name: AMD EPYC\n",
    ],
)
def test_any_other_processor_has_the_widest_interval(text: str) -> None:
    watts = watts_of(text)
    assert watts == UNKNOWN
    least, most = (min(each.busy_w for each in FAMILIES.values()), max(each.busy_w for each in FAMILIES.values()))
    assert watts.busy_w * watts.low == pytest.approx(0.6 * least, rel=0.02)
    assert watts.busy_w * watts.high == pytest.approx(2.3 * most, rel=0.02)


def test_on_a_virtual_machine_the_interval_is_wider() -> None:
    watts = watts_of(cpuinfo(AMD, 25, 1, 1, "AMD EPYC", "fpu hypervisor sse2"))
    assert (watts.busy_w, watts.low, watts.high) == (1.82, 0.6, 2.3)
    assert "1.82 W" in watts.basis and "1.1 to 4.2 W, x 0.6 to x 2.3" in watts.basis and "SPECpower" in watts.basis


def test_the_estimate_is_processor_seconds_times_watts() -> None:
    seconds = Clock(3.0)
    source = EstimateSource(FAMILIES["epyc-3"], processor_s=seconds)
    with Meter("cpu", [source]).window() as window:
        seconds.now_s += 10.0
    reading = window.reading
    assert reading is not None
    assert reading.joules == pytest.approx(18.2)
    assert (reading.method, reading.scope, reading.measured) == ("estimate", "machine (estimate)", False)
    flag = reading.flags["estimate"]
    assert flag.startswith("an estimate, not a measurement: processor seconds of this process x 1.82 W")
    assert "x 0.76 to x 1.24" in flag and "SPEC" in flag


def test_a_measured_window_has_no_such_flag(clock: Clock) -> None:
    with Meter("cpu", [Scripted(clock=clock)], clock=clock).window() as window:
        clock.now_s += 10.0
    assert window.reading is not None
    assert window.reading.joules is not None and window.reading.flags == {}


def test_calibration_checks_nothing_of_an_estimate(clock: Clock) -> None:
    meter = Meter("cpu", [EstimateSource(FAMILIES["epyc-3"])], clock=clock, sleep=clock.sleep)
    checks = {check.name: check for check in calibrate(meter, seconds=0.1, load=lambda: clock.sleep(0.05))}
    check = checks["power:estimate:processor"]
    assert check.passed is None and "1.82 W" in check.text


def test_it_stands_in_for_packages_of_which_one_cannot_be_read(tmp_path: Path) -> None:
    for number in (0, 1):
        write_domain(tmp_path / f"intel-rapl:{number}", f"package-{number}", 5)
        write_domain(tmp_path / f"intel-rapl:{number}:0", "dram", 5)
    whole = detect("cpu", estimate=True, powercap_root=tmp_path)
    assert {source.scope for source in whole.sources} == {"cpu-package", "dram"}
    (tmp_path / "intel-rapl:1" / "energy_uj").write_text("broken")
    part = detect("cpu", estimate=True, powercap_root=tmp_path)
    assert [source.name for source in part.sources] == ["estimate:processor"], "it has processor and memory in it"


def test_without_the_board_that_does_the_work_nothing_is_a_total(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The processor's joules, and an estimate of them, are a part of a run on a GPU."""
    write_domain(tmp_path / "intel-rapl:0", "package-0", 5)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 1)
    monkeypatch.setattr("bpfree.meter.nvml.cuda_uuid", lambda device: "GPU-a")
    monkeypatch.setattr("bpfree.meter.nvml.detect_nvml", lambda uuid: ([], [Missing("nvml", "no driver", "install it")], None))
    monkeypatch.setattr(sys.modules["bpfree.meter.detect"], "detect_zeus", lambda device: ([], []))
    for root in (tmp_path, tmp_path / "absent"):
        found = detect("cuda", estimate=True, powercap_root=root)
        assert [each.scope for each in found.missing if each.name == "nvml"] == ["gpu-board"]
        with Meter("cpu", found.sources, missing=found.missing).window() as window:
            (tmp_path / "intel-rapl:0" / "energy_uj").write_text("9000005")
        assert window.reading is not None and window.reading.joules is None
        assert "nvml: no driver" in window.reading.reasons["energy.joules"]
