"""Calls on nothing but constants: made again when a constant has changed, and only then."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest
import torch
from torch import Tensor

from bpfree.numerics.host import host_number, update_by_host
from bpfree.numerics.operations import Operations, as_list, recording


def listed(make: Callable[[], Tensor], constants: Sequence[Tensor]) -> Operations:
    with recording() as recorder:
        result = make()
    operations = as_list(recorder, result, constants)
    assert isinstance(operations, Operations), operations
    return operations


def test_what_is_made_of_constants_is_made_once() -> None:
    """Two of three calls; the third reads x too."""
    temperature, x = torch.tensor(2.0), torch.arange(3.0)
    operations = listed(lambda: x / (-(temperature * 4)), [temperature])
    assert (len(operations.of_constants), len(operations.calls)) == (2, 1)
    assert operations.repeat().tolist() == [0.0, -0.125, -0.25]
    x.mul_(8)
    assert operations.repeat().tolist() == [0.0, -1.0, -2.0]


def test_a_constant_that_changed_is_read_again() -> None:
    temperature, threshold, x = torch.tensor(2.0), torch.tensor(1.0), torch.arange(3.0)
    operations = listed(lambda: (x - threshold * 3) / (temperature * 4), [temperature, threshold])
    assert operations.repeat().tolist() == [-0.375, -0.25, -0.125]
    temperature.fill_(0.25)
    assert operations.repeat().tolist() == [-3.0, -2.0, -1.0]
    with torch.no_grad():
        threshold.copy_(torch.tensor(0.0))
    assert operations.repeat().tolist() == [0.0, 1.0, 2.0]


def test_calls_on_constants_are_made_at_the_first_repetition_and_after_a_change() -> None:
    constant, x = torch.tensor(2.0), torch.ones(2)
    operations = listed(lambda: x + (constant * 3), [constant])
    operations.repeat()
    (made,) = (each for each in _memory_of(operations) if each.item() == 6.0)
    made.fill_(50.0)  # it would be 6 again, were it made again
    assert operations.repeat().tolist() == [51.0, 51.0]
    constant.add_(1)
    assert operations.repeat().tolist() == [10.0, 10.0]


def _memory_of(operations: Operations) -> list[Tensor]:
    """0-D tensors that the calls are given."""
    given = [argument for call in operations.calls for argument in getattr(call, "args", ())]
    return [each for each in given if isinstance(each, Tensor) and each.dim() == 0]


def test_what_a_step_writes_to_is_no_constant() -> None:
    """By an operation, or by the host; nor is what is made of it, or what is written to after it was made."""
    total, count, fixed, x = torch.tensor(1.0), torch.tensor(1.0), torch.tensor(1.0), torch.ones(2)

    def count_up(tensor: Tensor) -> Callable[[], None]:
        number = host_number(tensor)

        def update() -> None:
            number.value += 1

        return update

    def make() -> Tensor:
        total.add_(1)
        update_by_host(count_up, count)
        written = (fixed * 2).add_(x[0])
        return torch.stack([total * 2, count * 2, written + 0])

    operations = listed(make, [total, count, fixed])
    assert len(operations.of_constants) == 0
    assert operations.repeat().tolist() == [6.0, 6.0, 3.0]
    assert operations.repeat().tolist() == [8.0, 8.0, 3.0]


def test_draws_are_drawn_each_time() -> None:
    constant = torch.full((50,), 0.5)
    operations = listed(lambda: torch.bernoulli(constant) + 0, [constant])
    assert len(operations.of_constants) == 0
    torch.manual_seed(0)
    assert not torch.equal(operations.repeat().clone(), operations.repeat())


def test_what_is_no_constant_stays_in_the_list() -> None:
    """A call without tensors, or with one more."""
    constant, x = torch.tensor(2.0), torch.ones(2)
    operations = listed(lambda: torch.ones(2) * constant + x, [constant])
    assert len(operations.of_constants) == 0


def test_a_tensor_whose_writes_are_not_counted_is_no_constant() -> None:
    with torch.inference_mode():
        constant = torch.tensor(2.0)
    x = torch.ones(2)
    with torch.inference_mode():
        operations = listed(lambda: x * (constant + 1), [constant])
        assert len(operations.of_constants) == 0
        constant.fill_(4.0)
    assert operations.repeat().tolist() == [5.0, 5.0]


def test_constants_of_both_kinds() -> None:
    with torch.inference_mode():
        uncounted = torch.tensor(2.0)
    counted, x = torch.tensor(3.0), torch.ones(2)
    with torch.inference_mode():
        operations = listed(lambda: x * (counted * 2) * (uncounted + 1), [counted, uncounted])
    assert len(operations.of_constants) == 1
    assert operations.repeat().tolist() == [18.0, 18.0]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_memory_of_constants_is_used_for_nothing_else(dtype: torch.dtype) -> None:
    """What is made of them is read late, after memory of its size has been asked for and given back."""
    constant, x = torch.ones(8, dtype=dtype), torch.arange(8, dtype=dtype)

    def make() -> Tensor:
        threefold = constant * 3
        y = x
        for _ in range(5):
            y = y + 1
        return y * threefold

    operations = listed(make, [constant])
    for _ in range(3):
        assert operations.repeat().tolist() == [3.0 * (k + 5) for k in range(8)]
