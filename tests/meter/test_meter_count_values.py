"""Operations and bytes by value: each formula with sizes that are all different, and what decides that something counts."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType, SimpleNamespace
from typing import Any

import psutil
import pytest
import torch
from torch import nn
from torch.utils.flop_counter import _FlopCounterMode  # pyright: ignore[reportPrivateUsage]

from bpfree.meter import (
    CarbonFactor,
    DevicePeak,
    FlopCountError,
    Labels,
    LiveMemory,
    count_flops,
    device_peak,
    flop_formulas,
    flops,
    live_memory,
    memory,
    reset_device_peak,
    resident_peak_bytes,
    tensor_bytes,
    tracker,
)
from bpfree.meter.quiet import logging, quiet_codecarbon
from bpfree.numerics.modes import eager_only


@pytest.mark.parametrize(
    ("formula", "shapes", "options", "count"),
    [
        ("cholesky", [(2, 4, 4)], {}, 42),  # 2 x 64 / 3, rounded down once
        ("cholesky_solve", [(2, 3, 4, 5), (2, 3, 4, 4)], {}, 960),
        ("cholesky_inverse", [(2, 4, 4)], {}, 85),
        ("solve_triangular", [(2, 4, 4), (2, 4, 5)], {}, 160),
        ("solve_triangular", [(2, 5, 5), (2, 4, 5)], {"left": False}, 200),
        ("triangular_solve", [(2, 4, 5), (2, 4, 4)], {}, 160),
        ("svd", [(2, 5, 3)], {}, 2 * (6 * 5 * 9 + 20 * 27)),
        ("svd", [(2, 3, 5)], {}, 2 * (6 * 5 * 9 + 20 * 27)),
        ("svd", [(2, 3, 5), True], {}, 2 * (4 * 25 * 3 + 22 * 27)),
        ("svd", [(2, 3, 5), True, False], {}, 2 * (2 * 5 * 9 + 2 * 27)),
        ("mv", [(3, 5), (5,)], {}, 30),
        ("addmv", [(3,), (3, 5), (5,)], {}, 30),
        ("dot", [(7,), (7,)], {}, 14),
        ("addmm", [(3, 5), (3, 4), (4, 5)], {}, 120),
        ("addmm", [(2, 3, 5), (2, 3, 4), (2, 4, 5)], {}, 240),
        ("attention", [(1, 2, 3, 4), (1, 2, 5, 4), (1, 2, 5, 6)], {}, 2 * 2 * 3 * 5 * (4 + 6)),
        ("attention_backward", [(1, 2, 3, 6), (1, 2, 3, 4), (1, 2, 5, 4), (1, 2, 5, 6)], {}, 2 * 2 * 3 * 5 * (3 * 4 + 2 * 6)),
    ],
)  # fmt: skip
def test_formulas(formula: str, shapes: list[Any], options: dict[str, bool], count: int) -> None:
    counted = getattr(flop_formulas, f"{formula}_flop")(*shapes, **options)
    assert (counted, type(counted)) == (count, int)


def test_what_is_a_product_of_matrices() -> None:
    told = {
        ("aten", "mm"): True, ("aten", "my_mm_"): True, ("aten", "add"): False, ("aten", "linalg_cross"): False,
        ("prims", "add"): False, ("somebody", "add"): True, ("somebody", "linalg_cross"): True, ("higher_order", "cond"): True,
    }  # fmt: skip
    assert {key: flops.multiplies_matrices(*key) for key in told} == told


@pytest.mark.parametrize("before", [True, False])
def test_the_fused_layer_is_counted_in_its_parts_and_torch_is_left_as_it_was(
    before: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of 3 places, width 4, 2 heads of 2, inner width 5: 4 maps, scores and sums, 2 layers."""
    layer, x = nn.TransformerEncoderLayer(4, 2, 5, dropout=0.0, batch_first=True).eval(), torch.randn(1, 3, 4)
    usual = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(before)
    try:
        with torch.no_grad():
            assert count_flops(lambda: layer(x)) == 2 * 3 * 4 * 4 * 4 + 2 * 2 * 2 * 9 * 2 + 2 * 2 * 3 * 4 * 5
        assert torch.backends.mha.get_fastpath_enabled() == before
        with pytest.raises(FlopCountError):
            count_flops(lambda: torch.mv(torch.eye(2), torch.ones(2)))
        assert torch.backends.mha.get_fastpath_enabled() == before
    finally:
        torch.backends.mha.set_fastpath_enabled(usual)
    assert capsys.readouterr().out == ""


