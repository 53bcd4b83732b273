"""Sources of the hardware by value, without any: NVML, RAPL and Zeus, each answer that they may give."""

from __future__ import annotations

import os
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pynvml
import pytest
import torch

from bpfree.meter import Missing, Sample, SourceError, nvml, rapl, zeus_source
from tests.meter.meter_fakes import write_domain

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
    unknown = Missing(name, "the driver knows no board of this UUID", NO_DRIVER)
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


def names(tree: Path) -> list[str]:
    return [source.name for source in rapl.detect_rapl(tree)[0]]


def test_a_package_of_linux(tmp_path: Path) -> None:
    write_domain(tmp_path / "intel-rapl:0", "package-0", 5, 999)
    (source,) = rapl.detect_rapl(tmp_path)[0]
    assert isinstance(source, rapl.CountingSource)
    assert (source.name, source.scope, source.method, source.period_s) == ("rapl:package-0", "cpu-package", "rapl", 1e-3)
    assert (source._joules_per_count, source._modulus, source._max_power_w) == (1e-6, 1000, 1000.0)
    (tmp_path / "intel-rapl:0" / "energy_uj").unlink()
    with pytest.raises(SourceError, match=r"^intel-rapl:0/energy_uj cannot be read any more: "):
        source.joules()


def test_domains_are_told_by_their_names_in_any_order(tmp_path: Path) -> None:
    """A domain of another kind, or one without a name, hides none of those behind it."""
    write_domain(tmp_path / "intel-rapl:0", "psys", 1)
    (tmp_path / "intel-rapl:1").mkdir()
    write_domain(tmp_path / "intel-rapl:2", "package-0-die-0", 10_000_000_000)
    write_domain(tmp_path / "intel-rapl:3", "package-0-die-1", 10_000_000_000)
    write_domain(tmp_path / "intel-rapl:3:0", "uncore", 1)
    write_domain(tmp_path / "intel-rapl:3:1", "dram", 2)
    write_domain(tmp_path / "intel-rapl:4", "package-1-die-0", 10_000_000_000)
    write_domain(tmp_path / "other:5", "package-2", 1)
    write_domain(tmp_path / "intel-rapl:23:0", "dram", 1)
    assert names(tmp_path) == ["rapl:package-0-die-0", "rapl:dram-0-die-1", "rapl:package-1-die-0"]


@pytest.mark.parametrize(
    ("other", "path", "again", "mirror"),
    [
        (10_000_000, 12_000_000, 10_000_000, True),
        (10_000_000, 12_000_001, 10_000_000, False),
        (10_000_000, 8_000_000, 10_000_000, True),
        (10_000_000, 7_999_999, 10_000_000, False),
        (0, 50_000_000, 48_000_000, True),  # read after it moved
        (48_000_000, 50_000_000, 90_000_000, True),
        (0, 50_000_000, 47_999_999, False),
        (98_500_000, 500_000, 98_500_000, True),  # 100 J are one turn of this counter
        (98_500_000, 500_001, 98_500_000, False),
        (500_000, 98_500_000, 500_000, True),
        (500_001, 98_500_000, 500_001, False),
    ],
)
def test_one_counter_shown_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, other: int, path: int, again: int, mirror: bool
) -> None:
    """Two periods at 1 kW are 2 J, where no time passes between the readings."""
    first, second = (write_domain(tmp_path / name, "package-0", 0, 99_999_999).parent for name in ("a", "b"))
    values = iter([other, path, again])
    monkeypatch.setattr(rapl, "_read_uj", lambda file: next(values))
    monkeypatch.setattr(rapl, "time", SimpleNamespace(monotonic=lambda: 7.0))
    assert rapl._mirror(second, first) == mirror


@pytest.mark.parametrize(("apart_uj", "mirror"), [(502_000_000, True), (502_000_001, False)])
def test_what_is_drawn_while_two_counters_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, apart_uj: int, mirror: bool
) -> None:
    """Half a second at 1 kW are 500 J."""
    first, second = (write_domain(tmp_path / name, "package-0", 0).parent for name in ("a", "b"))
    values, seconds = iter([0, apart_uj, 0]), iter([7.0, 7.5])
    monkeypatch.setattr(rapl, "_read_uj", lambda file: next(values))
    monkeypatch.setattr(rapl, "time", SimpleNamespace(monotonic=lambda: next(seconds)))
    assert rapl._mirror(second, first) == mirror


