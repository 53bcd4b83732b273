"""``bpfree compare --launcher``: arms as jobs of submitit, preempted, requeued and joined in one report."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest
from submitit import AutoExecutor

from bpfree.cli import run
from bpfree.cli.launch import job as jobs
from bpfree.cli.launch.job import run_command
from bpfree.cli.launch.options import parameters_of
from bpfree.errors import UnknownNameError, UsageError
from bpfree.records import read_records
from tests import warm

from .conftest import ALONE, TINY, Outcome, environment

Command = Callable[..., Outcome]

LONGER = ("--net", "mlp:1x16", "--trials", "20", "--max-passes", "3", "--seeds", "2", "--jobs", "1", "--arms", "backprop")
"""A search of some seconds, so that it can be interrupted in the middle."""


def results(folder: Path) -> list[tuple[Any, ...]]:
    """What does not depend on the clock, of every measured run."""
    records = [record for record in read_records(folder / "records.jsonl") if record.status == "ok"]
    return sorted((r.arm, r.seed, r.ruleset_digest, r.test_accuracy, r.val_accuracy, str(r.params), r.passes) for r in records)


def test_parameters_are_submitits_with_the_prefix_where_they_are_slurms() -> None:
    pieces = ["timeout_min=90", "partition=gpu", "slurm_qos=low", "gpus_per_node=1", "array_parallelism=4", "setup=module load x"]
    assert parameters_of("slurm", pieces) == {
        "timeout_min": 90,
        "slurm_partition": "gpu",
        "slurm_qos": "low",
        "gpus_per_node": 1,
        "slurm_array_parallelism": 4,
        "slurm_setup": ["module load x"],
    }


@pytest.mark.parametrize("key", ["partion", "nodes", "tasks_per_node", "stderr_to_stdout"])
def test_a_key_that_submitit_lacks_or_that_starts_a_command_twice_is_refused(key: str) -> None:
    with pytest.raises(UnknownNameError, match=f"unknown parameter of submitit .* {key!r}"):
        parameters_of("local", [f"{key}=2"])


@pytest.mark.parametrize("piece", ["cpus_per_task=x", "timeout_min=0", "gpus_per_node=true", "time=1:30:00x", "mem_gb=[1]"])
def test_a_value_that_is_no_number_is_refused(piece: str) -> None:
    with pytest.raises(UsageError, match=r"must be a (whole )?number above 0"):
        parameters_of("local", [piece])


def test_a_job_on_slurm_needs_its_time() -> None:
    with pytest.raises(UsageError, match="--slurm timeout_min=240"):
        parameters_of("slurm", ["partition=gpu"])


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (("--launcher", "slrm"), "unknown launcher 'slrm'; did you mean slurm?"),
        (("--launcher", "slurm"), "this machine has no sbatch"),
        (("--slurm", "partition=gpu"), "--slurm partition=gpu is for jobs of a cluster; give --launcher slurm too"),
        (("--launcher", "debug", "--arms", "backprop,backprop"), "listed 2 times"),
    ],
)
def test_what_cannot_be_launched_is_one_line(
    words: tuple[str, ...], line: str, bpfree: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))  # no program of a cluster
    outcome = bpfree("compare", *TINY, *words)
    assert outcome.code == 2
    assert line in outcome.one_line()
    assert list(tmp_path.iterdir()) == []


def test_submitit_missing_is_one_line_with_the_cure(bpfree: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *rest: None if name == "submitit" else find(name, *rest))
    outcome = bpfree("compare", *TINY, "--launcher", "slurm")
    assert outcome.code == 2
    assert "pip install 'bpfree[slurm]'" in outcome.one_line()


def forked(command: list[str], cwd: str) -> warm.Started:
    """A command of a job, in a process that has imported all that it needs; the test below starts it as it is."""
    assert command[:3] == [sys.executable, "-m", "bpfree"]
    return warm.start(command[3:], Path(cwd), environment())


def test_two_arms_and_a_control_as_jobs_give_the_results_of_one_process(
    bpfree: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jobs, "subprocess", SimpleNamespace(Popen=forked))
    words = (*TINY, *ALONE, "--arms", "backprop,mono-forward", "--with-control")
    assert bpfree("compare", *words, "--out", "whole", "--quiet").code == 0
    outcome = bpfree("compare", *words, "--out", "parts", "--launcher", "debug", "--json")
    assert outcome.code == 0, outcome.err
    parts = [*results(tmp_path / "parts/jobs/backprop"), *results(tmp_path / "parts/jobs/mono-forward")]
    assert len(parts) == 6
    assert parts == results(tmp_path / "whole")
    (table,) = json.loads(outcome.out)["tables"]
    assert {row["arm"] for row in table["rows"]} == {arm for arm, *_ in parts}
    assert (tmp_path / "parts/report/index.html").exists()


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run directory of the same command in this process, which nothing interrupts."""
    folder = tmp_path_factory.mktemp("undisturbed") / "run"
    assert run(["compare", *LONGER, "--out", str(folder), "--quiet"]) == 0
    return folder


