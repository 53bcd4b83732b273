"""``bpfree tune``: the search alone."""

from __future__ import annotations

import shlex

import typer

from bpfree.bench import Arm, ComparisonRun, SilentObserver
from bpfree.bench.tuned import TunedRow
from bpfree.cli.options import DirectoryOptions, OutputOptions
from bpfree.cli.output import print_json, say
from bpfree.cli.session import check, open_directory
from bpfree.cli.setting import Request, torch_device
from bpfree.cli.shared import check_alone, opened, work_in
from bpfree.cores import check_jobs
from bpfree.units import format_energy, format_percent, format_time

__all__ = ["tune_command"]


def tune_command(
    request: Request,
    *,
    arm: str,
    jobs: int | None,
    storage: str | None = None,
    place: DirectoryOptions,
    output: OutputOptions,
) -> int:
    """Run what is left of a search; print the best values as options of ``bpfree train``."""
    parsed = Arm.parse(arm)
    jobs = check_alone(storage, jobs)
    check_jobs(jobs, str(torch_device(request.meter.device)))
    checked = check(request, "tune", [parsed])
    store = opened(storage)
    name = f"tune-{parsed.algorithm}-{checked.dataset}"
    with open_directory(checked, place, name, quiet=output.quiet) as (directory, session):
        comparison = ComparisonRun(checked.setting, checked.arms, (), directory, SilentObserver(), jobs=jobs)
        comparison.shared = work_in(storage, store, directory, request, checked, "tune", arm)
        with session.watch(comparison.n_passes()) as observer:
            comparison.observer = observer
            row = TunedRow.model_validate(comparison.tune()[parsed.label].row)
        directory.add_tuned([row])
    if output.as_json:
        print_json(row.as_json() | {"directory": str(directory.path)})
        return 0
    options = [word for name, value in row.best.items() for word in ("--set", f"{name}={value!r}")]
    typer.echo(shlex.join(options) if options else "nothing to tune: the arm fixes every hyper-parameter that is searched")
    if not output.quiet:
        _print(row)
        say(f"written to {directory.path}")
    return 0


def _print(row: TunedRow) -> None:
    at_once = f" (summed over trials, {row.trials_at_once} at once)" if (row.trials_at_once or 1) > 1 else ""
    say(
        f"validation accuracy {format_percent(row.best_val_accuracy)} %, best of {row.trials} trials of at most "
        f"{row.passes_per_trial} passes ({row.diverged_trials} diverged), {format_time(row.time_s)}{at_once}, "
        f"energy {format_energy(row.joules)}"
    )
    for name in row.at_edge:
        say(f"{name} lies at the edge of its space ({row.space[name]}); a better value may lie outside")
