"""Numbers read from the processor's memory."""

from __future__ import annotations

import pytest
import torch

from bpfree.numerics.host import host_value, on_host


@pytest.mark.parametrize(("value", "dtype"), [(0.1, torch.float64), (0.25, torch.float32), (-(1 << 62) - 3, torch.int64)])
def test_the_value_is_that_of_the_tensor(value: float, dtype: torch.dtype) -> None:
    several = torch.tensor([7, value, 9], dtype=dtype)
    assert on_host(several[1])
    assert host_value(several[1]) == several[1].item() == value


def test_formats_and_devices_that_cannot_be_read_are_said() -> None:
    assert not on_host(torch.zeros((), dtype=torch.bfloat16))
    assert not on_host(torch.zeros((), device="meta"))
