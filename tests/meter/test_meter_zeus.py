"""AMD, Apple and Jetson through Zeus; a stand-in with the names of Zeus 0.16, since such devices are rare."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import pytest
import torch

from bpfree.meter import Meter, detect
from bpfree.meter.zeus_source import detect_zeus


class ZeusBaseError(Exception):
    pass


@dataclass
class Apple:
    cpu_total_mj: int | None = 1000
    gpu_mj: int | None = 2000
    dram_mj: int | None = 300
    ane_mj: int | None = None


@dataclass
class Jetson:
    cpu_energy_mj: float | None = 1000.0
    gpu_energy_mj: float | None = 2000.0
    total_energy_mj: float | None = 4000.0


class Soc:
    def __init__(self, measurement) -> None:
        self.measurement, self.dead = measurement, False

    def get_total_energy_consumption(self):
        if self.dead:
            raise ZeusBaseError("gone")
        return self.measurement


class Boards:
    def __init__(self, n: int, accurate: bool = True) -> None:
        self.energy_mj, self.accurate = [0] * n, accurate

    def __len__(self) -> int:
        return len(self.energy_mj)

    def supports_get_total_energy_consumption(self, index: int) -> bool:
        return self.accurate

    def get_total_energy_consumption(self, index: int) -> int:
        return self.energy_mj[index]


@pytest.fixture
def zeus(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    package, device, exception = ModuleType("zeus"), ModuleType("zeus.device"), ModuleType("zeus.exception")

    def refuse():
        raise ZeusBaseError("No observable SoC was found on the current machine.")

    device.get_soc = device.get_gpus = refuse  # type: ignore[attr-defined]
    exception.ZeusBaseError = ZeusBaseError  # type: ignore[attr-defined]
    for module in (package, device, exception):
        monkeypatch.setitem(sys.modules, module.__name__, module)
    return device


def test_apple_silicon_adds_up_its_parts(zeus: ModuleType) -> None:
    soc = Soc(Apple())
    zeus.get_soc = lambda: soc
    sources, missing = detect_zeus(torch.device("mps"))
    assert missing == []
    with Meter("cpu", sources).window() as window:
        soc.measurement = Apple(cpu_total_mj=2000, gpu_mj=5000, dram_mj=400)
    assert window.reading is not None
    assert window.reading.joules == pytest.approx(1.0 + 3.0 + 0.1)
    assert window.reading.method == "zeus"


def test_the_board_of_a_jetson_contains_its_parts(zeus: ModuleType) -> None:
    soc = Soc(Jetson())
    zeus.get_soc = lambda: soc
    with Meter("cpu", detect_zeus(torch.device("cpu"))[0]).window() as window:
        soc.measurement = Jetson(1500.0, 2500.0, 6000.0)
    assert window.reading is not None
    assert window.reading.joules == pytest.approx(2.0)


def test_a_device_that_dies_is_null(zeus: ModuleType) -> None:
    soc = Soc(Apple())
    zeus.get_soc = lambda: soc
    with Meter("cpu", detect_zeus(torch.device("mps"))[0]).window() as window:
        soc.dead = True
    assert window.reading is not None
    assert window.reading.joules is None
    assert "Zeus says: gone" in window.reading.reasons["energy.joules"]


def test_an_amd_board_is_read_by_its_number(zeus: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.version, "hip", "6.2")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    boards = Boards(2)
    zeus.get_gpus = lambda: boards
    found = detect("cuda:1", powercap_root=Path("/nonexistent"))
    source = found.sources[0]
    before_j = source.joules()
    boards.energy_mj[1] += 5000
    assert source.joules() - before_j == pytest.approx(5.0)
    assert not [entry for entry in found.missing if entry.name.startswith("nvml")], "an AMD board needs no NVML"


@pytest.mark.parametrize(("boards", "reason"), [(Boards(3), "which is which"), (Boards(2, False), "not accurate")])
def test_an_amd_board_that_cannot_be_told_apart_or_counts_wrongly_is_missing(
    zeus: ModuleType, monkeypatch: pytest.MonkeyPatch, boards: Boards, reason: str
) -> None:
    monkeypatch.setattr(torch.version, "hip", "6.2")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    zeus.get_gpus = lambda: boards
    sources, missing = detect_zeus(torch.device("cuda:0"))
    assert sources == []
    assert reason in missing[0].reason


def test_without_zeus_an_apple_device_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "zeus", None)
    found = detect("mps", powercap_root=Path("/nonexistent"))
    assert "pip install zeus" in next(entry for entry in found.missing if entry.name == "zeus").cure


def test_zeus_on_a_plain_machine_adds_nothing(zeus: ModuleType) -> None:
    assert detect_zeus(torch.device("cpu")) == ([], [])
