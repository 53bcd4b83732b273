"""Memory: peak of live tensor bytes (a dispatch mode), peak resident set, and the peaks of a device's allocator."""

from __future__ import annotations

import functools
import itertools
import sys
import weakref
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import psutil
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from bpfree.numerics.modes import eager_only

__all__ = [
    "DevicePeak",
    "Followed",
    "Labels",
    "LiveMemory",
    "device_peak",
    "followed_memory",
    "live_memory",
    "reset_device_peak",
    "resident_peak_bytes",
    "tensor_bytes",
]


@dataclass(frozen=True)
class LiveMemory:
    """Bytes of tensor storages during a call.

    Attributes:
        peak_bytes: most bytes that were live at once among the storages made inside the call.
        start_bytes: bytes of storages that existed before and that the call used (weights, state, batch).
        end_bytes: bytes made inside that are still alive when it returns (its result included).
        allocated_bytes: all bytes made inside, freed or not.
        labelled_bytes: of the bytes live at the peak, those that were given a label (:class:`Labels`), by label.
    """

    peak_bytes: int
    start_bytes: int
    end_bytes: int
    allocated_bytes: int
    labelled_bytes: dict[str, int] = field(default_factory=dict)


class Labels:
    """Labels of storages, given by the caller; a storage may be labelled after the peak during which it was live."""

    def __init__(self) -> None:
        self.of_serial: dict[int, str] = {}
        self._serial_of: Callable[[Any], int | None] = lambda _: None

    def name(self, tensors: Iterable[Tensor], label: str) -> None:
        """Label the storages of ``tensors`` that were made inside the call that is being followed."""
        for storage in _storages(list(tensors)):
            serial = self._serial_of(storage)
            if serial is not None:
                self.of_serial[serial] = label

    def naming(self, label: str) -> Callable[[Iterable[Tensor]], None]:
        """:meth:`name` with this label, to be called with tensors alone."""
        return functools.partial(self.name, label=label)

    def follow(self, serial_of: Callable[[Any], int | None]) -> None:
        """Take the numbers of storages from a tracker."""
        self._serial_of = serial_of


class _Tracker(TorchDispatchMode):
    """Follows storages by weak reference: a view counts nothing, a freed storage is subtracted at once."""

    def __init__(self) -> None:
        super().__init__()
        self._made: dict[int, tuple[weakref.ref[Any], int, int]] = {}  # reference, bytes, serial number
        self._before: dict[int, tuple[weakref.ref[Any], int]] = {}
        self.live_bytes = self.peak_bytes = self.allocated_bytes = 0
        self._serials = itertools.count()
        self._at_peak: list[tuple[int, int]] = []  # serial number and bytes of each storage live at the peak

    def serial_of(self, storage: Any) -> int | None:
        """Number of a storage made inside (``id`` may be used again), or ``None``."""
        known = self._made.get(id(storage))
        return None if known is None else known[2]

    def labelled_bytes(self, labels: Labels) -> dict[str, int]:
        """Bytes at the peak by label."""
        by_label: dict[str, int] = {}
        for serial, size in self._at_peak:
            if (label := labels.of_serial.get(serial)) is not None:
                by_label[label] = by_label.get(label, 0) + size
        return by_label

    @property
    def start_bytes(self) -> int:
        return sum(size for _, size in self._before.values())

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        # A tensor made from Python numbers appears first as the argument of lift_fresh.
        fresh = func._overloadpacket is torch.ops.aten.lift_fresh
        if not fresh:
            for storage in _storages((args, kwargs)):
                if id(storage) not in self._made:
                    self._note_before(storage)
        out = func(*args, **kwargs)
        for storage in _storages(out):
            self._note(storage)
        return out

    def _note_before(self, storage: Any) -> None:
        key = id(storage)
        if key not in self._before:
            forget = weakref.ref(storage, lambda _: self._before.pop(key, None))
            self._before[key] = (forget, storage.nbytes())

    def _note(self, storage: Any) -> None:
        key, size = id(storage), storage.nbytes()
        if key in self._before:
            return
        known = self._made.get(key)
        if known is None:
            self._made[key] = (weakref.ref(storage, lambda _: self._freed(key)), size, next(self._serials))
            grown = size
        else:
            self._made[key] = (known[0], size, known[2])  # resize_ changes a storage in place
            grown = size - known[1]
        self.live_bytes += grown
        self.allocated_bytes += max(0, grown)
        if self.live_bytes > self.peak_bytes:
            self.peak_bytes = self.live_bytes
            self._at_peak = [(serial, size) for _, size, serial in self._made.values()]

    def _freed(self, key: int) -> None:
        _, size, _ = self._made.pop(key)
        self.live_bytes -= size


