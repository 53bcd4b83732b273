"""The count of steps: host memory, shared with its buffer through copies, pickles and loads."""

from __future__ import annotations

import copy
import pickle

import torch

from bpfree.algorithms._count import StepCount


def test_counts_in_its_buffer() -> None:
    count = StepCount()
    assert [count.advance() for _ in range(3)] == [1, 2, 3]
    assert int(count.steps) == count.value == 3
    count.steps.zero_()
    assert count.value == 0


def test_copies_and_pickles_count_on_their_own() -> None:
    count = StepCount()
    count.advance()
    for twin in (copy.deepcopy(count), pickle.loads(pickle.dumps(count))):
        twin.advance()
        assert (count.value, int(count.steps)) == (1, 1)
        assert (twin.value, int(twin.steps)) == (2, 2)


def test_loads_in_place_and_never_moves() -> None:
    count, other = StepCount(), StepCount()
    for _ in range(7):
        other.advance()
    address = count.steps.data_ptr()
    count.load_state_dict(other.state_dict())
    count.to(torch.float64).to("meta")
    assert count.value == 7
    assert count.steps.data_ptr() == address
    assert count.steps.dtype == torch.int64


def test_due() -> None:
    assert [n for n in range(1, 8) if StepCount.due(n, 3)] == [3, 6]
    assert all(StepCount.due(n, 1) for n in range(1, 4))
