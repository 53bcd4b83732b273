"""What broke a run: the arm, or the world around it."""

from __future__ import annotations

import errno
import os

import pytest
import torch

from bpfree.bench.causes import ends_the_process, interruption, world_cause
from bpfree.errors import RunInterruptedError, StorageError, UsageError

FULL = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "a")
LOST = "CUDA error: unspecified launch failure\nCUDA kernel errors might be asynchronously reported"


@pytest.mark.parametrize(
    ("error", "cause"),
    [
        (FULL, "storage"),
        (StorageError("cannot write a: the disk is full"), "storage"),
        (OSError(errno.EIO, "the disk is dying"), "storage"),
        (MemoryError(), "memory"),
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"), "memory"),
        (
            RuntimeError("[enforce fail at alloc_cpu.cpp:124] DefaultCPUAllocator: can't allocate memory"),
            "memory",
        ),
        (RuntimeError("CUDA error: out of memory"), "memory"),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"), "memory"),
        (RuntimeError(LOST), "device"),
        (RuntimeError("cuDNN error: CUDNN_STATUS_EXECUTION_FAILED"), "device"),
        (RunInterruptedError("the device was lost", "device"), "device"),
        (RuntimeError("CUDA error: device-side assert triggered"), None),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), None),
        (ValueError("no finite threshold"), None),
        (KeyboardInterrupt(), None),
    ],
)
def test_the_world_is_told_from_the_arm(error: BaseException, cause: str | None) -> None:
    assert world_cause(error) == cause


def test_what_an_error_was_raised_from_counts() -> None:
    wrapped = UsageError("block 1 raised")
    wrapped.__cause__ = torch.OutOfMemoryError("CUDA out of memory")
    assert world_cause(wrapped) == "memory"


def test_a_disk_keeps_its_cure_and_others_say_what_happened() -> None:
    assert "free some space" in str(interruption(FULL))
    assert isinstance(interruption(FULL), StorageError)
    lost = interruption(RuntimeError(LOST))
    assert isinstance(lost, RunInterruptedError)
    assert str(lost) == "the device was lost (RuntimeError: CUDA error: unspecified launch failure)"
    assert interruption(RuntimeError("shapes")) is None


def test_a_device_that_asserted_takes_no_more_work_though_the_arm_is_to_blame() -> None:
    assert ends_the_process(RuntimeError("CUDA error: device-side assert triggered"))
    assert ends_the_process(RuntimeError(LOST))
    assert not ends_the_process(MemoryError())
    assert not ends_the_process(RuntimeError("shapes"))
