"""``bpfree train``: one metered run, resumable after each pass."""

from __future__ import annotations

import json
from pathlib import Path

import typer

from bpfree.algorithms import names
from bpfree.bench import Arm, RunDirectory, Setting
from bpfree.bench.arm_rules import ArmRules
from bpfree.bench.runs import measure_into
from bpfree.cli.options import DirectoryOptions, OutputOptions
from bpfree.cli.output import print_json
from bpfree.cli.session import Session, check, open_directory
from bpfree.cli.setting import Request
from bpfree.errors import UsageError, unknown_name
from bpfree.files import writing
from bpfree.models import Model, save
from bpfree.records import Record
from bpfree.text import key_values
from bpfree.train import Progress
from bpfree.units import format_bytes, format_co2, format_count, format_energy, format_percent, format_time

__all__ = ["train_command"]


def _settings(pairs: list[str]) -> dict[str, str]:
    return key_values(pairs, form="--set key=value, such as --set lr=1e-3", option="--set")


def train_command(
    request: Request, *, algorithm: str, settings: list[str], seed: int, place: DirectoryOptions, output: OutputOptions
) -> int:
    """Train once; 1 if the run diverged or failed."""
    if algorithm not in names() and ":" not in algorithm:
        raise unknown_name("algorithm", algorithm, names())
    if seed < 0:
        raise UsageError(f"--seed must be at least 0, got {seed}")
    arm = Arm.parse(":".join([algorithm, *(f"{key}={value}" for key, value in _settings(settings).items())]))
    checked = check(request, "train", [arm], [seed])
    setting = checked.setting
    model_path: Path | None = None
    with open_directory(checked, place, f"{arm.algorithm}-{checked.dataset}", quiet=output.quiet) as (directory, session):
        rules = setting.arm_rules(arm)
        record = directory.finished().get(rules.cell(seed))
        if record is None:
            trained: list[Model] = []
            record = _run(setting, rules, seed, directory, session, trained)
            for model in trained:
                model_path = _free_path(directory.path / "model.safetensors")
                save(
                    model_path,
                    model.algorithm,
                    model.net,
                    model.state,
                    spec=setting.net,
                    phase=model.phase.index,
                    data=setting.data,
                    val_accuracy=record.val_accuracy,
                )
    if output.as_json:
        print_json(json.loads(record.to_json()))
    elif not output.quiet:
        _print(record, directory.path, model_path)
    return 0 if record.status == "ok" else 1


def _run(setting: Setting, rules: ArmRules, seed: int, directory: RunDirectory, session: Session, trained: list[Model]) -> Record:
    """Run or resume; the trained model is put into ``trained`` if the run ends well."""
    with writing(directory.checkpoints_path):
        directory.checkpoints_path.mkdir(exist_ok=True)
    checkpoint = directory.checkpoints_path / f"{rules.arm.algorithm}-seed{seed}.safetensors"
    with session.watch(rules.passes) as observer:
        observer.begin(rules.arm.label, rules.passes)

        def on_pass(progress: Progress) -> None:
            observer.passed(progress)
            session.console.print(_line(progress))

        return measure_into(
            directory, setting, rules.arm, {}, seed, None, on_pass=on_pass, checkpoint=checkpoint, on_trained=trained.append
        )


def _line(progress: Progress) -> str:
    mark = " *" if progress.improved else ""
    return (
        f"pass {progress.passes:>3}  {progress.phase.name}  loss {progress.train_loss:.4f}  "
        f"validation accuracy {format_percent(progress.val_accuracy)} %  {format_time(progress.time_s)}{mark}"
    )


def _free_path(path: Path) -> Path:
    """``model.safetensors``, or ``model-2.safetensors`` where a directory has several runs: no model is replaced."""
    free, number = path, 2
    while free.exists():
        free, number = path.with_name(f"{path.stem}-{number}{path.suffix}"), number + 1
    return free


def _print(record: Record, path: Path, model_path: Path | None) -> None:
    if record.status != "ok":
        typer.echo(f"{record.status}: {record.reasons['status']}")
    flops = record.flops.train_step if record.flops else None
    rows = {
        "test accuracy": f"{format_percent(record.test_accuracy)} %",
        "validation accuracy": f"{format_percent(record.val_accuracy)} %",
        "passes": str(record.passes),
        "time": f"{format_time(record.time_s)} (of which validation {format_time(record.eval_time_s)})",
        "energy": format_energy(record.energy.joules) + _why(record, "energy.joules", record.energy.joules),
        "CO2e": format_co2(record.co2e_g) + _why(record, "co2e_g", record.co2e_g),
        "FLOPs per step": format_count(flops),
        "peak memory": format_bytes(record.peak_memory_bytes),
        "record": str(path / "records.jsonl"),
    }
    if model_path is not None:
        rows["model"] = str(model_path)
    width = max(map(len, rows))
    for name, value in rows.items():
        typer.echo(f"{name:<{width}}  {value}")


def _why(record: Record, key: str, value: float | None) -> str:
    """Why a value is null, or that it is an estimate."""
    reason = record.reasons.get(key if value is None else "energy.flag.estimate")
    return f"  ({reason})" if reason else ""
