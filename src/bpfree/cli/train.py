"""``bpfree train``: one metered run, resumable after each pass."""

from __future__ import annotations

import json
from contextlib import nullcontext
from pathlib import Path

import typer
from rich.console import Console

from bpfree.algorithms import names
from bpfree.bench import Arm, RunDirectory, check_runnable, check_supported, fresh_path, measure
from bpfree.bench.measure import RunFailed
from bpfree.cli.interrupt import QuietObserver, watch_for_interrupts
from bpfree.cli.progress import ConsoleObserver
from bpfree.cli.resume import remember
from bpfree.cli.setting import Request
from bpfree.errors import UsageError, unknown_name
from bpfree.files import writing
from bpfree.meter import Trace
from bpfree.models import Model, save
from bpfree.records import Record
from bpfree.text import key_values
from bpfree.train import Progress
from bpfree.units import format_bytes, format_co2, format_count, format_energy, format_percent, format_time

__all__ = ["train_command"]


def _settings(pairs: list[str]) -> dict[str, str]:
    return key_values(pairs, form="--set key=value, such as --set lr=1e-3", option="--set")


def train_command(
    request: Request,
    *,
    algorithm: str,
    settings: list[str],
    seed: int,
    out: Path | None,
    accept_other_code: bool = False,
    as_json: bool,
    quiet: bool,
) -> int:
    """Train once; 1 if the run diverged or failed."""
    if algorithm not in names() and ":" not in algorithm:
        raise unknown_name("algorithm", algorithm, names())
    if seed < 0:
        raise UsageError(f"--seed must be at least 0, got {seed}")
    arm = Arm.parse(":".join([algorithm, *(f"{key}={value}" for key, value in _settings(settings).items())]))
    rules = request.rules("train")
    check_supported(rules, [arm])
    setting = request.setting(rules)
    check_runnable(setting, [arm])
    setting.plan |= {"arms": [arm.label], "seeds": [seed]}
    directory = RunDirectory(out or fresh_path(f"{arm.algorithm}-{Path(setting.data.name).name}"))
    console = Console(stderr=True, quiet=quiet)
    watch_for_interrupts()
    trained: list[Model] = []
    traces: list[Trace] = []
    model_path: Path | None = None
    with directory.opened(rules, setting.facts, accept_other_code=accept_other_code):
        remember(directory.path)
        record = _finished(directory, arm, setting.data.name, setting.net, seed)
        if record is None:
            with writing(directory.checkpoints_path):
                directory.checkpoints_path.mkdir(exist_ok=True)
            checkpoint = directory.checkpoints_path / f"{arm.algorithm}-seed{seed}.safetensors"
            n_passes = rules.passes(setting.data.name)
            with nullcontext(QuietObserver()) if quiet else ConsoleObserver(console, n_passes) as observer:
                observer.begin(arm.label, n_passes)

                def on_pass(progress: Progress) -> None:
                    observer.passed(progress)
                    console.print(_line(progress), highlight=False)

                try:
                    record = measure(
                        setting, arm, {}, seed, None, on_pass=on_pass, checkpoint=checkpoint, on_trained=trained.append,
                        on_trace=lambda _, trace: traces.append(trace),
                    )  # fmt: skip
                except RunFailed as failure:
                    record = failure.record
                    if isinstance(failure.__cause__, KeyboardInterrupt):
                        directory.append(record, traces)
                        raise failure.__cause__ from None
            directory.append(record, traces)
            for model in trained:  # after the record: a disk that refuses must not take it along
                model_path = _free_path(directory.path / "model.safetensors")
                save(
                    model_path, model.algorithm, model.net, model.state, spec=setting.net, phase=model.phase.index,
                    data=setting.data, val_accuracy=record.val_accuracy,
                )  # fmt: skip
    _print(record, directory.path, model_path, as_json=as_json, quiet=quiet)
    return 0 if record.status == "ok" else 1


def _finished(directory: RunDirectory, arm: Arm, dataset: str, net: str, seed: int) -> Record | None:
    cell = (arm.label, dataset, net, seed)
    return next((r for r in directory.records() if r.cell == cell and r.status != "interrupted"), None)


def _line(progress: Progress) -> str:
    mark = " *" if progress.improved else ""
    return (
        f"pass {progress.passes:>3}  {progress.phase.name}  loss {progress.train_loss:.4f}  "
        f"validation accuracy {format_percent(progress.val_accuracy)} %  {format_time(progress.time_s)}{mark}"
    )


def _free_path(path: Path) -> Path:
    """``model.safetensors``, or ``model-2.safetensors`` where a directory has several runs: no model is written over."""
    free, number = path, 2
    while free.exists():
        free, number = path.with_name(f"{path.stem}-{number}{path.suffix}"), number + 1
    return free


def _print(record: Record, path: Path, model_path: Path | None, *, as_json: bool, quiet: bool) -> None:
    if as_json:
        typer.echo(json.dumps(json.loads(record.to_json()), indent=2))
        return
    if quiet:
        return
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
    return f"  ({record.reasons[key]})" if value is None and key in record.reasons else ""
