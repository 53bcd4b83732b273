"""``bpfree compare``: tune, train and meter several arms under one ruleset."""

from __future__ import annotations

from bpfree import report
from bpfree.bench import ComparisonRun, SilentObserver, parse_arms
from bpfree.cli.options import DirectoryOptions, OutputOptions
from bpfree.cli.output import print_json, say
from bpfree.cli.report import print_tables
from bpfree.cli.resume import fail_interrupted
from bpfree.cli.session import check, open_directory
from bpfree.cli.setting import Request, torch_device
from bpfree.cli.shared import check_alone, opened, work_in
from bpfree.cores import check_jobs

__all__ = ["compare_command"]


def compare_command(
    request: Request,
    *,
    arms: str | None,
    jobs: int | None,
    storage: str | None = None,
    place: DirectoryOptions,
    output: OutputOptions,
) -> int:
    """Run or resume a comparison; 1 if every run failed, or some were interrupted because memory ran out."""
    jobs = check_alone(storage, jobs)
    check_jobs(jobs, str(torch_device(request.meter.device)))
    checked = check(request, "compare", None if arms is None else parse_arms(arms))
    setting, store = checked.setting, opened(storage)
    with open_directory(checked, place, checked.dataset, quiet=output.quiet) as (directory, session):
        comparison = ComparisonRun(
            setting, checked.arms, setting.ruleset.plan.seeds, directory, SilentObserver(), request.other_splits(setting), jobs
        )
        comparison.shared = work_in(storage, store, directory, request, checked, "compare", arms)
        with session.watch(comparison.n_passes()) as observer:
            comparison.observer = observer
            records = comparison.run()
        if not records:
            return fail_interrupted(comparison.interrupted)
        paths = report.build([directory.path], accept_other_code=place.accept_other_code)
    if output.as_json:
        print_json(report.summarise([directory.path], accept_other_code=place.accept_other_code))
    elif not output.quiet:
        print_tables([directory.path], accept_other_code=place.accept_other_code)
        say(f"report: {paths.page}")
    if comparison.interrupted:
        return fail_interrupted(comparison.interrupted)
    return 0 if any(record.status == "ok" for record in records) else 1
