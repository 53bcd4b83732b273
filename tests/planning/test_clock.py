"""Operations are known by their text, timed once, and kept for the machine."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from bpfree.planning.clock import BETWEEN, REPEATED, Clock, NotTimedError
from bpfree.planning.operations import Operation, operations_of


def test_an_operation_is_known_by_kernel_and_shapes_and_a_view_by_its_kernel() -> None:
    a, b = torch.rand(3, 4), torch.rand(5, 4)
    counts = operations_of(lambda: (a @ b.t(), a @ b.t(), a @ a.t(), a.t()))
    by_name = {}
    for operation, count in counts.items():
        by_name.setdefault(operation.text.split(".")[1] if "." in operation.text else operation.text, []).append(count)
    assert sorted(by_name["mm"]) == [1, 2]
    assert by_name["t"] == [4]
    (product,) = [operation for operation in counts if "[5, 4]" in operation.text or "[4, 5]" in operation.text]
    assert product.argument_bytes == 4 * (3 * 4 + 4 * 5)
    result = product.prepared()()
    assert isinstance(result, torch.Tensor)
    assert result.shape == (3, 5)
    assert result.isfinite().all()


def test_what_was_timed_is_kept_until_it_is_timed_afresh(tmp_path: Path) -> None:
    path, work = tmp_path / "cache" / "clock.json", operations_of(lambda: torch.rand(8, 8) @ torch.rand(8, 8))
    clock = Clock(path)
    seconds = clock.seconds(work)
    clock.settle(1)
    assert 0 < clock.seconds(work) <= seconds
    clock.save()
    again = Clock(path)
    assert again.seconds(work) == clock.seconds(work)
    assert again.measured_s == 0
    fresh = Clock(path, fresh=True)
    fresh.seconds(work)
    assert fresh.measured_s > 0


def test_a_step_takes_its_operations_and_the_time_between_them() -> None:
    work = operations_of(lambda: torch.rand(8, 8).exp())
    clock = Clock()
    alone = clock.seconds(work) - clock.between_s(work)
    twice = clock.seconds({key: 2 * count for key, count in work.items()})
    assert twice == pytest.approx(2 * (alone + clock.between_s(work)))


def test_a_repeated_step_has_a_time_between_of_its_own(tmp_path: Path) -> None:
    work = operations_of(lambda: torch.rand(8, 8).exp())
    path = tmp_path / "clock.json"
    Clock(path).seconds(work)
    path.write_text(json.dumps(dict.fromkeys((each.text for each in work), 1e-3) | {BETWEEN: 0.25, REPEATED: 0.125}))
    clock, n = Clock(path), sum(work.values())
    assert clock.between_s(work) == 0.25 * n
    assert clock.between_s(work, repeated=True) == 0.125 * n
    assert clock.seconds(work, repeated=True) == pytest.approx(0.126 * n)


@pytest.mark.parametrize("content", ["", "[1, 2]", '{"mm": "fast"}', "{"])
def test_a_damaged_cache_is_measured_again(tmp_path: Path, content: str) -> None:
    path = tmp_path / "clock.json"
    path.write_text(content)
    clock = Clock(path)
    clock.seconds(operations_of(lambda: torch.zeros(2)))
    clock.save()
    assert BETWEEN in path.read_text()


def test_an_expanded_tensor_can_be_made_again() -> None:
    (operation,) = [each for each in operations_of(lambda: torch.rand(3, 1).expand(3, 4).exp()) if "exp.default" in each.text]
    result = operation.prepared()()
    assert isinstance(result, torch.Tensor)
    assert result.shape == (3, 4)


def test_an_operation_that_refuses_random_numbers_is_named() -> None:
    clock = Clock()
    refusing = Operation("aten.refused(1)", lambda: torch.zeros(2, 3) @ torch.zeros(2, 3), ((), {}))
    with pytest.raises(NotTimedError, match=r"aten\.refused cannot be timed by itself"):
        clock.seconds({refusing: 1})