eager_only(_Tracker)


def _storages(tree: Any) -> list[Any]:
    return [leaf.untyped_storage() for leaf in tree_leaves(tree) if isinstance(leaf, Tensor) and leaf.layout == torch.strided]


@dataclass
class Followed:
    """``memory`` of a block that was followed; nothing until it has ended."""

    memory: LiveMemory = LiveMemory(0, 0, 0, 0)


@contextmanager
def followed_memory(labels: Labels | None = None) -> Iterator[Followed]:
    """Follow every storage that a block of code makes, on any device.

    Args:
        labels: filled by the block while it runs; what of the peak carries which label is in the result.

    What is not seen: workspaces inside a kernel, the allocator's rounding, memory of NumPy, compiled code and graphs (run the
    step eagerly). A storage counts from the operation that returned it to its last reference.
    """
    labels = labels or Labels()
    with _Tracker() as tracker:
        labels.follow(tracker.serial_of)
        yield (followed := Followed())
        by_label = tracker.labelled_bytes(labels)
        bytes_of = (tracker.peak_bytes, tracker.start_bytes, tracker.live_bytes, tracker.allocated_bytes)
        followed.memory = LiveMemory(*bytes_of, by_label)


def live_memory(fn: Callable[[], object], *, labels: Labels | None = None) -> LiveMemory:
    """Run ``fn`` once, and follow its storages as :func:`followed_memory` does; its result is alive at the end."""
    with followed_memory(labels) as followed:
        result = fn()
    del result
    return followed.memory


def tensor_bytes(tensors: Iterable[Tensor]) -> int:
    """Bytes of the storages behind ``tensors``, each storage once however many views of it there are."""
    storages = [t.untyped_storage() for t in tensors]
    sizes = {  # a fake, on the device meta, has no address
        storage._cdata if storage.device.type == "meta" else storage.data_ptr() or id(storage): storage.nbytes()
        for storage in storages
    }
    return sum(sizes.values())


def resident_peak_bytes() -> int:
    """Peak resident set of this process since it started (bytes): the whole process, interpreter and libraries included."""
    if sys.platform == "win32":
        return psutil.Process().memory_info().peak_wset
    import resource  # not on Windows

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024  # macOS counts bytes, Linux KiB


@dataclass(frozen=True)
class DevicePeak:
    """Peaks of a device's allocator since the last reset; ``None`` with a reason where it records none.

    Attributes:
        allocated_bytes: in tensors.
        reserved_bytes: taken from the driver, so that no other process can use them.
        reason: why the peaks are None.
    """

    allocated_bytes: int | None
    reserved_bytes: int | None
    reason: str | None = None


def reset_device_peak(device: torch.device | str) -> None:
    """Reset the peaks to what is allocated now."""
    device = torch.device(device)
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        torch.cuda.reset_peak_memory_stats(device)


def device_peak(device: torch.device | str) -> DevicePeak:
    """The peaks since :func:`reset_device_peak`. The CUDA context itself (some 0.5 GiB) is not in them."""
    device = torch.device(device)
    if device.type != "cuda":
        return DevicePeak(None, None, f"torch keeps no allocator peak for a {device.type} device; see live_memory")
    return DevicePeak(torch.cuda.max_memory_allocated(device), torch.cuda.max_memory_reserved(device))
