"""What is refused before torch is imported: names, files and rules of a ruleset that the command line shows to be wrong.

Whatever passes here is checked again by what uses it, in the same words: this only spares a user the seconds of an import.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from bpfree import catalogue
from bpfree.cli.launch.options import check_launcher
from bpfree.cli.target import is_column, parse_target
from bpfree.cores import check_jobs
from bpfree.countries import carbon_table, check_country
from bpfree.errors import DataError, RunDirectoryError, UsageError
from bpfree.extras import check_format
from bpfree.functions import is_function_text
from bpfree.sources import check_file, file_kind
from bpfree.units import check_limit, parse_bytes
from bpfree.urls import check_storage

__all__ = ["refuse"]


def refuse(options: Mapping[str, Any], command: str = "") -> None:
    """Look at the options of a command by their names; an option that is not given is None.

    Args:
        command: its name.

    Raises:
        BpfreeError: as the command would, later.
    """
    if options.get("parallel") is not None:
        return  # several processes would say it; once they have met, one of them does
    for name, check in _CHECKS.items():
        if (value := options.get(name)) is not None:
            check(value)
    if (jobs := options.get("jobs")) is not None:
        check_jobs(jobs, options.get("device") or "cpu")
    target = options.get("target")
    if not is_column(target, options.get("dataset"), options.get("target_column")):
        parse_target(target)
    if command == "plan":
        _budget(options)
    _alone(options)
    if isinstance(rule := options.get("algorithm"), str):
        _rule(rule, options.get("settings") or ())
    if command == "export":
        check_format(options["format_"], options["to"])
    if (ruleset := options.get("ruleset")) is not None:
        _ruleset(ruleset, command, {name: options.get(name) for name in _RULES})


def _alone(options: Mapping[str, Any]) -> None:
    """Options that mean nothing without another one."""
    if options.get("flops_per_second") is not None:
        check_limit("flops_per_second", options["flops_per_second"])
        if not options.get("dry_run"):
            raise UsageError("--flops-per-second predicts hours and runs nothing; give --dry-run too")
    if options.get("slurm") and options.get("launcher") is None:
        raise UsageError(f"--slurm {options['slurm'][0]} is for jobs of a cluster; give --launcher slurm too")


def _budget(options: Mapping[str, Any]) -> None:
    if (memory := options.get("max_memory")) is not None:
        parse_bytes(memory)
    for name in ("max_seconds", "max_joules"):
        check_limit(name, options.get(name))
    for name in ("batch_size", "max_passes"):
        if (value := options.get(name)) is not None and value < 1:
            raise UsageError(f"--{name.replace('_', '-')} must be at least 1, got {value}")


def _rule(name: str, settings: Sequence[str]) -> None:
    if ":" not in name:
        catalogue.check_rule(name)
    if all("=" in setting and ":" not in setting for setting in settings):
        catalogue.check_arm(":".join([name, *settings]))


def _arms(text: str) -> None:
    for word in text.split(","):
        if word.strip():
            catalogue.check_arm(word)


def _net(text: str | Sequence[str]) -> None:
    for each in [text] if isinstance(text, str) else text:
        catalogue.check_net(each)


def _dataset(text: str) -> None:
    family = text.partition(":")[0]
    if is_function_text(text) and family not in catalogue.datasets():
        return
    catalogue.check_dataset(text)
    kind = file_kind(text, tuple(catalogue.datasets()))
    for path in text.split(",") if kind == "npy" else [text] if kind in ("npz", "table") else []:
        check_file(Path(path))


def _ruleset(text: str, command: str, changes: Mapping[str, Any]) -> None:
    from bpfree import rulesets  # deferred: pydantic

    if command in ("compare", "train", "tune"):
        rulesets.changed_rules(text, command, changes)
    else:
        rulesets.load(text)


def _models(paths: Path | Sequence[Path]) -> None:
    for path in [paths] if isinstance(paths, Path) else paths:
        if not path.exists():
            raise DataError(
                f"{path} cannot be read as a model (No such file or directory: {path}); give the model.safetensors that bpfree "
                "train wrote"
            )


def _directories(paths: Sequence[Path]) -> None:
    for path in paths:
        if not path.is_dir():
            raise RunDirectoryError(f"{path} is not a directory; run directories are made by: bpfree compare --out DIR")


def _country(text: str) -> None:
    if table := carbon_table():
        check_country(text, table)


_CHECKS: dict[str, Callable[[Any], object]] = {
    "suite": catalogue.check_suite,
    "directories": _directories,
    "arms": _arms,
    "rule": catalogue.check_arm,
    "dataset": _dataset,
    "net": _net,
    "country": _country,
    "device": catalogue.check_device,
    "model": _models,
    "models": _models,
    "data": check_file,
    "launcher": check_launcher,
    "storage": check_storage,
}

_RULES = (
    *("trials", "seeds", "studies", "split_seeds"),
    *("max_passes", "patience", "batch_size", "max_hours", "class_weight", "tier", "precision"),
)
"""Options that change a ruleset."""
