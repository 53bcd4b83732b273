"""Peak of live bytes by hand count; what frees does not grow."""

from __future__ import annotations

import gc

import pytest
import torch
from torch import nn

from bpfree.meter import Labels, device_peak, live_memory, reset_device_peak, resident_peak_bytes, tensor_bytes

MIB = 2**20
FLOATS = MIB // 4
"""float32 numbers in a MiB."""


def test_what_is_alive_together_adds_up() -> None:
    memory = live_memory(lambda: [torch.zeros(FLOATS) for _ in range(5)])
    assert (memory.peak_bytes, memory.end_bytes, memory.allocated_bytes) == (5 * MIB, 5 * MIB, 5 * MIB)
    assert memory.start_bytes == 0


@pytest.mark.parametrize("turns", [2, 100])
def test_a_loop_that_frees_does_not_grow(turns: int) -> None:
    def loop() -> None:
        for _ in range(turns):
            x = torch.ones(FLOATS)
            del x

    memory = live_memory(loop)
    assert memory.peak_bytes == MIB
    assert memory.end_bytes == 0
    assert memory.allocated_bytes == turns * MIB


def test_a_loop_that_keeps_grows() -> None:
    kept: list[torch.Tensor] = []
    assert live_memory(lambda: kept.extend(torch.ones(FLOATS) for _ in range(10))).peak_bytes == 10 * MIB


def test_views_and_in_place_work_cost_nothing() -> None:
    def work() -> None:
        x = torch.ones(FLOATS)
        views = [x[1:], x.view(4, -1), x.reshape(2, -1).t(), x.detach(), x.unsqueeze(0)]
        x.add_(1).mul_(2)
        views[1].zero_()

    assert live_memory(work).peak_bytes == MIB


def test_a_view_keeps_its_storage_alive() -> None:
    def work() -> int:
        x = torch.ones(FLOATS)
        part = x[:1]
        del x
        torch.ones(FLOATS)
        return int(part.numel())

    assert live_memory(work).peak_bytes == 2 * MIB


def test_what_existed_before_is_apart() -> None:
    weight, x = torch.ones(512, 512), torch.ones(512, 512)
    memory = live_memory(lambda: torch.mm(weight, x))
    assert memory.start_bytes == 2 * MIB
    assert memory.peak_bytes == MIB
    assert live_memory(lambda: weight.mul_(2)).peak_bytes == 0


def test_tensors_saved_for_backward_stay_alive_until_it_has_run() -> None:
    """They are held by the autograd graph alone, in C++."""
    weights = [torch.ones(512, 512, requires_grad=True) for _ in range(4)]
    x = torch.ones(512, 512)

    def forward() -> torch.Tensor:
        a = x
        for weight in weights:
            a = a @ weight
        return a

    assert live_memory(forward).peak_bytes == 4 * MIB
    with torch.no_grad():
        assert live_memory(forward).peak_bytes == 2 * MIB


@pytest.mark.parametrize("depth", [2, 8, 32])
def test_local_learning_is_told_from_backprop(depth: int) -> None:
    """The two shapes of memory that the whole project is about: constant, and growing with depth."""
    blocks = [nn.Linear(128, 128) for _ in range(depth)]
    x = torch.randn(2048, 128)

    def local() -> None:
        a = x
        with torch.no_grad():
            for block in blocks:
                a = block(a)

    def backprop() -> None:
        a = x
        for block in blocks:
            a = block(a).tanh()
        a.sum().backward()

    assert live_memory(local).peak_bytes == 2 * MIB
    assert live_memory(backprop).peak_bytes >= depth * MIB


def test_gradients_are_seen_although_torch_makes_them() -> None:
    layer = nn.Linear(512, 512, bias=False)
    memory = live_memory(lambda: layer(torch.ones(1, 512)).sum().backward())
    assert memory.end_bytes >= MIB, "the gradient remains"
    layer.zero_grad(set_to_none=True)


def test_numbers_made_into_a_tensor_count() -> None:
    memory = live_memory(lambda: torch.tensor([1.0] * 1000))
    assert memory.peak_bytes == 4000


def test_resizing_in_place_counts_the_difference() -> None:
    def work() -> None:
        x = torch.empty(0)
        x.resize_(FLOATS)
        x.resize_(2 * FLOATS)

    assert live_memory(work).peak_bytes == 2 * MIB


def test_outside_of_the_call_nothing_is_followed() -> None:
    kept = []
    memory = live_memory(lambda: kept.append(torch.ones(FLOATS)))
    kept.clear()
    gc.collect()
    assert memory.end_bytes == MIB


def test_an_error_inside_comes_out() -> None:
    with pytest.raises(ZeroDivisionError):
        live_memory(lambda: 1 / 0)


def test_tensor_bytes_counts_each_storage_once() -> None:
    x = torch.zeros(FLOATS)
    assert tensor_bytes([x, x[1:], x.view(2, -1)]) == MIB
    assert tensor_bytes([x, torch.zeros(FLOATS, dtype=torch.float64)]) == 3 * MIB
    assert tensor_bytes([]) == 0
    assert tensor_bytes([torch.empty(0), torch.empty(0)]) == 0
    layer = nn.Linear(10, 3)
    assert tensor_bytes(layer.parameters()) == 4 * 33


def test_the_resident_peak_covers_what_was_touched() -> None:
    before = resident_peak_bytes()
    block = torch.ones(64 * FLOATS)
    assert resident_peak_bytes() >= before
    assert resident_peak_bytes() >= block.nbytes
    del block
    assert resident_peak_bytes() < 2**42, "bytes, not KiB times KiB"


def test_a_processor_has_no_allocator_peak_and_says_so() -> None:
    reset_device_peak("cpu")
    peak = device_peak("cpu")
    assert (peak.allocated_bytes, peak.reserved_bytes) == (None, None)
    assert "live_memory" in (peak.reason or "")


def test_the_peaks_of_cuda_are_those_of_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    monkeypatch.setattr(torch.cuda, "synchronize", lambda device: calls.append("wait"))
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", lambda device: calls.append("reset"))
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda device: 11)
    monkeypatch.setattr(torch.cuda, "max_memory_reserved", lambda device: 22)
    reset_device_peak("cuda")
    assert calls == ["wait", "reset"]
    peak = device_peak("cuda")
    assert (peak.allocated_bytes, peak.reserved_bytes, peak.reason) == (11, 22, None)


def test_labels_say_what_of_the_peak_was_what() -> None:
    """Named after the peak, and only what was alive at it counts."""
    labels = Labels()

    def work() -> None:
        early = torch.zeros(1000)
        del early
        kept, other = torch.zeros(5000), torch.zeros(3000)
        late = torch.zeros(10)
        labels.name([kept, late], "kept")
        del other

    live = live_memory(work, labels=labels)
    assert live.peak_bytes == 4 * 8010
    assert live.labelled_bytes == {"kept": 4 * 5010}


def test_what_was_not_made_inside_gets_no_label() -> None:
    labels, before = Labels(), torch.zeros(100)
    live = live_memory(lambda: labels.name([before + 0, before], "x"), labels=labels)
    assert live.labelled_bytes == {"x": 400}
