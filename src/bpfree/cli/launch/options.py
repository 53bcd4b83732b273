"""``--launcher`` and ``--slurm``: checked and read before anything heavy is imported."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from typing import Any

from bpfree.errors import UsageError, unknown_name
from bpfree.extras import need
from bpfree.text import key_values

__all__ = ["LAUNCHERS", "check_launcher", "parameters_of"]

LAUNCHERS = ("slurm", "local", "debug")
"""submitit's executors: a cluster; processes of this machine, one job after another; this process."""

_ONE_PROCESS = frozenset(["nodes", "tasks_per_node", "ntasks_per_node", "stderr_to_stdout"])
"""What would start the command of a job more than once, or hide its errors."""

_NUMBERS = {"time": int, "array_parallelism": int, "signal_delay_s": int}
"""Of SLURM; submitit computes with the time, so that ``1:30:00`` will not do."""

_LISTS = frozenset(["setup", "teardown", "srun_args"])
"""Lists of commands or words; one is written without brackets."""


def check_launcher(name: str) -> None:
    """Refuse a launcher that cannot be had here.

    Raises:
        UnknownNameError: no such launcher.
        UsageError: submitit is missing, or this machine cannot submit to SLURM.
    """
    if name not in LAUNCHERS:
        raise unknown_name("launcher", name, LAUNCHERS)
    need(f"--launcher {name}", ("submitit",), "slurm")
    absent = [program for program in ("sbatch", "srun") if shutil.which(program) is None]
    if name == "slurm" and absent:
        raise UsageError(
            f"--launcher slurm was asked, and this machine has no {absent[0]}; give the command on a login node of the cluster, "
            "or try the jobs on this machine with --launcher local"
        )


def parameters_of(launcher: str, pieces: Sequence[str]) -> dict[str, Any]:
    """What ``--slurm key=value`` says, as ``submitit.AutoExecutor.update_parameters`` takes it.

    Args:
        pieces: keys are those of submitit: its own for every cluster (``timeout_min``) and those of SLURM (``partition``,
            with or without ``slurm_`` before it). Values are read as YAML.

    Raises:
        UnknownNameError: a key that submitit does not know, or that would start the command several times.
        UsageError: a piece that is no ``key=value``, a value of another type, or no time for a job on SLURM.
    """
    from submitit import AutoExecutor, SlurmExecutor  # deferred: an extra

    everywhere = AutoExecutor._typed_parameters()
    of_slurm = SlurmExecutor._valid_parameters()
    known = ({*everywhere} | of_slurm) - _ONE_PROCESS
    parameters: dict[str, Any] = {}
    for key, text in key_values(pieces, form="--slurm key=value, such as --slurm partition=gpu", option="--slurm").items():
        name = key.removeprefix("slurm_")
        if name not in known:
            raise unknown_name("parameter of submitit (--slurm)", key, known)
        value = _value(key, name, text, {**everywhere, **_NUMBERS}.get(name))
        parameters[name if name in everywhere else f"slurm_{name}"] = value
    if launcher == "slurm" and not {"timeout_min", "slurm_time"} & parameters.keys():
        raise UsageError(
            "--launcher slurm needs the longest time of a job in minutes, more than the longest run takes: --slurm "
            "timeout_min=240"
        )
    return parameters


def _value(key: str, name: str, text: str, kind: type | None) -> Any:
    import yaml  # deferred: a tenth of a second

    if kind is str:
        return text
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise UsageError(f"cannot read --slurm {key}={text} ({' '.join(str(error).split())}); give a plain value") from None
    if kind is not None:
        number = isinstance(value, (int, float) if kind is float else int) and not isinstance(value, bool)
        if not number or value <= 0:
            raise UsageError(f"--slurm {key} must be a {'' if kind is float else 'whole '}number above 0, got {text!r}")
    if name in _LISTS:
        return value if isinstance(value, list) else [text]
    return text if isinstance(value, dict) and name != "additional_parameters" else value
