"""``bpfree train``: one metered run, resumable after each pass."""

from __future__ import annotations

import json
import os
from pathlib import Path

from bpfree.algorithms import names
from bpfree.bench import Arm, RunDirectory, Setting
from bpfree.bench.arm_rules import ArmRules
from bpfree.bench.directory import cell_name
from bpfree.bench.runs import measure_into
from bpfree.cli.options import DirectoryOptions, OutputOptions
from bpfree.cli.output import print_json, print_pairs, say
from bpfree.cli.session import Checked, Session, check, open_directory
from bpfree.cli.setting import Request
from bpfree.errors import UsageError, unknown_name
from bpfree.files import writing
from bpfree.models import Model, card_path, save
from bpfree.records import Record, read_records
from bpfree.text import key_values
from bpfree.train import Progress, initialise
from bpfree.train.checkpoint import Snapshot
from bpfree.train.checkpoint import load as load_checkpoint
from bpfree.train.within import every_of
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
    place: DirectoryOptions,
    output: OutputOptions,
    parallel: str | None = None,
    checkpoint_every: str | None = None,
) -> int:
    """Train once; 1 if the run diverged or failed.

    Args:
        checkpoint_every: steps or seconds between checkpoints within a pass, see :func:`bpfree.training`.
        parallel: how the ranks of a torchrun share the work, see :mod:`bpfree.cli.train_parallel`; None for this process alone.

    Raises:
        RunInterruptedError: memory ran out, or the device was lost.
    """
    if parallel is not None:
        from bpfree.cli.train_parallel import in_ranks

        def arm_of() -> Arm:
            if checkpoint_every is not None:
                raise UsageError("--parallel has checkpoints after each pass alone; leave out --checkpoint-every")
            return _arm(algorithm, settings, seed)

        return in_ranks(parallel, request, arm_of, seed, lambda ready: _train(ready, arm_of(), seed, place, output))
    arm = _arm(algorithm, settings, seed)
    every_of(checkpoint_every, Path())  # refused before anything is loaded
    if (ranks := os.environ.get("WORLD_SIZE", "1")) != "1" and "LOCAL_RANK" in os.environ:
        raise UsageError(f"torchrun started {ranks} processes that would all train the same; add --parallel layers or data")
    return _train(check(request, "train", [arm], [seed]), arm, seed, place, output, checkpoint_every)


def _arm(algorithm: str, settings: list[str], seed: int) -> Arm:
    """What is trained.

    Raises:
        UsageError: there is no such rule or setting, or the seed is below 0.
    """
    if algorithm not in names() and ":" not in algorithm:
        raise unknown_name("algorithm", algorithm, names())
    if seed < 0:
        raise UsageError(f"--seed must be at least 0, got {seed}")
    return Arm.parse(":".join([algorithm, *(f"{key}={value}" for key, value in _settings(settings).items())]))


def _train(
    checked: Checked, arm: Arm, seed: int, place: DirectoryOptions, output: OutputOptions, every: str | None = None
) -> int:
    setting = checked.setting
    model_path: Path | None = None
    with open_directory(checked, place, f"{arm.algorithm}-{checked.dataset}", quiet=output.quiet) as (directory, session):
        rules = setting.arm_rules(arm)
        record = directory.finished().get(rules.cell(seed))
        checkpoint = directory.checkpoints_path / f"{cell_name(rules.cell(seed))}.safetensors"
        trained: list[Model] = []
        if record is None:
            record = _run(setting, rules, seed, directory, session, checkpoint, trained, every)
        elif record.status == "ok" and checkpoint.exists():  # killed between the record and the model
            trained.append(_trained(setting, rules, seed, checkpoint, record))
        for model in trained:
            model_path = _model_path(directory, record)
            save(
                model_path,
                model.algorithm,
                model.net,
                model.state,
                spec=setting.net,
                phase=model.phase.index,
                data=setting.data,
                val_accuracy=record.val_accuracy,
                test_accuracy=record.test_accuracy,
                ruleset_digest=record.ruleset_digest,
                seed=record.seed,
                precision=model.precision,
            )
        checkpoint.unlink(missing_ok=True)  # last: as long as it is there, the model may be missing
    if output.as_json:
        print_json(json.loads(record.to_json()))
    elif not output.quiet:
        _print(record, directory.path, model_path)
    return 0 if record.status == "ok" else 1


def _run(
    setting: Setting,
    rules: ArmRules,
    seed: int,
    directory: RunDirectory,
    session: Session,
    checkpoint: Path,
    trained: list[Model],
    every: str | None,
) -> Record:
    """Run or resume; the trained model is put into ``trained`` if the run ends well."""
    with writing(directory.checkpoints_path):
        directory.checkpoints_path.mkdir(exist_ok=True)
    with session.watch(rules.passes) as observer:
        observer.begin(rules.arm.label, rules.passes)

        def on_pass(progress: Progress) -> None:
            observer.passed(progress)
            session.console.print(_line(progress))

        return measure_into(
            directory,
            setting,
            rules.arm,
            {},
            seed,
            None,
            on_pass=on_pass,
            checkpoint=checkpoint,
            save_every=every,
            on_trained=trained.append,
        )


def _line(progress: Progress) -> str:
    mark = " *" if progress.improved else ""
    return (
        f"pass {progress.passes:>3}  {progress.phase.name}  loss {progress.train_loss:.4f}  "
        f"validation accuracy {format_percent(progress.val_accuracy)} %  {format_time(progress.time_s)}{mark}"
    )


def _trained(setting: Setting, rules: ArmRules, seed: int, checkpoint: Path, record: Record) -> Model:
    """The model of a run that has ended, from its last checkpoint."""
    algorithm, net = rules.chosen.build({}), setting.build_net()
    state = initialise(algorithm, net, seed, setting.device)
    snapshot = Snapshot(net, state)
    load_checkpoint(checkpoint, net, state, snapshot)
    snapshot.restore()
    return setting.model(algorithm, net, state, algorithm.phases(net)[record.history[-1].phase])


def _model_path(directory: RunDirectory, record: Record) -> Path:
    """``model.safetensors`` for the first run of a directory that ended well, ``model-2.safetensors`` for the second."""
    ended = [each for each in read_records(directory.records_path) if each.status == "ok"]
    number = 1 + next(k for k, each in enumerate(ended) if each.cell == record.cell)
    return directory.path / ("model.safetensors" if number == 1 else f"model-{number}.safetensors")


def _print(record: Record, path: Path, model_path: Path | None) -> None:
    if record.status != "ok":
        say(f"{record.status}: {record.reasons['status']}")
    flops = record.flops.train_step if record.flops else None
    rows = {
        "test accuracy": f"{format_percent(record.test_accuracy)} %{_by_class(record)}",
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
        rows |= {"model": str(model_path), "model card": str(card_path(model_path))}
    print_pairs(rows)


def _by_class(record: Record) -> str:
    """What the accuracy is to be held against: the share of the most frequent class, and accuracy class by class."""
    seen = record.by_class
    if seen is None:
        return ""
    listed = seen.class_words([format_percent(recall) for recall in seen.recall])
    recalls = ", ".join(listed[:10]) + (", ..." if len(listed) > 10 else "")
    return (
        f" (the most frequent class is {format_percent(seen.majority_share)} %; balanced "
        f"{format_percent(seen.balanced_accuracy)} %; recall by class {recalls})"
    )


def _why(record: Record, key: str, value: float | None) -> str:
    """Why a value is null, or that it is an estimate."""
    reason = record.reasons.get(key if value is None else "energy.flag.estimate")
    return f"  ({reason})" if reason else ""
