"""What a run ran on: versions, processor, GPU, threads. Host and user names are never included."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import re
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import psutil
import torch
from pydantic import BaseModel, ConfigDict, TypeAdapter

from bpfree._version import __version__
from bpfree.bench.json_file import read_json
from bpfree.files import write_atomic

__all__ = [
    "CODE",
    "COUNTED",
    "NOT_COUNTED",
    "Environment",
    "code_digest",
    "configure_torch",
    "digest",
    "digest_of",
    "facts",
    "read_environments",
    "run_code_digest",
    "versions",
    "write_environments",
]

CODE = "bpfree code"
"""Key of :func:`code_digest` among the versions."""

COUNTED = (
    "algorithms", "bench", "data", "meter", "models", "nets", "numerics", "parallel", "records", "rulesets", "stats",
    "train", "bits.py", "countries.py", "ends.py", "fields.py", "tensor_files.py", "units.py",
)  # fmt: skip
"""Parts of the package whose code can change a recorded number: what is searched and trained, how it is metered and evaluated,
how long a target took (``stats``), what a joule is in grams (``countries.py``), and what a checkpoint gives back."""

NOT_COUNTED = (
    "analysis", "catalogue", "cli", "planning", "published", "report", "sklearn", "testing",
    "__init__.py", "__main__.py", "_version.py", "comparison.py", "cores.py", "early_processes.py", "errors.py", "extras.py",
    "files.py", "functions.py", "locks.py", "sources.py", "text.py", "urls.py", "yaml_files.py",
)  # fmt: skip
"""Parts whose code changes no record: they call the others, show what was recorded, or write files and messages."""

_LISTS = ("rulesets", "suites")
"""Folders whose YAML files say what is run, or what others measured. The rules of a run have a digest of their own."""

_PACKAGES = ("torch", "numpy", "scipy", "scikit-learn", "optuna", "codecarbon", "nvidia-ml-py")


class Environment(BaseModel):
    """Everything about machine and software that can change a number.

    The fields from ``gpu`` on are set on a GPU only. ``processor_kind``, ``instruction_set`` and ``blas`` decide how sums are
    rounded: the same command gives the same accuracies where they agree. They are null in files from before they were recorded.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    device: str
    processor: str
    cores: int | None
    memory_bytes: int
    torch_threads: int
    system: str
    float32_matmul_precision: str
    deterministic_algorithms: bool
    versions: dict[str, str]
    processor_kind: str | None = None
    instruction_set: str | None = None
    blas: str | None = None
    gpu: str | None = None
    gpu_memory_bytes: int | None = None
    gpu_capability: str | None = None
    cuda: str | None = None
    cudnn: int | None = None
    float32_convolutions_in_tf32: bool | None = None

    def as_json(self) -> dict[str, Any]:
        """The fields that were set, as plain values."""
        return self.model_dump(mode="json", exclude_unset=True)


_ENVIRONMENTS = TypeAdapter(dict[str, Environment])


def read_environments(path: Path) -> dict[str, Environment]:
    """The environments of ``environment.json`` by their digest; none where there is no file.

    Raises:
        RunDirectoryError: the file does not hold environments.
    """
    return read_json(path, _ENVIRONMENTS, {})


def write_environments(path: Path, environments: dict[str, Environment]) -> None:
    """Write ``environment.json`` as a whole.

    Raises:
        StorageError: the disk is full, read-only or not permitted.
    """
    write_atomic(path, json.dumps({key: each.as_json() for key, each in environments.items()}, indent=2) + "\n")


@cache
def code_digest() -> str:
    """:func:`digest_of` the installed bpfree.

    A version number stays the same between two releases, and an installed package does not know its commit; this
    distinguishes both. It decides whether a run directory may be resumed.
    """
    return digest_of(Path(__file__).parents[1])


def digest_of(root: Path) -> str:
    """First 16 hexadecimal digits of the sha256 of the code and tables under ``root`` that can change a recorded number.

    Args:
        root: folder of the package ``bpfree``.
    """
    files: list[Path] = []
    for part in COUNTED:
        path = root / part
        files += [path] if path.is_file() else path.rglob("*.py")
        files += (table for table in path.rglob("*.yaml") if table.parent.name not in _LISTS)
    sha = hashlib.sha256()
    for path in sorted(files):
        sha.update(f"{path.relative_to(root).as_posix()}\n".encode() + path.read_bytes())
    return sha.hexdigest()[:16]