def test_one_operation_is_seen() -> None:
    assert count_flops(lambda: torch.ones(2).add_(1)) == 0
    x = torch.ones(2)
    assert count_flops(lambda: x.neg()) == 0, "one operation alone"
    assert count_flops(lambda: torch.add(x, 1, out=x)) == 0, "with arguments by name"
    assert count_flops(lambda: x.mul(2).add(1).neg()) == 0


@pytest.mark.parametrize("mode", [flops._Guard, _FlopCounterMode, memory._Tracker])
def test_modes_that_need_no_compiler(mode: Any) -> None:
    handler = mode.__torch_dispatch__.__wrapped__
    assert getattr(handler, "__dynamo_disable") is handler


def test_a_handler_is_marked_once_and_only_where_torch_has_wrapped_it() -> None:
    def handler() -> None: ...

    def marked() -> None: ...

    setattr(marked, "__dynamo_disable", "another")
    for given in (handler, marked):
        eager_only(SimpleNamespace(__torch_dispatch__=SimpleNamespace(__wrapped__=given)))  # type: ignore[arg-type]
    assert getattr(handler, "__dynamo_disable") is handler
    assert getattr(marked, "__dynamo_disable") == "another"
    for other in (SimpleNamespace(__torch_dispatch__=handler), SimpleNamespace()):
        eager_only(other)  # type: ignore[arg-type]


def test_bytes_of_tensors_without_memory_of_their_own() -> None:
    """Two on no device are two, although neither has an address; views of one are one."""
    first, second = torch.empty(10, device="meta"), torch.empty(20, device="meta")
    assert tensor_bytes([first, second]) == 120
    x = torch.zeros(10)
    assert tensor_bytes([x, x[2:], torch.zeros(5)]) == 60
    assert tensor_bytes([torch.from_numpy(x.numpy()), x]) == 40, "two storages of one piece of memory"


def test_a_storage_that_shrinks_frees_and_allocates_nothing() -> None:
    def work() -> torch.Tensor:
        x = torch.ones(100)
        x.resize_(10)
        x.untyped_storage().resize_(40)
        return x.add_(1)

    assert live_memory(work) == LiveMemory(400, 0, 40, 400)


def test_in_place_work_allocates_nothing_and_arguments_by_name_are_seen() -> None:
    x, out = torch.ones(100), torch.empty(100)
    assert live_memory(lambda: x.add_(1).mul_(2)) == LiveMemory(0, 400, 0, 0)
    assert live_memory(lambda: torch.add(x, 1, out=out)) == LiveMemory(0, 800, 0, 0)
    grid = torch.eye(3).to_sparse()
    assert live_memory(lambda: (grid.coalesce(), 3)).start_bytes == 0, "sparse tensors have no one storage"


def test_what_was_there_before_and_is_freed_inside_is_forgotten() -> None:
    held = [torch.zeros(100)]

    def work() -> None:
        held[0].neg()
        held.clear()

    assert live_memory(work) == LiveMemory(400, 0, 0, 400)


def test_labels_are_those_of_the_first_peak() -> None:
    labels = Labels()
    labels.name([torch.zeros(3)], "before")

    def work() -> None:
        first = torch.zeros(100)
        labels.name([first], "first")
        del first
        second, third = torch.zeros(50), torch.zeros(50)
        labels.name([second, third], "second")

    live = live_memory(work, labels=labels)
    assert live == LiveMemory(400, 0, 0, 800, {"first": 400})
    assert live_memory(lambda: torch.zeros(10)).labelled_bytes == {}


@pytest.mark.parametrize(("platform", "peak_bytes"), [("linux", 7 * 1024), ("darwin", 7), ("win32", 99)])
def test_the_peak_of_the_process_in_bytes(monkeypatch: pytest.MonkeyPatch, platform: str, peak_bytes: int) -> None:
    resource: Any = ModuleType("resource")
    resource.RUSAGE_SELF, resource.getrusage = 0, lambda who: SimpleNamespace(ru_maxrss=7 if who == 0 else 1)
    monkeypatch.setitem(sys.modules, "resource", resource)
    monkeypatch.setattr(memory, "sys", SimpleNamespace(platform=platform))
    monkeypatch.setattr(psutil, "Process", lambda: SimpleNamespace(memory_info=lambda: SimpleNamespace(peak_wset=99)))
    assert resident_peak_bytes() == peak_bytes


