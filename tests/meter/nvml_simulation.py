"""Compile the driver of nvml_driver.c, and let the real binding of nvidia-ml-py load it."""

from __future__ import annotations

import _ctypes
import contextlib
import ctypes
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pynvml

SONAME = "libnvidia-ml.so.1"
SOURCE = Path(__file__).with_name("nvml_driver.c")

UUID_A = "aaaaaaaa-1111-2222-3333-444444444444"
UUID_B = "bbbbbbbb-1111-2222-3333-444444444444"


class Gpu(ctypes.Structure):
    """The struct ``gpu`` of the C file."""

    _fields_ = (
        ("uuid", ctypes.c_char * 64),
        ("energy_mj", ctypes.c_uint64),
        ("live_since_ns", ctypes.c_uint64),
        ("period_ns", ctypes.c_uint64),
        ("power_mw", ctypes.c_uint32),
        ("mig", ctypes.c_uint32),
        ("energy_error", ctypes.c_uint32),
        ("power_error", ctypes.c_uint32),
        ("probe_error", ctypes.c_uint32),
        ("n_processes", ctypes.c_uint32),
        ("pids", ctypes.c_uint32 * 4),
        ("sm_clock_mhz", ctypes.c_uint32),
        ("memory_clock_mhz", ctypes.c_uint32),
        ("utilisation_percent", ctypes.c_uint32),
        ("temperature_c", ctypes.c_uint32),
        ("memory_used", ctypes.c_uint64),
    )


def compiler() -> str | None:
    """A C compiler, or ``None``."""
    return next((path for name in ("cc", "gcc", "clang") if (path := shutil.which(name))), None)


def compile_driver(folder: Path, *flags: str) -> Path:
    """Build the shared library under the name that the binding asks for."""
    folder.mkdir(parents=True, exist_ok=True)
    library = folder / SONAME
    command = [compiler(), "-shared", "-fPIC", "-O1", "-Wall", "-Werror", f"-Wl,-soname,{SONAME}", *flags]
    subprocess.run([*command, "-o", str(library), str(SOURCE)], check=True)
    return library


class Driver:
    """The scripted driver, loaded: two boards, the first 0-watt idle unless the test says otherwise."""

    def __init__(self, library: ctypes.CDLL) -> None:
        self._library = library
        self.gpus = (Gpu * 4).in_dll(library, "sim_gpus")
        for gpu, uuid in zip(self.gpus, (UUID_A, UUID_B), strict=False):
            gpu.uuid = f"GPU-{uuid}".encode()
            gpu.energy_mj, gpu.power_mw, gpu.mig = 5_000_000, 100_000, 2
            gpu.sm_clock_mhz, gpu.memory_clock_mhz = 1410, 1215
            gpu.utilisation_percent, gpu.temperature_c, gpu.memory_used = 50, 40, 1 << 30
        library.sim_now_ns.restype = ctypes.c_uint64

    def board(self, uuid: str) -> Gpu:
        """The board of this UUID."""
        return next(gpu for gpu in self.gpus if gpu.uuid.decode().endswith(uuid))

    def go_live(self, gpu: Gpu, *, watts: float, period_s: float = 0.02) -> None:
        """From now on the counter of ``gpu`` runs by itself."""
        gpu.power_mw, gpu.period_ns = round(watts * 1e3), round(period_s * 1e9)
        gpu.live_since_ns = self._library.sim_now_ns()

    def set(self, name: str, value: int) -> None:
        """Set one of the global numbers: ``sim_error``, ``sim_init_error``."""
        ctypes.c_uint32.in_dll(self._library, name).value = value

    @property
    def n_calls(self) -> int:
        return ctypes.c_uint32.in_dll(self._library, "sim_n_calls").value


def _forget() -> None:
    """Make the binding load the library again."""
    pynvml.nvmlLib = None
    pynvml._nvmlGetFunctionPointer_cache.clear()


@contextlib.contextmanager
def loaded(path: Path) -> Iterator[Driver]:
    """The driver in place of NVIDIA's, as long as the block runs.

    The loader takes an open library of the same SONAME for the one that is asked for, so the binding's own
    ``CDLL("libnvidia-ml.so.1")`` finds it. Where NVIDIA's is open already, it is handed over instead.
    """
    library = ctypes.CDLL(str(path))
    driver = Driver(library)
    _forget()
    found = ctypes.CDLL(SONAME)
    if not hasattr(found, "sim_now_ns"):
        pynvml.nvmlLib = library
    try:
        yield driver
    finally:
        opened = {handle._handle: handle for handle in (library, found, pynvml.nvmlLib) if handle is not None}
        n_opened = 3 if pynvml.nvmlLib is not None and pynvml.nvmlLib is not library else 2
        _forget()
        own = library._handle
        for _ in range(n_opened if set(opened) == {own} else 1):
            _ctypes.dlclose(own)