def run_code_digest() -> str:
    """First 16 hexadecimal digits of the sha256 of all code that decides what a run computes: bpfree's, torch, and optuna."""
    known = versions()
    return hashlib.sha256(json.dumps([known[key] for key in (CODE, "torch", "optuna")]).encode()).hexdigest()[:16]


def versions() -> dict[str, str]:
    """Versions of bpfree and of what its numbers depend on."""
    by_name = {"bpfree": __version__, CODE: code_digest(), "python": platform.python_version()}
    return by_name | {package: _version_of(package) for package in _PACKAGES}


@cache  # what is installed later is not what this process has loaded; reading one takes a millisecond
def _version_of(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


CPU_INFO = Path("/proc/cpuinfo")
"""Where Linux describes the processor."""


def _cpu_info() -> dict[str, str]:
    """What Linux says of the first processor, by key; empty elsewhere."""
    try:
        first = CPU_INFO.read_text(errors="replace").partition("\n\n")[0]
    except OSError:
        return {}
    pairs = (line.partition(":") for line in first.splitlines())
    return {key.strip(): value.strip() for key, colon, value in pairs if colon}


def _processor_kind(info: dict[str, str]) -> str:
    """Maker, family, model and stepping, which a name such as "AMD EPYC" of a virtual machine does not tell."""
    numbers = ("cpu family", "model", "stepping")
    words = [f"{key.removeprefix('cpu ')} {info[key]}" for key in numbers if key in info]
    return " ".join([info["vendor_id"], *words]) if "vendor_id" in info else platform.processor() or platform.machine()


def _blas(config: str) -> str:
    """The library that multiplies matrices on the processor, from what torch says of how it was built."""
    library = re.search(r"BLAS_INFO=([^,\s]+)", config)
    mkl = re.search(r"Math Kernel Library Version ([\d.]+)", config)
    name = library.group(1) if library else "unknown"
    return f"{name} {mkl.group(1)}" if mkl and name == "mkl" else name


def facts(device: torch.device) -> Environment:
    """The environment of runs on ``device``, as torch is configured now."""
    gpu: dict[str, Any] = {}
    if device.type == "cuda":
        properties = torch.cuda.get_device_properties(device)
        gpu = {
            "gpu": properties.name,
            "gpu_memory_bytes": properties.total_memory,
            "gpu_capability": f"{properties.major}.{properties.minor}",
            "cuda": torch.version.cuda,
            "cudnn": torch.backends.cudnn.version(),
            "float32_convolutions_in_tf32": torch.backends.cudnn.allow_tf32,
        }
    info = _cpu_info()
    return Environment(
        device=str(device),
        processor=info.get("model name") or platform.processor() or platform.machine(),
        processor_kind=_processor_kind(info),
        instruction_set=torch.backends.cpu.get_cpu_capability(),
        blas=_blas(torch.__config__.show()),
        cores=os.cpu_count(),
        memory_bytes=psutil.virtual_memory().total,
        torch_threads=torch.get_num_threads(),
        system=f"{platform.system()} {platform.machine()}",
        float32_matmul_precision=torch.get_float32_matmul_precision(),
        deterministic_algorithms=torch.are_deterministic_algorithms_enabled(),
        versions=versions(),
        **gpu,
    )


SMALL_STEP_MACS = 50_000_000
"""Multiply-adds below which a step gains nothing from several cores: waking threads costs as much as they save."""


def configure_torch(n_params: int, batch_size: int, device: torch.device) -> None:
    """Compute float32 products in full, and use one thread for steps too small to share; call it before measuring.

    By default torch rounds the factors of a float32 convolution on a GPU to TF32 (10 bits), but not those of a matrix product:
    ``precision: float32`` would then differ between nets, and FOTON's difference of two passes would be wrong by 1 %.
    The number of threads depends on the net alone, so that all arms and runs agree; the environment variable
    ``OMP_NUM_THREADS`` overrides it.
    """
    torch.backends.cudnn.allow_tf32 = False
    small = 3 * n_params * batch_size < SMALL_STEP_MACS  # forward, and twice that for gradients
    if device.type == "cpu" and small and "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(1)


def digest(environment: Environment) -> str:
    """First 16 hexadecimal digits of the sha256 of the environment; records refer to it by this."""
    return hashlib.sha256(json.dumps(environment.as_json(), sort_keys=True).encode()).hexdigest()[:16]
