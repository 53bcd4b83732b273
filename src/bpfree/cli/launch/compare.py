"""``bpfree compare --launcher``: each arm is a job, and the report joins their directories.

``DIR/ruleset.yaml`` holds the rules of all jobs, ``DIR/jobs/ARM/`` is the run directory of one, ``DIR/logs/`` has what jobs print
and what submitit keeps, ``DIR/jobs.json`` says which job of the cluster works for which arm, ``DIR/report/`` is the whole.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch

from bpfree import report
from bpfree.bench import Arm, RunDirectory, environment, fresh_path, parse_arms
from bpfree.bench.checked import arms_for
from bpfree.cli.launch.jobs import Job, run_jobs
from bpfree.cli.launch.options import parameters_of
from bpfree.cli.options import DirectoryOptions, LaunchOptions, OutputOptions
from bpfree.cli.output import print_json
from bpfree.cli.report import print_tables
from bpfree.cli.session import check, start
from bpfree.cli.setting import Request
from bpfree.rulesets import Ruleset, save
from bpfree.text import slug

__all__ = ["FOLDED", "launch_command"]

FOLDED = frozenset(
    [
        *("ruleset", "max_passes", "patience", "batch_size", "max_hours", "class_weight", "tier", "precision", "trials", "seeds"),
        *("studies", "split_seeds", "with_control", "arms", "launcher", "slurm", "out", "as_json", "quiet"),
    ]
)
"""Parameters of ``compare`` that a job gets from the ruleset's file, or in its own words, or not at all."""


def launch_command(
    request: Request,
    words: Sequence[str],
    *,
    arms: str | None,
    launch: LaunchOptions,
    place: DirectoryOptions,
    output: OutputOptions,
) -> int:
    """Submit the jobs that are not done, wait for all, and report; 1 if one failed.

    Args:
        words: options that every job has.
    """
    assert launch.launcher is not None
    parameters = parameters_of(launch.launcher, launch.slurm or [])
    if request.meter.device == "cuda":
        parameters.setdefault("gpus_per_node", 1)
    rules, chosen, name = _checked(request, arms)
    directory = RunDirectory(place.out or fresh_path(name))
    with directory.opened(rules, environment.facts(torch.device("cpu")), accept_other_code=place.accept_other_code):
        session = start(directory.path, quiet=output.quiet)

        def say(line: str) -> None:
            directory.log(line)
            session.console.print(line, markup=False)

        jobs = _jobs(directory.path, rules, chosen, words)
        failed = run_jobs(launch.launcher, parameters, jobs, directory.path, say)
        folders = [job.folder for job in jobs if (job.folder / "records.jsonl").exists()]
        if not folders:
            return _fail(failed)
        paths = report.build(folders, directory.path / "report", accept_other_code=place.accept_other_code)
    if output.as_json:
        print_json(report.summarise(folders, accept_other_code=place.accept_other_code))
    elif not output.quiet:
        print_tables(folders, accept_other_code=place.accept_other_code)
        say(f"report: {paths.page}")
    return _fail(failed) if failed else 0


def _fail(failed: Mapping[str, str]) -> int:
    """Say why jobs failed; returns the exit code."""
    for arm, why in failed.items():
        print(f"bpfree: {arm}: {why}", file=sys.stderr, flush=True)  # noqa: T201 - an error, as in main
    return 1


def _checked(request: Request, arms: str | None) -> tuple[Ruleset, Sequence[Arm], str]:
    """Rules, arms and the data set's name; the data are loaded and the arms tried where this machine has the device.

    A login node has no GPU: there each job checks for itself.
    """
    asked = None if arms is None else parse_arms(arms)
    if request.meter.device == "cuda" and not torch.cuda.is_available():
        rules, chosen = arms_for(request.rules("compare"), "compare", asked)
        return rules, chosen, Path(request.data.dataset or next(iter(rules.plan.datasets), "digits")).name
    ready = check(request, "compare", asked)
    return ready.setting.ruleset, ready.arms, ready.dataset


def _jobs(root: Path, rules: Ruleset, arms: Sequence[Arm], words: Sequence[str]) -> list[Job]:
    """One for each arm; the job of the baseline runs the control too."""
    file = root.absolute() / "jobs-ruleset.yaml"
    save(rules.with_changes({"control": False}), file)  # written each time: the plan, such as the seeds, may have changed
    plain = [arm for arm in arms if not arm.control]
    baseline = min(plain, key=lambda arm: (arm.label != "backprop", arm.algorithm != "backprop"))
    jobs = []
    for arm in plain:
        folder = root.absolute() / "jobs" / _folder_name(arm.label)
        control = ["--with-control"] if arm is baseline and len(plain) < len(arms) else []
        ending = [f"--ruleset={file}", f"--arms={arm.label}", f"--out={folder}", "--quiet"]
        jobs.append(Job(arm.label, folder, ["compare", *words, *control, *ending]))
    return jobs


def _folder_name(label: str) -> str:
    """Readable, and with a digest where two labels could become one name."""
    name = slug(label, keep="._=")
    return name if name == label else f"{name}-{hashlib.sha256(label.encode()).hexdigest()[:8]}"
