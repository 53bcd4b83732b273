"""Findings word by word, and which sources are looked for: each condition alone, for every kind of device."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

import bpfree.meter.doctor as doctor
from bpfree.errors import DeviceError
from bpfree.meter import CarbonFactor, Detection, Missing
from bpfree.meter.doctor import Finding, diagnose
from bpfree.meter.timeline import HostProbe

module: Any = sys.modules["bpfree.meter.detect"]


def source(name: str, scope: str, method: str, **changes: Any) -> Any:
    facts = {"domain": name.partition(":")[2], "measured": True, "period_s": 0.1, "basis": ""} | changes
    return SimpleNamespace(name=name, scope=scope, method=method, **facts)


BOARD = source("nvml-counter:0", "gpu-board", "nvml-counter")
POWER = source("nvml-power:0", "gpu-board", "nvml-power", period_s=1.0)
CPU = source("rapl:package-0", "cpu-package", "rapl", period_s=0.001)
DRAM = source("rapl:dram-0", "dram", "rapl", period_s=0.001)
PLUG = source("plug:all", "machine", "replay")
GUESS = source("estimate:processor", "machine (estimate)", "estimate", measured=False, basis="seconds x watts")

GPU, PROCESSOR, MEMORY = "energy of the GPU", "energy of the processor", "energy of the memory"
NO_CARD = "the work runs on the processor, so no GPU takes part"
NO_MEMORY = "this processor counts no energy of its memory"
TO_CUDA = "run on a GPU with --device cuda, where there is one"
BOARD_HOW = "nvml-counter:0: moves every 0.1 s, so runs of at least 2 s are resolved"
POWER_HOW = "nvml-power:0: moves every 1 s, so runs of at least 20 s are resolved, as a cross-check that is never added"
CPU_HOW = "rapl:package-0: moves every 0.001 s, so runs of at least 0.02 s are resolved"
PLUG_HOW = "plug:all: moves every 0.1 s, so runs of at least 2 s are resolved"
WITHIN = "within the machine's own total"
LABELLED = "an estimate, not a measurement, and labelled so in every record; the report compares nothing by it: seconds x watts"
NO_PACKAGE = Missing("rapl:package-0", "only root", "chmod", "cpu-package")
NO_DRAM = Missing("rapl:dram-0", "only root too", "chmod", "dram")
NO_RAPL = Missing("rapl", "a virtual machine", "another machine")
NO_NVML = Missing("nvml", "no driver", "install it", "gpu-board")


def measured(quantity: str, how: str, cure: str | None = None) -> Finding:
    return Finding(quantity, "measured", how, None, cure)


def null(quantity: str, why: str, cure: str | None = None) -> Finding:
    return Finding(quantity, "null", None, why, cure)


@pytest.mark.parametrize(
    ("device", "sources", "missing", "findings"),
    [
        (
            "cpu", (), (NO_RAPL,),
            [
                null(GPU, NO_CARD, TO_CUDA), null(PROCESSOR, "rapl: a virtual machine", "another machine"),
                null(MEMORY, "rapl: a virtual machine", "another machine"),
            ],
        ),
        (
            "cpu", (CPU,), (),
            [null(GPU, NO_CARD, TO_CUDA), measured(PROCESSOR, CPU_HOW), null(MEMORY, NO_MEMORY)],
        ),
        (
            "cpu", (DRAM,), (NO_PACKAGE,),
            [
                null(GPU, NO_CARD, TO_CUDA), null(PROCESSOR, "rapl:package-0: only root", "chmod"),
                measured(MEMORY, CPU_HOW.replace("package", "dram")),
            ],
        ),
        (
            "cpu", (CPU,), (NO_PACKAGE, NO_DRAM),
            [
                null(GPU, NO_CARD, TO_CUDA), null(PROCESSOR, "rapl:package-0: only root", "chmod"),
                null(MEMORY, "rapl:dram-0: only root too", "chmod"),
            ],
        ),
        (
            "cpu", (), (NO_PACKAGE, NO_DRAM, NO_NVML),
            [
                null(GPU, NO_CARD, TO_CUDA), null(PROCESSOR, "rapl:package-0: only root", "chmod"),
                null(MEMORY, "rapl:dram-0: only root too", "chmod"),
            ],
        ),
        (
            "cpu", (), (NO_DRAM,),
            [
                null(GPU, NO_CARD, TO_CUDA), null(PROCESSOR, "rapl:dram-0: only root too", "chmod"),
                null(MEMORY, "rapl:dram-0: only root too", "chmod"),
            ],
        ),
        (
            "cpu", (GUESS,), (NO_PACKAGE, NO_DRAM, NO_NVML),
            [null(GPU, NO_CARD, TO_CUDA), *(Finding(each, "estimated", LABELLED, None, "chmod") for each in (PROCESSOR, MEMORY))],
        ),
        (
            "cuda", (BOARD, POWER, GUESS), (NO_NVML, NO_RAPL),
            [
                measured(GPU, f"{BOARD_HOW}; {POWER_HOW}", "nvml: install it"),
                *(Finding(each, "estimated", LABELLED, None, "another machine") for each in (PROCESSOR, MEMORY)),
            ],
        ),
        (
            "cuda", (GUESS,), (),
            [
                null(GPU, "no energy counter of a cuda device is known"),
                *(Finding(each, "estimated", LABELLED) for each in (PROCESSOR, MEMORY)),
            ],
        ),
        (
            "cuda", (PLUG,), (NO_RAPL,),
            [measured(GPU, PLUG_HOW), measured(PROCESSOR, f"{WITHIN}: {PLUG_HOW}"), measured(MEMORY, f"{WITHIN}: {PLUG_HOW}")],
        ),
        (
            "mps", (CPU,), (NO_NVML, Missing("zeus", "not installed", "install it")),
            [
                null(GPU, "nvml: no driver; zeus: not installed", "install it"), measured(PROCESSOR, CPU_HOW),
                null(MEMORY, NO_MEMORY),
            ],
        ),
    ],
)  # fmt: skip
def test_where_the_energy_is_from(device: str, sources: Any, missing: Any, findings: list[Finding]) -> None:
    assert diagnose(device, Detection(sources, missing))[1:4] == findings


NO_JOULES = "there are no joules to compute it from"
SUBTRACTED = "idle power is measured before the runs, and subtracted: net beside gross"


def test_what_follows_from_the_energy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Net energy and CO2e: with sources, with none, and where a part of the total cannot be read."""
    whole, part, nothing = Detection((CPU,), ()), Detection((CPU,), (NO_PACKAGE,)), Detection((), ())

    def net_and_co2e(detection: Detection, **options: Any) -> list[Finding]:
        found = diagnose("cpu", detection, **options)
        return [found[4], found[5]]

    unnamed = null("CO2e", "no grid is named, and none is guessed", "--country ISO3 (such as POL), or --grid-g-per-kwh X")
    grid = "see energy above; then name the grid with --country ISO3 or --grid-g-per-kwh X"
    net = Finding("net energy", "computed", SUBTRACTED)
    assert net_and_co2e(whole) == [net, unnamed]
    assert net_and_co2e(part) == [net, null("CO2e", NO_JOULES, grid)]
    none = null("net energy", "there is no gross energy to subtract idle power from")
    assert net_and_co2e(nothing) == [none, null("CO2e", NO_JOULES, grid)]
    assert net_and_co2e(nothing, grid_g_per_kwh=5.0)[1] == null("CO2e", NO_JOULES, "see energy above")
    given = Finding("CO2e", "computed", "joules x 5.5 g/kWh (given; given, no year)")
    now = Finding("net energy", "computed", f"{SUBTRACTED}; now: a 1.235 W, b 20 W")
    assert net_and_co2e(whole, grid_g_per_kwh=5.5, idle_w={"a": 1.23456, "b": 20.0}) == [now, given]
    busy = null(
        "net energy", "idle power is measured before the runs, and just now a job ran", "start the runs when nothing else does"
    )
    assert net_and_co2e(whole, not_idle="a job ran", idle_w={"a": 1.0})[0] == busy
    asked = []
    factor = CarbonFactor(600.0, "a table", 2023, "POL")
    monkeypatch.setattr(doctor, "carbon_factor", lambda *where: asked.append(where) or factor)
    assert net_and_co2e(whole, country="POL", grid_g_per_kwh=7.0)[1].how == "joules x 600 g/kWh (POL; a table, 2023)"
    assert asked == [("POL", 7.0)]


