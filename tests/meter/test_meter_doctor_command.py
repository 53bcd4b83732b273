"""``bpfree doctor --calibrate``: here, on a simulated board, and on a simulated powercap tree."""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from meter_fakes import write_domain
from nvml_simulation import UUID_A, Driver

import bpfree.cli.doctor as doctor_module
import bpfree.meter.calibrate as calibrate_module
from bpfree.cli import run
from bpfree.meter import Detection, detect, nvml
from bpfree.meter.timeline import HostProbe

BOARD = f"GPU-{UUID_A[:8]}"


def doctor(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, dict, str]:
    code = run(["doctor", "--device", "cpu", "--json", *arguments])
    seen = capsys.readouterr()
    return code, json.loads(seen.out) if seen.out else {}, seen.err


def use(monkeypatch: pytest.MonkeyPatch, found: Detection, load: Callable[[], object]) -> None:
    monkeypatch.setattr(doctor_module, "detect", lambda *_, **__: found)
    monkeypatch.setattr(calibrate_module, "matrix_load", lambda _: load)
    if found.probe is not None:  # whether this machine is idle is not what is asked here
        monkeypatch.setattr(type(found.probe), "not_idle", lambda self, scopes: None)


def idle_w(check: dict) -> float:
    found = re.search(r"([\d.]+) W idle", check["text"])
    assert found is not None
    return float(found[1])


def by_name(told: dict) -> dict[str, dict]:
    return {check["name"]: check for check in told["checks"]}


def test_here_it_says_what_it_found(capsys: pytest.CaptureFixture[str]) -> None:
    """Whatever this machine offers: sources are checked, or the reason why there is none is given."""
    _, told, _ = doctor(capsys, "--calibrate", "--seconds", "0.2")
    checks = by_name(told)
    assert checks["overhead"]["value"] is not None
    if not detect("cpu").sources:
        assert checks["sources"]["passed"] is None
        assert "no energy source to calibrate" in checks["sources"]["text"]


def test_without_hardware_it_is_no_failure(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch) -> None:
    found = detect("cpu", powercap_root=tmp_path)
    use(monkeypatch, found, lambda: time.sleep(0.01))
    monkeypatch.setattr(calibrate_module, "OVERHEAD_LIMIT", 1.0)  # a busy machine is not what is asked here
    code, told, _ = doctor(capsys, "--calibrate", "--seconds", "0.2")
    assert code == 0
    assert "no energy source" in by_name(told)["sources"]["text"]
    assert {finding["quantity"]: finding["verdict"] for finding in told["findings"]}["energy of the processor"] == "null"


def test_a_simulated_board(capsys: pytest.CaptureFixture[str], driver: Driver, monkeypatch: pytest.MonkeyPatch) -> None:
    gpu = driver.board(UUID_A)
    driver.go_live(gpu, watts=60.0, period_s=0.02)
    sources, missing, probe = nvml.detect_nvml(UUID_A)
    for source in sources:
        source.period_s = 0.02  # the simulation is that fast; the defaults would need 20 s

    def load() -> None:
        if gpu.power_mw == 60_000:
            gpu.energy_mj = 5_000_000 + round(sources[0].joules() * 1e3)
            driver.go_live(gpu, watts=240.0, period_s=0.02)
        time.sleep(0.01)

    # The load is called once before the window, so that the whole window is under load.
    use(monkeypatch, Detection(tuple(sources), tuple(missing), probe), load)
    _, told, _ = doctor(capsys, "--calibrate", "--seconds", "0.6")
    checks = by_name(told)
    power = checks[f"power:nvml-counter:{BOARD}"]
    assert power["passed"]
    assert power["value"] == pytest.approx(240.0, rel=0.1)
    assert idle_w(power) == pytest.approx(60.0, rel=0.1)
    assert checks[f"agreement:{BOARD}"]["passed"]
    assert checks[f"period:nvml-counter:{BOARD}"]["value"] == pytest.approx(0.02, rel=0.3)


