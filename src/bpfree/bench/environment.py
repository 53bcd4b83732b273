"""What a run ran on: versions, processor, GPU, threads. Host and user names never enter."""

from __future__ import annotations

import hashlib
import json
import os
import platform
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import psutil
import torch

import bpfree
from bpfree._version import __version__

__all__ = ["CODE", "code_digest", "configure_torch", "digest", "facts", "run_code_digest", "versions"]

CODE = "bpfree code"
"""Key of :func:`code_digest` among the versions."""

_FLOORS = ("algorithms", "bench", "data", "meter", "nets", "numerics", "train")
"""Parts of the package whose code can change a measured number; what a report looks like cannot."""

_LISTS = ("suites", "published")
"""Folders within them that say what is run, or what others have measured."""

_PACKAGES = ("torch", "numpy", "scipy", "scikit-learn", "optuna", "codecarbon", "nvidia-ml-py")


@cache
def code_digest() -> str:
    """First 16 hexadecimal digits of the sha256 of bpfree's own code and tables, as far as they can change a number.

    A version number stands still between two releases, and a commit is not known to an installed package; this knows both.
    """
    root = Path(bpfree.__file__).parent
    sha = hashlib.sha256()
    files = (path for floor in _FLOORS for path in (root / floor).rglob("*") if path.suffix in (".py", ".yaml"))
    for path in sorted(path for path in files if path.parent.name not in _LISTS):
        sha.update(f"{path.relative_to(root).as_posix()}\n".encode() + path.read_bytes())
    return sha.hexdigest()[:16]


def run_code_digest() -> str:
    """First 16 hexadecimal digits of the sha256 of all code that decides what a run computes: bpfree's, torch, and optuna."""
    known = versions()
    return hashlib.sha256(json.dumps([known[key] for key in (CODE, "torch", "optuna")]).encode()).hexdigest()[:16]


def versions() -> dict[str, str]:
    """Versions of bpfree and of what its numbers depend on."""
    found = {"bpfree": __version__, CODE: code_digest(), "python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return found


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text(errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def facts(device: torch.device) -> dict[str, Any]:
    """Everything about machine and software that could change a number."""
    found: dict[str, Any] = {
        "device": str(device),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "memory_bytes": psutil.virtual_memory().total,
        "torch_threads": torch.get_num_threads(),
        "system": f"{platform.system()} {platform.machine()}",
        "float32_matmul_precision": torch.get_float32_matmul_precision(),
        "deterministic_algorithms": torch.are_deterministic_algorithms_enabled(),
        "versions": versions(),
    }
    if device.type == "cuda":
        properties = torch.cuda.get_device_properties(device)
        found |= {
            "gpu": properties.name,
            "gpu_memory_bytes": properties.total_memory,
            "gpu_capability": f"{properties.major}.{properties.minor}",
            "cuda": torch.version.cuda,
            "cudnn": torch.backends.cudnn.version(),
            "float32_convolutions_in_tf32": torch.backends.cudnn.allow_tf32,
        }
    return found


SMALL_STEP_MACS = 50_000_000
"""Multiply-adds below which a step is not worth sharing among cores: waking threads costs as much as they save."""


def configure_torch(n_params: int, batch_size: int, device: torch.device) -> None:
    """Full float32 products, and one thread for steps too small to share; before anything is measured.

    By default torch rounds the factors of a float32 convolution on a GPU to TF32 (10 bits), but not those of a matrix product:
    then ``precision: float32`` would mean another thing for each net, and FOTON's difference of two passes would be 1 % off.
    The number of threads is a function of the net alone, so that all arms and runs agree; a person's own ``OMP_NUM_THREADS``
    has the last word.
    """
    torch.backends.cudnn.allow_tf32 = False
    small = 3 * n_params * batch_size < SMALL_STEP_MACS  # forward, and twice that for gradients
    if device.type == "cpu" and small and "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(1)


def digest(environment: dict[str, Any]) -> str:
    """First 16 hexadecimal digits of the sha256 of the facts."""
    return hashlib.sha256(json.dumps(environment, sort_keys=True).encode()).hexdigest()[:16]