def test_what_every_machine_has() -> None:
    found = {device: diagnose(device, Detection((), ())) for device in ("cpu", "cuda", "mps")}
    waits = {"cpu": "nothing has to be waited for"} | dict.fromkeys(("cuda", "mps"), "the device is waited for at both edges")
    live = "peak of live tensor bytes, followed through every operation of a step; peak resident set beside it"
    allocator = "peak of torch's allocator after a reset, allocated and reserved; live tensor bytes beside it"
    for device, findings in found.items():
        assert findings[0] == measured("time", f"monotonic clock around the whole run; {waits[device]}")
        assert findings[7] == measured("peak memory", allocator if device == "cuda" else live)
        assert (findings[6].quantity, findings[6].verdict, len(findings)) == ("FLOPs", "computed", 8)


def test_a_device_that_is_not_there_is_a_missing_board_beside_what_the_processor_has(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def found(device: Any) -> Detection:
        asked.append(str(device))
        if str(device) == "cuda":
            raise DeviceError("no such device")
        return Detection((CPU,), (NO_DRAM,))

    monkeypatch.setattr(doctor, "detect", found)
    findings = diagnose("cuda")
    assert asked == ["cuda", "cpu"]
    cure = "run on a machine with an NVIDIA GPU, and a CUDA build of torch"
    assert findings[1:4] == [
        null(GPU, "nvml: no such device", cure),
        measured(PROCESSOR, CPU_HOW),
        null(MEMORY, "rapl:dram-0: only root too", "chmod"),
    ]


class Machine:
    """What the parts of :func:`detect` find, and whether they were asked."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.rapl: tuple[list[Any], list[Missing]] = ([], [NO_RAPL])
        self.zeus: tuple[list[Any], list[Missing]] = ([], [Missing("zeus", "not installed", "install it")])
        self.nvml: tuple[list[Any], list[Missing], Any] = ([BOARD, POWER], [], "the board's probe")
        self.asked: list[str] = []
        monkeypatch.setattr(module, "detect_rapl", lambda root: self._given("rapl", self.rapl))
        monkeypatch.setattr(module, "detect_zeus", lambda device: self._given(f"zeus {device}", self.zeus))
        monkeypatch.setattr(module.nvml, "cuda_uuid", lambda device: f"uuid of {device}")
        monkeypatch.setattr(module.nvml, "detect_nvml", lambda uuid: self._given(uuid, self.nvml))
        monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)

    def _given(self, name: str, found: Any) -> Any:
        self.asked.append(name)
        return tuple(list(part) if isinstance(part, list) else part for part in found)


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    return Machine(monkeypatch)


def on_board(missing: Missing) -> Missing:
    return Missing(missing.name, missing.reason, missing.cure, "gpu-board")


NO_ZEUS = Missing("zeus", "not installed", "install it")
ZEUS = source("zeus:gpu", "gpu-board", "zeus")


@pytest.mark.parametrize(
    ("device", "hip", "rapl", "zeus", "nvml", "asked", "sources", "missing"),
    [
        ("cpu", None, [CPU], [], [], ["rapl"], (CPU,), ()),
        ("cpu", None, [], [], [], ["rapl", "zeus cpu"], (), (NO_RAPL, NO_ZEUS)),
        ("cpu", None, [], [PLUG], [], ["rapl", "zeus cpu"], (PLUG,), (NO_RAPL,)),
        ("cuda:1", None, [CPU], [], [BOARD, POWER], ["uuid of cuda:1", "rapl"], (BOARD, POWER, CPU), ()),
        ("cuda", None, [], [], [BOARD], ["uuid of cuda", "rapl"], (BOARD,), (NO_RAPL,)),
        ("cuda", None, [CPU], [], [], ["uuid of cuda", "rapl", "zeus cuda"], (CPU,), (NO_NVML,)),
        ("cuda", None, [], [ZEUS], [], ["uuid of cuda", "rapl", "zeus cuda"], (ZEUS,), (NO_NVML, NO_RAPL)),
        ("cuda:1", "6.2", [CPU], [ZEUS], [], ["rapl", "zeus cuda:1"], (CPU, ZEUS), ()),
        ("cuda", "6.2", [CPU], [], [], ["rapl", "zeus cuda"], (CPU,), (on_board(NO_ZEUS),)),
        ("mps", None, [CPU], [PLUG], [], ["rapl", "zeus mps"], (CPU, PLUG), ()),
        ("mps", None, [], [], [], ["rapl", "zeus mps"], (), (on_board(NO_ZEUS), NO_RAPL)),
    ],
)  # fmt: skip
def test_which_sources_are_looked_for(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, device: str, hip: str | None, rapl: list[Any], zeus: list[Any],
    nvml: list[Any], asked: list[str], sources: Any, missing: Any,
) -> None:  # fmt: skip
    monkeypatch.setattr(torch.version, "hip", hip)
    machine.rapl = (rapl, [] if rapl else [NO_RAPL])
    machine.zeus = (zeus, [] if zeus else [NO_ZEUS])
    machine.nvml = (nvml, [] if nvml else [NO_NVML], "the board's probe")
    found = module.detect(device)
    assert (machine.asked, found.sources, found.missing) == (asked, sources, missing)
    if device.startswith("cuda") and hip is None:
        assert found.probe == "the board's probe"
    else:
        assert isinstance(found.probe, HostProbe)


def test_a_board_of_no_known_counter(machine: Machine) -> None:
    machine.zeus = ([], [])
    found = module.detect("mps")
    unknown = Missing("mps", "no energy counter of a mps device is known", "run on another device", "gpu-board")
    assert found.missing == (unknown, NO_RAPL)
    assert module.detect("cpu").missing == (NO_RAPL,)


def test_a_board_beyond_the_last_is_an_error(machine: Machine) -> None:
    with pytest.raises(DeviceError) as error:
        module.detect("cuda:2")
    assert str(error.value) == "device cuda:2 is not there: torch sees 2 CUDA devices; use cpu"
    torch.cuda.device_count = lambda: 1  # restored by the fixture
    module.detect("cuda")


@pytest.mark.parametrize(
    ("rapl", "missing", "zeus", "names"),
    [
        ([], [NO_RAPL], [], ["estimate:processor"]),
        ([CPU], [], [], ["rapl:package-0"]),
        ([CPU, DRAM], [NO_PACKAGE], [], ["estimate:processor"]),
        ([CPU], [NO_DRAM], [], ["rapl:package-0"]),
        ([DRAM], [], [], ["estimate:processor"]),
        ([], [NO_RAPL], [PLUG], ["plug:all"]),
        ([], [NO_PACKAGE], [PLUG], ["plug:all"]),
        ([], [NO_RAPL], [ZEUS], ["zeus:gpu", "estimate:processor"]),
    ],
)  # fmt: skip
def test_an_estimate_stands_in_for_a_processor_that_is_not_measured(
    machine: Machine, rapl: list[Any], missing: list[Missing], zeus: list[Any], names: list[str]
) -> None:
    machine.rapl, machine.zeus = (rapl, missing), (zeus, [])
    assert [each.name for each in module.detect("cpu", estimate=True).sources] == names
    assert "estimate:processor" not in [each.name for each in module.detect("cpu").sources]


def test_the_powercap_tree_may_be_another(tmp_path: Path) -> None:
    (tmp_path / "intel-rapl:0").mkdir()
    for name, text in (("name", "package-0"), ("energy_uj", "1"), ("max_energy_range_uj", "9")):
        (tmp_path / "intel-rapl:0" / name).write_text(text)
    assert [each.name for each in module.detect("cpu", powercap_root=tmp_path).sources] == ["rapl:package-0"]