class Package:
    """A package of a powercap tree whose counter a thread moves, by rename, so that nobody reads half a number."""

    def __init__(self, tree: Path, watts: float) -> None:
        self.watts, self._stop = watts, threading.Event()
        self._file = write_domain(tree / "intel-rapl:0", "package-0", 1_000_000)
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        energy_uj, last_s = 1_000_000.0, time.monotonic()
        part = self._file.with_name("part")
        while not self._stop.wait(0.005):
            now_s = time.monotonic()
            energy_uj, last_s = energy_uj + self.watts * (now_s - last_s) * 1e6, now_s
            part.write_text(str(int(energy_uj)))
            part.replace(self._file)

    def end(self) -> None:
        self._stop.set()
        self._thread.join()


@pytest.fixture
def package(tmp_path: Path) -> Iterator[Package]:
    made = Package(tmp_path / "tree", 12.0)
    yield made
    made.end()


def _found(tmp_path: Path) -> Detection:
    found = detect("cpu", powercap_root=tmp_path / "tree")
    for source in found.sources:
        source.period_s = 0.02  # what a thread can keep up with on a busy machine
    return found


def test_a_simulated_powercap_tree(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, package: Package, monkeypatch: pytest.MonkeyPatch
) -> None:
    def load() -> None:
        package.watts = 90.0
        time.sleep(0.01)

    use(monkeypatch, _found(tmp_path), load)
    _, told, _ = doctor(capsys, "--calibrate", "--seconds", "0.5")
    check = by_name(told)["power:rapl:package-0"]
    assert check["passed"]
    assert check["value"] == pytest.approx(90.0, rel=0.2)
    assert 1 < idle_w(check) < 20, "12 W, less what a busy machine kept its thread from counting"


def test_a_counter_that_does_not_see_the_load_fails_and_is_exit_code_1(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, package: Package, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(monkeypatch, _found(tmp_path), lambda: time.sleep(0.01))
    package.watts = 12.0
    code, told, _ = doctor(capsys, "--calibrate", "--seconds", "0.5")
    assert code == 1
    assert by_name(told)["power:rapl:package-0"]["passed"] is False
    assert "does not see the load" in by_name(told)["power:rapl:package-0"]["text"]


def test_codecarbon_is_a_second_opinion_with_its_scope(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(monkeypatch, detect("cpu", powercap_root=tmp_path), lambda: time.sleep(0.05))
    _, told, _ = doctor(capsys, "--calibrate", "--seconds", "1.2", "--country", "FRA")
    check = by_name(told)["codecarbon"]
    assert check["passed"] is None
    assert check["value"] > 0
    assert "machine by CodeCarbon" in check["text"]
    assert "nothing that was measured here" in check["text"]


def test_idle_power_is_shown_without_calibration(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, package: Package, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(monkeypatch, _found(tmp_path), lambda: None)
    code = run(["doctor", "--device", "cpu"])
    seen = " ".join(capsys.readouterr().out.split())
    assert code == 0
    assert re.search(r"now: rapl:package-0 \d", seen)


def test_a_busy_machine_has_no_idle_power(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, package: Package, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(monkeypatch, _found(tmp_path), lambda: time.sleep(0.01))
    monkeypatch.setattr(HostProbe, "not_idle", lambda self, scopes: "other processes kept 1.9 of 2 processors busy")
    run(["doctor", "--device", "cpu"])
    seen = " ".join(capsys.readouterr().out.split())
    assert "just now other processes kept 1.9 of 2 processors busy" in seen
    _, told, _ = doctor(capsys, "--calibrate", "--seconds", "0.2")
    check = by_name(told)["power:rapl:package-0"]
    assert check["passed"] is None
    assert "idle power is unknown, since other processes kept 1.9 of 2 processors busy" in check["text"]


@pytest.mark.parametrize(
    ("arguments", "said"), [(("--country", "POI"), "POL"), (("--seconds", "0"), "above 0"), (("--seconds", "-1"), "above 0")]
)
def test_a_mistake_is_one_line_before_anything_is_measured(
    capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], said: str
) -> None:
    code, told, err = doctor(capsys, "--calibrate", *arguments)
    assert (code, told) == (2, {})
    assert len(err.strip().splitlines()) == 1
    assert said in err