def _interrupted(root: Path, number: signal.Signals) -> Any:
    """A local job, to whose process a signal was sent when its search had begun."""
    executor = AutoExecutor(root / "logs", cluster="local")
    executor.update_parameters(timeout_min=30)
    job = executor.submit(run_command, ["compare", *LONGER, "--out", "run", "--quiet"], str(root))
    journal, end_s = root / "run/study.journal", time.monotonic() + 120
    while not (journal.exists() and journal.read_text().count("\n") > 12):
        assert time.monotonic() < end_s
        assert not job.done(), job.stderr()
        time.sleep(0.02)
    (controller,) = [child for child in psutil.Process().children() if str(root / "logs") in child.cmdline()]
    (task,) = controller.children()
    task.send_signal(number)
    return job


def test_a_preempted_job_is_requeued_and_its_results_are_those_of_an_undisturbed_one(undisturbed: Path, tmp_path: Path) -> None:
    """SIGUSR2 is submitit's signal. Three processes import torch: some seconds."""
    job = _interrupted(tmp_path, signal.SIGUSR2)
    assert job.result() == 0
    said = job.stderr()
    assert "this job is preempted" in said
    assert "bpfree: interrupted; what was finished is in run" in said  # the command ended in order
    assert job.stdout().count("Starting with JobEnvironment") == 2
    assert results(tmp_path / "run") == results(undisturbed)
    assert len(results(undisturbed)) == 2


@pytest.mark.slow
def test_a_job_that_gets_sigterm_ends_in_order_without_a_result_and_goes_on_later(undisturbed: Path, tmp_path: Path) -> None:
    """As under SLURM's preemption: the scheduler decides whether the job runs again, so nothing says that it is over."""
    job = _interrupted(tmp_path, signal.SIGTERM)
    job.wait()
    assert "bpfree: interrupted; what was finished is in run" in job.stderr()
    assert not job.paths.result_pickle.exists()
    assert run_command(["compare", *LONGER, "--out", "run", "--quiet"], str(tmp_path)) == 0
    assert results(tmp_path / "run") == results(undisturbed)


_SBATCH = """#!/bin/bash
last=$(sed -n 's/^#SBATCH --array=0-\\([0-9]*\\).*/\\1/p' "$1")
cp "$1" "$(dirname "$0")/submitted.sh"
for i in $(seq 0 "$last"); do
  SLURM_JOB_ID=$((8 + i)) SLURM_ARRAY_JOB_ID=7 SLURM_ARRAY_TASK_ID=$i bash "$1" >/dev/null 2>&1 &
done
echo Submitted batch job 7
"""
_SRUN = """#!/bin/bash
while [[ "$1" != */bin/python* ]]; do shift; done
exec "$@"
"""


@pytest.fixture
def cluster(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Stands for SLURM: ``sbatch`` starts every job of an array at once."""
    folder = tmp_path_factory.mktemp("cluster")
    for name, text in {"sbatch": _SBATCH, "srun": _SRUN, "sacct": "#!/bin/bash\necho 'JobID|State'\n"}.items():
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    return folder


@pytest.mark.slow
def test_on_a_cluster_the_arms_are_one_array_and_are_found_again(cluster: Path, bpfree: Command, tmp_path: Path) -> None:
    """Two jobs that import torch: some seconds."""
    words = ("compare", *TINY, "--out", "run", "--launcher", "slurm", "--slurm", "timeout_min=30", "--slurm", "partition=short")
    outcome = bpfree(*words, "--arms", "backprop,mono-forward")
    assert outcome.code == 0, outcome.err
    script = (cluster / "submitted.sh").read_text()
    for line in ("--array=0-1%2", "--partition=short", "--time=30", "--job-name=bpfree", "--signal=USR2@90"):
        assert f"#SBATCH {line}" in script
    held = json.loads((tmp_path / "run/jobs.json").read_text())
    assert {arm: entry["job_id"] for arm, entry in held.items()} == {"backprop": "7_0", "mono-forward": "7_1"}
    (cluster / "sbatch").unlink()
    (cluster / "sbatch").symlink_to("/bin/false")  # nothing may be submitted again
    again = bpfree(*words, "--arms", "backprop,mono-forward")
    assert again.code == 0, again.err
    assert "backprop: job 7_0, submitted earlier" in again.err
    assert again.out == outcome.out