def test_what_linux_does_not_let_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    absent = Missing(
        "rapl",
        "Linux offers no RAPL energy counter here (a virtual machine, a container, or another processor)",
        rapl._CURE_ABSENT,
    )
    assert rapl.detect_rapl(tmp_path) == ([], [absent])
    file = write_domain(tmp_path / "intel-rapl:0", "package-0", 5)
    memory = write_domain(tmp_path / "intel-rapl:0:0", "dram", 5)
    file.write_text("many")
    (memory.parent / "max_energy_range_uj").write_text("most")
    failed = "the counter is there, but reading it failed: invalid literal for int() with base 10: "
    assert rapl.detect_rapl(tmp_path) == (
        [],
        [
            Missing("rapl:package-0", f"{failed}'many'", rapl._CURE_ABSENT, "cpu-package"),
            Missing("rapl:dram-0", f"{failed}'most'", rapl._CURE_ABSENT, "dram"),
        ],
    )
    read_text = Path.read_text

    def guarded(path: Path, *args: Any, **kwargs: Any) -> str:
        if path.name == "energy_uj":
            raise PermissionError(13, "Permission denied")
        return read_text(path, *args, **kwargs)

    (memory.parent / "max_energy_range_uj").write_text("9")
    monkeypatch.setattr(Path, "read_text", guarded)
    root = "the counter is there, but Linux lets only root read it"
    assert rapl.detect_rapl(tmp_path)[1] == [
        Missing("rapl:package-0", root, rapl._CURE_PERMISSION, "cpu-package"),
        Missing("rapl:dram-0", root, rapl._CURE_PERMISSION, "dram"),
    ]


class ZeusError(Exception):
    pass


def raised(error: Exception) -> Any:
    raise error


@pytest.fixture
def zeus(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The two modules of Zeus that are used, on a machine where it finds nothing."""
    device, exception = ModuleType("zeus.device"), ModuleType("zeus.exception")
    made: Any = device
    made.get_soc = made.get_gpus = lambda: raised(ZeusError("nothing here"))
    exception.ZeusBaseError = ZeusError  # type: ignore[attr-defined]
    monkeypatch.setattr(zeus_source.importlib, "import_module", {"zeus.device": device, "zeus.exception": exception}.__getitem__)
    return made


CURE = "pip install zeus (for AMD also ROCm's amdsmi, for Apple zeus-apple-silicon)"


def detected(device: str) -> Any:
    return zeus_source.detect_zeus(torch.device(device))


def test_zeus_that_finds_nothing_is_missing_beside_a_card_only(zeus: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    assert detected("cpu") == ([], [])
    for device in ("mps", "cuda"):
        assert detected(device) == ([], [Missing("zeus", "Zeus says: nothing here", CURE)])
    monkeypatch.setattr(zeus_source.importlib, "import_module", lambda name: raised(ImportError(name)))
    assert detected("cpu") == ([], [])
    assert detected("mps") == ([], [Missing("zeus", "Zeus is not installed", CURE)])


def test_the_parts_of_a_chip(zeus: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A part that is there and stands at 0 is a source; one that gives None is none."""
    chip = SimpleNamespace(cpu_total_mj=0, gpu_mj=2500, dram_mj=None)
    zeus.get_soc = lambda: SimpleNamespace(get_total_energy_consumption=lambda: chip)
    sources, missing = detected("mps")
    assert missing == []
    assert [(each.name, each.scope, each.joules()) for each in sources] == [
        ("zeus:processor", "cpu-package", 0.0),
        ("zeus:gpu", "gpu-board", 2.5),
    ]
    assert {(each.method, each.measured, each.period_s, each.poll_s) for each in sources} == {("zeus", True, 1.0, None)}
    chip.gpu_mj = None
    with pytest.raises(SourceError) as error:
        sources[1].joules()
    assert str(error.value) == "Zeus gives no value any more"
    monkeypatch.setattr(torch.version, "hip", "6.2")
    assert len(detected("cpu")[0]) == 1, "ROCm beside a processor"
    monkeypatch.setattr(torch.version, "hip", None)
    assert len(detected("cuda")[0]) == 1, "a Jetson"


def test_a_board_of_amd(zeus: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    class Boards:
        accurate = True

        def __len__(self) -> int:
            return 2

        def supports_get_total_energy_consumption(self, index: int) -> bool:
            return self.accurate

        def get_total_energy_consumption(self, index: int) -> int:
            return 1000 * (index + 1)

    boards = Boards()
    zeus.get_gpus = lambda: boards
    monkeypatch.setattr(torch.version, "hip", "6.2")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    for device, index in (("cuda", 0), ("cuda:0", 0), ("cuda:1", 1)):
        (source,), missing = detected(device)
        assert (source.name, source.scope, source.joules()) == (f"zeus:board-{index}", "gpu-board", index + 1.0)
        assert missing == []
    boards.accurate = False
    assert detected("cuda") == (
        [],
        [Missing("zeus", "Zeus says that this board's energy counter is not accurate", "use another board")],
    )
    boards.accurate = True
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
    why = "Zeus sees 2 boards and torch 3: which is which is not known"
    assert detected("cuda") == ([], [Missing("zeus", why, "make all boards visible, or set the same ones for both")])