def test_the_peaks_of_an_allocator(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    for name, value in (
        ("synchronize", 0),
        ("reset_peak_memory_stats", 0),
        ("max_memory_allocated", 11),
        ("max_memory_reserved", 22),
    ):
        monkeypatch.setattr(torch.cuda, name, lambda device, name=name, value=value: asked.append((name, str(device))) or value)
    for device in ("cpu", "mps", "cuda:1"):
        reset_device_peak(device)
    assert asked == [("synchronize", "cuda:1"), ("reset_peak_memory_stats", "cuda:1")]
    assert device_peak("cuda:1") == DevicePeak(11, 22)
    assert asked[2:] == [("max_memory_allocated", "cuda:1"), ("max_memory_reserved", "cuda:1")]
    assert device_peak("mps") == DevicePeak(None, None, "torch keeps no allocator peak for a mps device; see live_memory")


class Tracker:
    """CodeCarbon's tracker: complains as its newest version does, and tells with what it was made."""

    made: dict[str, Any]
    data: Any
    turns: list[tuple[str, bool]]

    def __init__(self, **options: Any) -> None:
        warnings.warn("write no file in the new way", DeprecationWarning, stacklevel=2)
        type(self).made, self.final_emissions_data = options, None
        self._turn("made")

    def _turn(self, name: str) -> None:
        self.turns.append((name, logging.getLogger("codecarbon").disabled))

    def start(self) -> None:
        self._turn("start")

    def stop(self) -> None:
        self._turn("stop")
        self.final_emissions_data = self.data


@contextmanager
def loud() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


@pytest.mark.parametrize(
    ("data", "joules", "co2e_g"),
    [
        (SimpleNamespace(energy_consumed=2.0, emissions=0.5), 7.2e6, 500.0),
        (SimpleNamespace(energy_consumed=0.0, emissions=0.5), None, None),
        (SimpleNamespace(energy_consumed=-1.0, emissions=0.5), None, None),
        (None, None, None),
    ],
)
@pytest.mark.parametrize("fails", [False, True])
def test_a_second_opinion(
    monkeypatch: pytest.MonkeyPatch, data: Any, joules: float | None, co2e_g: float | None, fails: bool
) -> None:
    """2 kWh and 0.5 kg; where nothing was measured there is a reason. The logger is off only while CodeCarbon is at work."""
    package: Any = ModuleType("codecarbon")
    package.OfflineEmissionsTracker = Tracker
    monkeypatch.setitem(sys.modules, "codecarbon", package)
    monkeypatch.setattr(tracker, "carbon_factor", lambda country: CarbonFactor(1.0, "x", 2023, country.upper()))
    Tracker.data, Tracker.turns = data, []
    try:
        with loud(), tracker.codecarbon_window("pol") as check:
            assert check == tracker.CrossCheck(tracker.SCOPE, None, None, "the window is still open")
            Tracker.turns.append(("inside", logging.getLogger("codecarbon").disabled))
            if fails:
                raise ZeroDivisionError
    except ZeroDivisionError:
        assert fails
    why = None if joules is not None else "CodeCarbon measured nothing in this window"
    assert check == tracker.CrossCheck(tracker.SCOPE, joules, co2e_g, why)
    assert Tracker.turns == [("made", True), ("start", True), ("inside", False), ("stop", True)]
    assert Tracker.made == {
        "country_iso_code": "POL", "save_to_file": False, "log_level": "critical", "allow_multiple_runs": True,
        "measure_power_secs": 1,
    }  # fmt: skip


@pytest.mark.parametrize("before", [True, False])
def test_a_logger_is_left_as_it_was(monkeypatch: pytest.MonkeyPatch, before: bool) -> None:
    logger = logging.getLogger("codecarbon")
    monkeypatch.setattr(logger, "disabled", before)
    with pytest.raises(ZeroDivisionError), quiet_codecarbon():
        assert logger.disabled
        raise ZeroDivisionError
    assert logger.disabled == before
