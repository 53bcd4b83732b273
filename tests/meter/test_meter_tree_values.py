"""RAPL and Zeus by value, without the hardware: each tree of files, and each answer that they may give."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch

from bpfree.meter import Missing, SourceError, rapl, zeus_source
from tests.meter.meter_fakes import write_domain


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
