"""Jobs on one of submitit's executors: submitted, waited for, and found again by the same command."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, TypeAdapter

from bpfree.bench.json_file import read_json
from bpfree.cli.launch.job import run_command
from bpfree.errors import RunDirectoryError
from bpfree.files import write_atomic, writing

__all__ = ["Job", "run_jobs"]

MOST_TIMEOUTS = 100
"""How often a job is queued again after its time was over. Each sitting of a search makes trials, so that it ends."""

WEEK_MIN = 7 * 24 * 60
"""Time of a job on this machine, where submitit's default is two minutes."""


@dataclass(frozen=True)
class Job:
    """A command line, and the run directory that it writes.

    Attributes:
        arm: for messages.
        arguments: of ``bpfree``.
    """

    arm: str
    folder: Path
    arguments: list[str]


class _Submitted(BaseModel):
    """What ``jobs.json`` holds of a job that a cluster was given."""

    model_config = ConfigDict(frozen=True)

    job_id: str
    arguments: list[str]


_FILE: TypeAdapter[dict[str, _Submitted]] = TypeAdapter(dict[str, _Submitted])


def run_jobs(
    launcher: str, parameters: Mapping[str, Any], jobs: Sequence[Job], root: Path, say: Callable[[str], None]
) -> dict[str, str]:
    """Submit what is not submitted yet, wait for everything.

    On a cluster all jobs are one array. On this machine they run one after another, so that a metered run is alone.

    Args:
        launcher: name of a submitit executor.
        parameters: of ``submitit.AutoExecutor.update_parameters``.
        root: directory of the comparison.

    Returns:
        Of each job that failed, by arm, the reason.
    """
    from submitit import AutoExecutor  # deferred: an extra

    logs = root.absolute() / "logs"
    with writing(logs):
        (root / "jobs").mkdir(exist_ok=True)
        logs.mkdir(exist_ok=True)
    executor = AutoExecutor(logs, cluster=launcher, slurm_max_num_timeout=MOST_TIMEOUTS, local_max_num_timeout=MOST_TIMEOUTS)
    executor.update_parameters(**{"name": "bpfree", **({} if launcher == "slurm" else {"timeout_min": WEEK_MIN}), **parameters})
    if launcher == "slurm":
        return _wait(_array(executor, jobs, root / "jobs.json", logs, say), say)
    failed: dict[str, str] = {}
    for job in jobs:
        failed |= _wait({job.arm: executor.submit(run_command, job.arguments, str(Path.cwd()))}, say)
    return failed


def _array(executor: Any, jobs: Sequence[Job], file: Path, logs: Path, say: Callable[[str], None]) -> dict[str, Any]:
    """Jobs of the cluster by arm: those of an earlier call that wait, run or succeeded, and an array of the others."""
    try:
        known = read_json(file, _FILE, {})
    except RunDirectoryError as error:  # the jobs' directories are locked, so that nothing is run twice at once
        say(f"{error}; jobs of an earlier command are not found again")
        known = {}
    working = {job.arm: again for job in jobs if (again := _found_again(known.get(job.arm), job, logs)) is not None}
    new = [job for job in jobs if job.arm not in working]
    if new:
        with executor.batch():
            made = [executor.submit(run_command, job.arguments, str(Path.cwd())) for job in new]
        working |= {job.arm: each for job, each in zip(new, made, strict=True)}
        plain = {
            job.arm: _Submitted(job_id=working[job.arm].job_id, arguments=job.arguments).model_dump(mode="json") for job in jobs
        }
        write_atomic(file, json.dumps(plain, indent=1) + "\n")
    for job in jobs:
        say(f"{job.arm}: job {working[job.arm].job_id}{'' if job in new else ', submitted earlier'}")
    return {job.arm: working[job.arm] for job in jobs}


def _found_again(known: _Submitted | None, job: Job, logs: Path) -> Any:
    """The cluster's job of an earlier call with the same command, unless it failed or was cancelled."""
    from submitit import SlurmJob

    if known is None or known.arguments != job.arguments:
        return None
    there = SlurmJob(logs, known.job_id)
    if there.done(force_check=True) and (not there.paths.result_pickle.exists() or there.exception() or there.result() != 0):
        return None
    return there


def _wait(working: Mapping[str, Any], say: Callable[[str], None]) -> dict[str, str]:
    """Wait for jobs; what became of each is said, and of those that failed it is returned."""
    from submitit.core.utils import FailedJobError, FailedSubmissionError, UncompletedJobError

    failed: dict[str, str] = {}
    for arm, job in working.items():
        try:
            code = job.result()
            why = "" if code == 0 else f"exit code {code}"
        except (UncompletedJobError, FailedJobError, FailedSubmissionError) as error:
            why = str(error).splitlines()[0] if str(error) else type(error).__name__
        if why:
            failed[arm] = f"{why}{_last_words(job)} (logs: {job.paths.stderr})"
        say(f"{arm}: {failed.get(arm, 'done')}")
    return failed


def _last_words(job: Any) -> str:
    """The line by which the command said why it ended."""
    lines = [line for line in (job.stderr() or "").splitlines() if line.startswith("bpfree: ")]
    return f", {lines[-1].removeprefix('bpfree: ')}" if lines else ""
