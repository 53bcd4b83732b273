"""NVIDIA's boards by value, without any: each answer that NVML may give."""

from __future__ import annotations

import os
from types import SimpleNamespace
from typing import Any

import pynvml
import pytest
import torch

from bpfree.meter import Missing, Sample, SourceError, nvml

MIG = "turn MIG off (nvidia-smi -mig 0, as root), or run on a board without it: NVML has no energy per instance"
NO_DRIVER = (
    "install NVIDIA's driver (it brings libnvidia-ml.so.1); in a container, start it with --gpus all and "
    "NVIDIA_DRIVER_CAPABILITIES=compute,utility"
)
UUID = "aaaaaaaa-1111"


class Driver:
    """Answers of NVML by the name of the query; an exception is raised, a query without an answer is refused."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.answers: dict[str, Any] = {
            "nvmlInit": None, "nvmlDeviceGetHandleByUUID": lambda uuid: uuid if uuid == f"GPU-{UUID}" else self.refused,
            "nvmlDeviceGetTotalEnergyConsumption": 4000, "nvmlDeviceGetPowerUsage": 150_000,
        }  # fmt: skip
        self.refused = pynvml.NVMLError(pynvml.NVML_ERROR_NOT_SUPPORTED)
        queries = (
            "Init", "DeviceGetHandleByUUID", "DeviceGetMigMode", "DeviceGetTotalEnergyConsumption", "DeviceGetPowerUsage",
            "DeviceGetUtilizationRates", "DeviceGetMemoryInfo", "DeviceGetClockInfo", "DeviceGetTemperature",
            "DeviceGetComputeRunningProcesses", "SystemGetDriverVersion",
        )  # fmt: skip
        for query in queries:
            monkeypatch.setattr(pynvml, f"nvml{query}", lambda *args, name=f"nvml{query}": self._answer(name, args))

    def _answer(self, name: str, args: Any) -> Any:
        answer = self.answers.get(name, self.refused)
        answer = answer(*args) if callable(answer) else answer
        if isinstance(answer, Exception):
            raise answer
        return answer


@pytest.fixture
def driver(monkeypatch: pytest.MonkeyPatch) -> Driver:
    return Driver(monkeypatch)


def test_a_board_has_a_counter_and_a_power(driver: Driver) -> None:
    (counter, power), missing, probe = nvml.detect_nvml(UUID)
    assert (missing, type(probe)) == ([], nvml.NvmlProbe)
    assert (counter.name, counter.scope, counter.method) == ("nvml-counter:GPU-aaaaaaaa", "gpu-board", "nvml-counter")
    assert (power.name, power.scope, power.method) == ("nvml-power:GPU-aaaaaaaa", "gpu-board", "nvml-power")
    assert (counter.period_s, power.period_s) == (0.1, 1.0)
    assert isinstance(counter, nvml.CountingSource)
    assert (counter._joules_per_count, counter._modulus, counter._max_power_w) == (1e-3, 2**64, 3000.0)
    first_j = counter.joules()
    driver.answers["nvmlDeviceGetTotalEnergyConsumption"] = 6500
    assert counter.joules() - first_j == 2.5
    driver.answers["nvmlDeviceGetPowerUsage"] = driver.refused
    with pytest.raises(SourceError) as error:
        power.joules()
    assert str(error.value) == "NVML says: Not Supported"
    driver.answers["nvmlDeviceGetPowerUsage"] = 150_000
    assert nvml._power("a board", "x")._read() == 150.0


@pytest.mark.parametrize(
    ("mode", "sources"),
    [((1, 0), 0), ((1, 1), 0), ((0, 1), 2), ((0, 0), 2), (None, 2)],
)
def test_mig_is_what_is_on_now_not_after_the_next_start(driver: Driver, mode: Any, sources: int) -> None:
    if mode is not None:
        driver.answers["nvmlDeviceGetMigMode"] = list(mode)
    found, missing, probe = nvml.detect_nvml(UUID)
    assert (len(found), type(probe)) == (sources, nvml.NvmlProbe)
    reason = "MIG is on: the board's energy is that of all instances together"
    assert missing == ([] if sources else [Missing("nvml:GPU-aaaaaaaa", reason, MIG)])


@pytest.mark.parametrize("query", ["TotalEnergyConsumption", "PowerUsage"])
@pytest.mark.parametrize("error", [pynvml.NVML_ERROR_NO_PERMISSION, pynvml.NVML_ERROR_NOT_SUPPORTED])
def test_a_query_that_is_refused_is_missing_and_the_other_is_there(driver: Driver, query: str, error: int) -> None:
    driver.answers[f"nvmlDeviceGet{query}"] = pynvml.NVMLError(error)
    (source,), missing, _ = nvml.detect_nvml(UUID)
    name, other = ("counter", "power") if query == "TotalEnergyConsumption" else ("power", "counter")
    permission = error == pynvml.NVML_ERROR_NO_PERMISSION
    why = "NVML says: " + ("Insufficient Permissions" if permission else "Not Supported")
    cure = (
        "ask the administrator of the machine; the driver refuses this query to this user"
        if permission
        else "run on a board of the Volta generation or later that is not a virtual GPU"
    )
    assert source.name == f"nvml-{other}:GPU-aaaaaaaa"
    assert missing == [Missing(f"nvml-{name}:GPU-aaaaaaaa", why, cure)]


def test_a_board_that_is_not_found(driver: Driver) -> None:
    name = "nvml:GPU-bbbbbbbb"
    unknown = Missing(name, "the driver has no board of this UUID", NO_DRIVER)
    assert nvml.detect_nvml("bbbbbbbb-1") == ([], [unknown], None)
    driver.answers["nvmlDeviceGetHandleByUUID"] = lambda uuid: uuid if uuid == "MIG-bbbbbbbb-1" else driver.refused
    assert nvml.detect_nvml("bbbbbbbb-1") == ([], [Missing(name, "the device is a MIG instance", MIG)], None)
    driver.answers["nvmlInit"] = pynvml.NVMLError(pynvml.NVML_ERROR_DRIVER_NOT_LOADED)
    why = "no NVIDIA driver could be asked (NVML says: Driver Not Loaded)"
    assert nvml.detect_nvml(UUID) == ([], [Missing("nvml", why, NO_DRIVER)], None)


def test_a_sample_of_a_board(driver: Driver) -> None:
    _, _, probe = nvml.detect_nvml(UUID)
    assert probe is not None
    clocks = {pynvml.NVML_CLOCK_SM: 1410, pynvml.NVML_CLOCK_MEM: 1215}
    read = {
        "UtilizationRates": SimpleNamespace(gpu=37, memory=80), "MemoryInfo": SimpleNamespace(used=7, free=3, total=10),
        "ClockInfo": lambda handle, kind: clocks[kind], "PowerUsage": 99_500,
        "Temperature": lambda handle, kind: 50 if kind == pynvml.NVML_TEMPERATURE_GPU else 0,
    }  # fmt: skip
    driver.answers |= {f"nvmlDeviceGet{name}": answer for name, answer in read.items()}
    assert probe.sample(2.5) == Sample(2.5, 99.5, 1410, 1215, 0.37, 50, 7)
    for name in read:
        driver.answers[f"nvmlDeviceGet{name}"] = driver.refused
    assert probe.sample(2.5) == Sample(2.5)


@pytest.mark.parametrize(
    ("pids", "on_cuda", "who"),
    [
        (None, True, None),
        ([], True, None),
        (["own"], True, None),
        (["own"], False, None),
        (["own", 1], True, "another process"),
        (["own", 1], False, "another process"),
        (["own", 1, 2], True, "2 other processes"),
        ([1], True, None),  # this process under its number on the host
        ([1], False, "another process"),
        ([1, 2], True, "another process"),
        ([1, 2], False, "2 other processes"),
        ([1, 2, 3], True, "2 other processes"),
    ],
)
def test_other_processes_on_a_board(
    driver: Driver, monkeypatch: pytest.MonkeyPatch, pids: list[Any] | None, on_cuda: bool, who: str | None
) -> None:
    _, _, probe = nvml.detect_nvml(UUID)
    assert probe is not None
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: on_cuda)
    if pids is not None:
        running = [SimpleNamespace(pid=os.getpid() if pid == "own" else -pid) for pid in pids]
        driver.answers["nvmlDeviceGetComputeRunningProcesses"] = running
    assert probe.others() == (None if who is None else f"{who} computed on the same board, and its joules include theirs")


@pytest.mark.parametrize(
    ("on_board", "scopes", "words"),
    [
        ("a job, and more", {"gpu-board"}, "a job"),
        ("a job, and more", {"gpu-board", "cpu-package"}, "a job"),
        ("a job, and more", {"cpu-package"}, "a job"),
        (None, {"gpu-board"}, None),
        (None, set(), None),
        (None, {"cpu-package"}, "from 5 to 9"),
        (None, {"gpu-board", "dram"}, "from 5 to 9"),
    ],
)
def test_an_idle_board_and_an_idle_processor(
    driver: Driver, monkeypatch: pytest.MonkeyPatch, on_board: str | None, scopes: set[str], words: str | None
) -> None:
    """The processor counts from the moment the window opens, and only where its energy is measured."""
    times = iter([1, 5, 9])
    monkeypatch.setattr(nvml, "processor_seconds", lambda process: next(times))
    monkeypatch.setattr(nvml, "busy_processors", lambda start, end: f"from {start} to {end}")
    probe = nvml.NvmlProbe("a board")
    monkeypatch.setattr(probe, "others", lambda: on_board)
    probe.open()
    assert probe.not_idle(scopes) == words


@pytest.mark.parametrize(("answer", "version"), [("580.1", "580.1"), (b"580.1", "580.1"), (None, None)])
def test_the_version_of_the_driver(driver: Driver, answer: Any, version: str | None) -> None:
    """It is asked for once the binding has found the driver."""
    found: list[int] = []
    driver.answers["nvmlInit"] = lambda: found.append(1)
    if answer is not None:
        driver.answers["nvmlSystemGetDriverVersion"] = lambda: answer if found else driver.refused
    assert nvml.driver_version() == version


def test_the_uuid_of_a_device(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 1)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda index: SimpleNamespace(uuid=f"GPU-{index}"))
    assert [nvml.cuda_uuid(torch.device(name)) for name in ("cuda:0", "cuda", "cuda:2")] == ["0", "1", "2"]
